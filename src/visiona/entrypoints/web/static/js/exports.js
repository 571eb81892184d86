// The copies of somebody's data: while one is being made, the page shows how far it is.

import { announce, one } from "./dom.js";
import { documentAt, renew } from "./parts.js";

const PAUSE = 1500;
const LONGEST_PAUSE = 15000;

const exports = () => one("#exports");
const making = () => exports().dataset.making === "yes";

let pause = PAUSE;

async function ask() {
  try {
    const { ok, document: found } = await documentAt(location.pathname);
    const fresh = ok && one("#exports", found);
    if (fresh) {
      renew(exports(), fresh);
      pause = PAUSE;
      if (!making()) {
        announce(one("[data-testid=export] strong", exports())?.textContent ?? "");
        return;
      }
    }
  } catch {
    // The server may be restarting: it is asked again.
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
  setTimeout(ask, pause);
}

if (making()) setTimeout(ask, pause);
