// Nothing here is needed: without scripts every form works as it is.

/** Shows that the first click was enough. */
function showThatItRuns(form) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
}

document.querySelectorAll("form").forEach(showThatItRuns);

// A page that the back button brings again can be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});
