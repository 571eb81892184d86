// The banner that asks to confirm one's address sends the mail again without leaving the page.

import { post } from "./api.js";
import { one, setText } from "./dom.js";
import { whileBusy } from "./forms.js";

export function takeOverAddressNote() {
  const note = one("#address-note");
  const form = note && one("form", note);
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(one("button", form), async () => {
      try {
        await post("/api/account/email/verification");
        setText(note, "words", "Sent. Look into your mail, and follow the link in it.");
        form.remove();
      } catch (problem) {
        setText(note, "words", problem.code === "already_verified" ? "Your address is confirmed. Thank you." : problem.detail);
        if (problem.code === "already_verified") form.remove();
      }
    });
  });
}
