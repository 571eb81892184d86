// Account pages: secrets that are shown once are copied, saved or printed; what was typed survives a detour.

import "./auth.js";
import { copyText } from "./clipboard.js";
import { all, one, onAction, setText } from "./dom.js";

const KEPT = "visiona:draft:form:";
const SAID_FOR = 2500;

/** A list as lines; text without the spaces that only group it. */
function textOf(element) {
  const lines = all("li", element);
  if (lines.length > 0) return `${lines.map((line) => line.textContent.trim()).join("\n")}\n`;
  return element.textContent.replaceAll(/\s+/g, "");
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

onAction(document.body, {
  copy: async (button) => {
    const label = one('[data-slot="word"]', button).textContent;
    await copyText(textOf(document.getElementById(button.dataset.target)));
    if (label === "Copied") return;
    setText(button, "word", "Copied");
    setTimeout(() => setText(button, "word", label), SAID_FOR);
  },
  download: (button) => save(button.dataset.name, textOf(document.getElementById(button.dataset.target))),
  print: () => window.print(),
});

const keptFields = (form) =>
  [...form.elements].filter((input) => input.name && !["hidden", "password", "submit"].includes(input.type));

function keep(form) {
  const values = keptFields(form).map((input) => (input.type === "checkbox" ? input.checked : input.value));
  sessionStorage.setItem(KEPT + form.id, JSON.stringify(values));
}

/** Only for who comes from confirming that it is them; otherwise an old form would come up again. */
function putBack(form) {
  const kept = sessionStorage.getItem(KEPT + form.id);
  sessionStorage.removeItem(KEPT + form.id);
  if (!kept || !document.referrer || new URL(document.referrer).pathname !== "/confirm") return;
  const values = JSON.parse(kept);
  keptFields(form).forEach((input, index) => {
    if (input.type === "checkbox") input.checked = values[index] === true;
    else input.value = values[index] ?? "";
  });
}

for (const form of all("form[data-keep]")) {
  try {
    putBack(form);
  } catch {
    continue; // Storage may be blocked, or hold something else: then nothing is kept.
  }
  form.addEventListener("submit", () => keep(form));
}

one(".made")?.focus();
