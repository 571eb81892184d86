// Nothing here is needed: without scripts every form works as it is.

function digits(text, most) {
  return text.replace(/\D/g, "").slice(0, most);
}

const shapes = {
  number: (text) => digits(text, 19).replace(/(\d{4})(?=\d)/g, "$1 "),
  expiry: (text) => digits(text, 6).replace(/^(\d{2})(?=\d)/, "$1 / "),
  cvc: (text) => digits(text, 4),
};

/** Groups what is typed at the end of a field; in its middle the cursor would jump. */
function shapeWhileTyping(input) {
  const shape = shapes[input.dataset.shape];
  input.addEventListener("input", (event) => {
    const atEnd = input.selectionStart === input.value.length;
    if (atEnd && !event.inputType?.startsWith("delete")) input.value = shape(input.value);
  });
}

/** A test card goes straight into the form, so that a name or an address that was typed stays. */
function fillInPlace(link) {
  link.addEventListener("click", (event) => {
    const form = document.querySelector("[data-card-form]");
    const { number, expiry, cvc, name } = link.dataset;
    const values = { number, expiry, cvc, name: form.elements.name.value || name };
    event.preventDefault();
    for (const [field, value] of Object.entries(values)) form.elements[field].value = value;
    for (const other of document.querySelectorAll("[data-sample]")) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    form.querySelector("button[type=submit]").focus();
  });
}

/** A second click does no harm on the server; here it shows that the first one was enough. */
function showThatItRuns(form) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
}

document.querySelectorAll("[data-shape]").forEach(shapeWhileTyping);
document.querySelectorAll("[data-sample]").forEach(fillInPlace);
document.querySelectorAll("form").forEach(showThatItRuns);

// A page that the back button brings again can be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});
