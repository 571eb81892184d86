// Forms of signing in work without this; here they get a password switch, a live rule and one submit.

import { all, one } from "./dom.js";

function takeOverPasswords() {
  for (const button of all('[data-action="toggle-password"]')) {
    const input = document.getElementById(button.getAttribute("aria-controls"));
    button.addEventListener("click", () => {
      const reveal = input.type === "password";
      input.type = reveal ? "text" : "password";
      button.setAttribute("aria-pressed", String(reveal));
      one("span", button).textContent = reveal ? "Hide" : "Show";
      input.focus();
    });
  }
  for (const rule of all('[data-rule="length"]')) {
    const input = document.getElementById(rule.dataset.input);
    const check = () => rule.classList.toggle("is-met", input.value.length >= Number(rule.dataset.minimum));
    input.addEventListener("input", check);
    check();
  }
}

function submitOnce() {
  for (const form of all("form[data-once]")) {
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
  }
}

takeOverPasswords();
submitOnce();
one("[data-summary]")?.focus();
