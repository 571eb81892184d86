// Messages that come and go at the edge of the page.

import { all, fromTemplate, one, onAction, setText, slot } from "./dom.js";

const STAYS = 7000;

function leaveLater(toast) {
  const timer = setTimeout(() => toast.remove(), STAYS);
  for (const type of ["pointerenter", "focusin"]) toast.addEventListener(type, () => clearTimeout(timer));
}

/** Shows `message`; errors stay until dismissed. `link` is `{ href, text }`. */
export function flash(message, { kind = "info", link = null } = {}) {
  const toast = fromTemplate("toast");
  toast.className = `toast toast--${kind}`;
  setText(toast, "message", message);
  if (link) {
    const anchor = slot(toast, "link");
    anchor.href = link.href;
    anchor.textContent = link.text;
    anchor.hidden = false;
  }
  document.getElementById("flashes").append(toast);
  if (kind !== "bad") leaveLater(toast);
}

/** Says that news do not arrive, for as long as that is so. */
export function flashLostConnection(connected) {
  const shown = one('.toast[data-kind="connection"]');
  if (connected) shown?.remove();
  if (connected || shown) return;
  flash("The server does not answer. Trying again; what you started goes on there.", { kind: "bad" });
  document.getElementById("flashes").lastElementChild.dataset.kind = "connection";
}

export const flashProblem = (problem) => flash(problem.detail ?? String(problem), { kind: "bad" });

export function takeOverFlashes() {
  const area = document.getElementById("flashes");
  onAction(area, { dismiss: (button) => button.closest(".toast").remove() });
  for (const toast of all(".toast:not(.toast--bad)", area)) leaveLater(toast);
}
