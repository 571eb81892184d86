// Live news about models, runs and the plan: server-sent events, and polling for as long as those fail.

import { get } from "./api.js";

const POLL_EVERY = 3000;
const RECONNECT_AFTER = 20000;
const HIDDEN_GRACE = 15000;
const RECENT_RUNS = 12;
const SILENCE = 4000;

const nobody = () => ({ models: [], runs: [] });

/**
 * Watches until the page goes away. `onModel` and `onRun` get the item as the API gives it, and whoever
 * leaves them out is not asked for any; `onPlan` hears that plan, quota or invoices may have changed.
 * `active()` says what is in progress, as `{ models: [id], runs: [id] }`: that is what is asked
 * for while events fail, and when they begin, since news may have been missed. `onConnection(alive)`
 * hears when the server has been out of reach for a while, and when it is back.
 */
export function watch({ onModel = null, onRun = null, onPlan = () => {}, onConnection = () => {}, active = nobody }) {
  let source = null;
  let poller = null;
  let reconnect = null;
  let hiding = null;
  let silence = null;

  async function askForActive() {
    const { models, runs } = active();
    await Promise.allSettled([
      ...models.map((id) => get(`/api/models/status?model_id=${id}`).then(onModel)),
      ...runs.map((id) => get(`/api/generate/${id}`).then(onRun)),
    ]);
  }

  /** Everything recent, oldest first: what began elsewhere meanwhile is new to this page. */
  async function askForAll() {
    onPlan();
    await Promise.allSettled([
      onModel && get("/api/models").then(({ items }) => items.reverse().forEach(onModel)),
      onRun && get(`/api/generate?limit=${RECENT_RUNS}`).then(({ items }) => items.reverse().forEach(onRun)),
    ]);
  }

  function startPolling() {
    poller ??= setInterval(askForActive, POLL_EVERY);
  }

  function stopPolling() {
    clearInterval(poller);
    poller = null;
  }

  function connect() {
    if (source || document.hidden) return;
    source = new EventSource("/api/events");
    source.addEventListener("model", (event) => onModel?.(JSON.parse(event.data)));
    source.addEventListener("run", (event) => onRun?.(JSON.parse(event.data)));
    source.addEventListener("plan", () => onPlan());
    source.addEventListener("resync", askForAll);
    source.addEventListener("open", () => {
      clearTimeout(silence);
      silence = null;
      onConnection(true);
      stopPolling();
      askForActive();
    });
    source.addEventListener("error", () => {
      startPolling();
      // The browser reconnects by itself after a broken stream, but never after a refusal.
      if (source?.readyState === EventSource.CLOSED) {
        disconnect();
        reconnect = setTimeout(connect, RECONNECT_AFTER);
      } else {
        silence ??= setTimeout(() => onConnection(false), SILENCE);
      }
    });
  }

  function disconnect() {
    clearTimeout(reconnect);
    clearTimeout(silence);
    silence = null;
    source?.close();
    source = null;
  }

  // Browsers allow few connections to one server: a hidden page with nothing in progress gives its own back.
  function onVisibility() {
    clearTimeout(hiding);
    if (!document.hidden) {
      if (!source) {
        connect();
        askForAll();
      }
      return;
    }
    hiding = setTimeout(() => {
      const { models, runs } = active();
      if (models.length + runs.length === 0) disconnect();
    }, HIDDEN_GRACE);
  }

  document.addEventListener("visibilitychange", onVisibility);
  window.addEventListener("pagehide", () => {
    stopPolling();
    disconnect();
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    connect();
    askForAll();
  });
  connect();
}
