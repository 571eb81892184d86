// Nothing here is needed: without scripts the inbox shows what there was when it was opened.

const list = document.querySelector("[data-refreshed]");

/** Looks for new mails while somebody looks at the page. */
async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-refreshed]");
  if (!fresh || fresh.innerHTML === list.innerHTML) return;
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  list.replaceChildren(...fresh.childNodes);
  if (focused) list.querySelector(`[href="${focused}"]`)?.focus({ preventScroll: true });
}

if (list) setInterval(refresh, 2000);
