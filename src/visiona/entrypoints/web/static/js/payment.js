// The way to Stripe's pages: forms that work without this, and here wait visibly and say what went wrong.

import { post, SpendingPost } from "./api.js";
import { all, one } from "./dom.js";
import { flash } from "./flash.js";

const subscribe = new SpendingPost("/api/payment/subscribe");

const WAYS_ON = {
  already_subscribed: { href: "/billing", text: "Billing" },
  payment_in_progress: { href: "/billing?checkout=paid", text: "Look again" },
  not_a_customer: { href: "/pricing", text: "See the plans" },
};

/** What each form asks for, and where its answer leads. */
const ADDRESSES = {
  subscribe: async (form, button) => {
    const interval = button.dataset.only ?? one('[name="interval"]:checked', form)?.value ?? "month";
    return (await subscribe.send({ plan: button.value, interval })).checkout_url;
  },
  portal: async (form) => {
    const step = form.elements.step?.value ?? null;
    return (await post("/api/payment/portal", { step })).portal_url;
  },
};

const buttons = () => all('form[data-payment] [type="submit"]');

function release() {
  for (const button of buttons()) {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** The buttons stay down until the page is gone: a second click would go the same way. */
async function leave(form, button) {
  for (const other of buttons()) other.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    location.assign(await ADDRESSES[form.dataset.payment](form, button));
  } catch (problem) {
    release();
    button.focus();
    // Without a session the page is on its way to the log-in already.
    if (problem.status !== 401) flash(problem.detail ?? String(problem), { kind: "bad", link: WAYS_ON[problem.code] ?? null });
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-payment]");
  if (!form) return;
  event.preventDefault();
  const button = event.submitter ?? one('[type="submit"]', form);
  if (!button.disabled) leave(form, button);
});

// The page may come back from the browser's memory with its buttons still down.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) release();
});

/** News of a return from Stripe are told once: not again when the page is loaded anew. */
export function forgetReturn() {
  const query = new URLSearchParams(location.search);
  for (const name of ["checkout", "tries"]) query.delete(name);
  const rest = query.toString();
  history.replaceState(null, "", location.pathname + (rest && `?${rest}`) + location.hash);
}

if (location.pathname === "/pricing") forgetReturn();
