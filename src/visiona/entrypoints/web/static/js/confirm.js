// Asks before something is gone for good.

import { one, setText } from "./dom.js";

/** Resolves to true only when the person presses the named button. Focus returns where it was. */
export function confirmAction({ title, text, yes = "Delete", no = "Keep it" }) {
  const dialog = one("#confirm");
  setText(dialog, "title", title);
  setText(dialog, "text", text);
  setText(dialog, "yes", yes);
  setText(dialog, "no", no);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
