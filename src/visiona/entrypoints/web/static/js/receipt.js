// The receipt of a deletion that is not over: the page asks until it is.

import { announce, one } from "./dom.js";
import { documentAt, renew } from "./parts.js";

const FIRST_PAUSE = 3000;
const LONGEST_PAUSE = 60000;

const receipt = () => one("#receipt");

let pause = FIRST_PAUSE;

async function ask() {
  try {
    const { ok, document: found } = await documentAt(location.pathname);
    const fresh = ok && one("#receipt", found);
    if (fresh && fresh.dataset.over === "yes") {
      renew(receipt(), fresh);
      document.title = found.title;
      announce(one("h1", receipt()).textContent);
      return;
    }
  } catch {
    // The server may be restarting: it is asked again.
  }
  pause = Math.min(pause * 1.5, LONGEST_PAUSE);
  setTimeout(ask, pause);
}

setTimeout(ask, pause);
