// Errors beside the fields that they are about, from the browser's own checks and from the server.

import { all, one, setText, showSlot } from "./dom.js";

const WORDS = {
  valueMissing: () => "Fill this in.",
  patternMismatch: () => "Use letters, digits and _, beginning with a letter.",
  tooShort: (input) => `Use at least ${input.minLength} characters.`,
  tooLong: (input) => `Use at most ${input.maxLength} characters.`,
  rangeUnderflow: (input) => `Between ${input.min} and ${input.max}.`,
  rangeOverflow: (input) => `Between ${input.min} and ${input.max}.`,
  stepMismatch: () => "Use a whole number.",
  badInput: () => "Enter a number.",
};

function localMessage(input) {
  const kind = Object.keys(WORDS).find((name) => input.validity[name]);
  return kind ? WORDS[kind](input) : "Check this.";
}

/** The fields that the browser itself finds wrong, in the shape of the API's `errors`. */
export function localErrors(form) {
  return [...form.elements]
    .filter((input) => input.willValidate && !input.validity.valid)
    .map((input) => ({ field: input.name, message: localMessage(input) }));
}

export function clearErrors(form) {
  showSlot(form, "form-error", false);
  for (const message of all("[data-error-for]", form)) message.hidden = true;
  for (const input of all("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
}

function showFieldError(form, name, message) {
  const place = one(`[data-error-for="${CSS.escape(name)}"]`, form);
  if (!place) return null;
  place.textContent = message;
  place.hidden = false;
  const details = place.closest("details");
  if (details) details.open = true;
  const input = one(`[name="${CSS.escape(name)}"]`, form);
  input?.setAttribute("aria-invalid", "true");
  return input;
}

/** Shows each error at its field, what has no field (and `detail`) above the form, and moves the focus there. */
export function showErrors(form, { detail = "", errors = [] }) {
  clearErrors(form);
  const inputs = [];
  const homeless = [];
  for (const { field, message } of errors) {
    // The API names nested inputs by path: `parameters.steps`.
    const input = showFieldError(form, String(field).split(".").pop(), message);
    if (input) inputs.push(input);
    else homeless.push(message);
  }
  const summary = homeless.length > 0 ? homeless.join(" ") : inputs.length === 0 ? detail : "";
  setText(form, "form-error-text", summary);
  showSlot(form, "form-error", Boolean(summary));
  inputs[0]?.focus();
}

/** While `work` runs, the form's button is busy and cannot be pressed again. */
export async function whileBusy(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

/** Puts `values` into the inputs called `names`; those without one get the default in the page. */
export function setValues(form, names, values) {
  for (const name of names) {
    const input = form.elements[name];
    const value = values[name] ?? input.dataset.default ?? "";
    if (input.type === "checkbox") input.checked = String(value) === "true";
    else input.value = value;
  }
}

/** Optional inputs: what was filled in and differs from the default in the page. */
export function changedValues(form, names) {
  const values = {};
  for (const name of names) {
    const input = form.elements[name];
    if (!input) continue;
    if (input.type === "checkbox") {
      if (String(input.checked) !== (input.dataset.default ?? "false")) values[name] = input.checked;
    } else if (input.value !== "" && input.value !== (input.dataset.default ?? "")) {
      values[name] = input.type === "number" ? Number(input.value) : input.value;
    }
  }
  return values;
}
