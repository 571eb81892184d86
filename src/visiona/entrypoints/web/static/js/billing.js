// Billing: the page follows what is on record, and waits for a payment that was just made.

import { get, post } from "./api.js";
import { announce, one, show, showSlot, slot } from "./dom.js";
import { watch } from "./events.js";
import { documentAt, renew } from "./parts.js";
import { forgetReturn } from "./payment.js";

const ASK_EVERY = 2000;
const ASK_UNTIL = 60000;
// Stripe itself is asked a few times only: every asking reads the whole account there.
const LOOK_AGAIN_AFTER = [8000, 25000, 50000];
const CHANGED_FOR = 4000;

const page = () => one("#billing");

let thanking = false;

/** The newest of this page, in place of what is shown; thanks, the focus and what was opened stay. */
async function replace() {
  const query = new URLSearchParams(location.search);
  if (thanking) query.set("checkout", "thanks");
  const response = await documentAt(`/billing?${query}`);
  const fresh = response.ok && one("#billing", response.document);
  // On the way to Stripe's pages nothing changes any more.
  if (!fresh || one('[aria-busy="true"]', page())) return;
  renew(page(), fresh);
}

let running = null;
let asked = false;

/** Several pieces of news at once are read together; resolves when the last of them is shown. */
function refresh() {
  asked = true;
  running ??= (async () => {
    while (asked) {
      asked = false;
      await replace();
    }
  })().catch(() => {}).finally(() => (running = null)); // What is shown stays: the next news bring it up to date.
  return running;
}

class PaymentWatch {
  #started = Date.now();
  #turns = [...LOOK_AGAIN_AFTER];
  #timer = null;
  settled = false;

  /** Asks now, and again until the subscription is on record or it has taken too long. */
  async ask() {
    clearTimeout(this.#timer);
    try {
      if (await this.#arrived()) return await this.#settle();
    } catch {
      // The server may be restarting: it is asked again.
    }
    const waited = Date.now() - this.#started;
    if (waited < ASK_UNTIL) this.#timer = setTimeout(() => this.ask(), ASK_EVERY);
    else this.#giveUp();
  }

  async #arrived() {
    const due = Date.now() - this.#started >= this.#turns[0];
    if (due) this.#turns.shift();
    const subscription = await (due ? post("/api/payment/refresh") : get("/api/payment/subscription"));
    return subscription.period_end !== null;
  }

  async #settle() {
    if (this.settled) return;
    this.settled = true;
    thanking = true;
    await refresh();
    forgetReturn();
    announce(one('[data-testid="billing-thanks"]')?.innerText ?? "Your plan is on record.");
  }

  #giveUp() {
    if (this.settled) return;
    one('[data-testid="billing-thanks"]').dataset.state = "slow";
    showSlot(page(), "thanks-waiting", false);
    showSlot(page(), "thanks-spinner", false);
    showSlot(page(), "thanks-slow", true);
    showSlot(page(), "thanks-again", true);
    announce(slot(page(), "thanks-slow").textContent);
  }
}

const { arrival } = page().dataset;
if (arrival === "waiting" || arrival === "slow") {
  const payment = new PaymentWatch();
  watch({ onPlan: () => (payment.settled ? refresh() : payment.ask()) });
  if (arrival === "waiting") payment.ask();
} else {
  thanking = arrival === "ready";
  forgetReturn();
  watch({ onPlan: refresh });
  if (arrival === "changed") setTimeout(() => refresh().then(() => show(slot(page(), "changed"), false)), CHANGED_FOR);
}
