// Sign-up and log-in work without this; here they get a password switch, a live rule and one submit.

import { all, one } from "./dom.js";

const password = one("#password");

one('[data-action="toggle-password"]').addEventListener("click", (event) => {
  const button = event.currentTarget;
  const reveal = password.type === "password";
  password.type = reveal ? "text" : "password";
  button.setAttribute("aria-pressed", String(reveal));
  one("span", button).textContent = reveal ? "Hide" : "Show";
  password.focus();
});

for (const rule of all('[data-rule="length"]')) {
  const check = () => rule.classList.toggle("is-met", password.value.length >= Number(rule.dataset.minimum));
  password.addEventListener("input", check);
  check();
}

const form = one("#auth-form");
const submit = one('[type="submit"]', form);
form.addEventListener("submit", () => {
  submit.disabled = true;
  submit.setAttribute("aria-busy", "true");
});
// The page may come back from the browser's memory with the button still down.
window.addEventListener("pageshow", () => {
  submit.disabled = false;
  submit.removeAttribute("aria-busy");
});

one("#error-summary")?.focus();
