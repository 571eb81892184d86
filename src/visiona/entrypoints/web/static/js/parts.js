// Parts of a page, brought up to date as the server writes them.

import { one } from "./dom.js";
import { refreshTimes } from "./times.js";

/** A page of ours, parsed; its scripts do not run. `fetch` would leave text, which the policy lets nobody parse. */
export function documentAt(path) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.setRequestHeader("Accept", "text/html");
    request.responseType = "document";
    request.onload = () => resolve({ ok: request.status >= 200 && request.status < 300, document: request.response });
    request.onerror = () => reject(new TypeError("The page could not be loaded."));
    request.send();
  });
}

/** `fresh` in place of what is shown; the focus and what was opened stay. */
export function renew(part, fresh) {
  const held = part.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
  const opened = one("details", part)?.open;
  part.replaceWith(document.adoptNode(fresh));
  if (opened && one("details", fresh)) one("details", fresh).open = true;
  if (held) one(`[data-testid="${held}"]`, fresh)?.focus({ preventScroll: true });
  refreshTimes();
}
