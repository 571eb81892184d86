// The studio: one state, three panels, live news.

import { get } from "./api.js";
import { ClonesPanel } from "./clones.js";
import { CreatePanel } from "./create.js";
import { all, announce, number, one, pageData, percent, plural, setText, show, showSlot } from "./dom.js";
import { watch } from "./events.js";
import { flash, flashLostConnection } from "./flash.js";
import { Lightbox } from "./lightbox.js";
import { PhotosPanel, photoTally } from "./photos.js";
import { longDate } from "./times.js";

const PANELS = ["photos", "clone", "create"];
const MODEL_ENDS = ["Ready", "Failed"];
const RUN_ENDS = ["succeeded", "failed", "canceled"];

/** News may arrive twice or late: an ended item never goes back, and progress never shrinks. */
function newer(known, incoming, ends) {
  if (!known) return incoming;
  if (ends.includes(known.status) && !ends.includes(incoming.status)) return known;
  return { ...known, ...incoming, progress: Math.max(known.progress ?? 0, incoming.progress ?? 0) };
}

function upsert(list, item, last) {
  const index = list.findIndex((other) => other.id === item.id);
  if (index >= 0) list[index] = item;
  else if (last) list.push(item);
  else list.unshift(item);
}

class Studio {
  constructor(data) {
    this.state = { photos: data.photos, models: data.models, runs: data.runs, plan: data.plan, quota: data.quota, runsCursor: data.next_cursor };
    this.upgradable = data.upgradable;
    this.limits = data.limits;
    this.words = data.words;
    this.userId = data.user_id;
    this.photos = new PhotosPanel(one("#panel-photos"), this);
    this.clones = new ClonesPanel(one("#panel-clone"), this);
    this.create = new CreatePanel(one("#panel-create"), this);
    this.lightbox = new Lightbox({
      cloneName: (id) => this.cloneName(id),
      onDelete: (ids) => this.#forgetImages(ids),
      focusOn: (id) => one(`.frame[data-id="${id}"] button`)?.focus(),
    });
    for (const model of this.state.models) this.clones.render(model);
    for (const run of this.state.runs) this.create.render(run);
    this.#startNavigation();
    this.changed();
  }

  cloneName(id) {
    return this.state.models.find((model) => model.id === id)?.trigger_word ?? "deleted clone";
  }

  // --- News

  receiveModel(incoming) {
    const known = this.state.models.find((model) => model.id === incoming.id);
    const model = newer(known, incoming, MODEL_ENDS);
    upsert(this.state.models, model);
    this.clones.render(model);
    this.changed();
    if (known?.status === "Processing" && model.status !== "Processing") this.#modelEnded(model);
  }

  #modelEnded(model) {
    this.refreshQuota();
    if (model.status === "Ready") {
      if (one("#panel-clone").hidden) flash(`${model.trigger_word} is ready.`, { kind: "good", link: { href: "#create", text: "Create pictures" } });
      else announce(`${model.trigger_word} is ready.`);
      this.#markTitle(`${model.trigger_word} is ready`);
    } else if (model.error?.code !== "training_canceled") {
      if (one("#panel-clone").hidden) flash(`The training of ${model.trigger_word} did not finish.`, { kind: "bad", link: { href: "#clone", text: "See why" } });
      else announce(`The training of ${model.trigger_word} did not finish.`);
      this.#markTitle("Training failed");
    }
  }

  receiveRun(incoming, { last = false } = {}) {
    const known = this.state.runs.find((run) => run.id === incoming.id);
    const run = newer(known, incoming, RUN_ENDS);
    upsert(this.state.runs, run, last);
    this.create.render(run, { last });
    this.changed();
    if (known && !RUN_ENDS.includes(known.status) && RUN_ENDS.includes(run.status)) this.#runEnded(run);
  }

  #runEnded(run) {
    this.refreshQuota();
    if (run.status === "failed") announce(run.error?.message ?? "No picture was made.");
    if (run.status !== "succeeded") return;
    announce(`${plural(run.images.length, "picture")} ready.`);
    this.#markTitle("Pictures are ready");
    if (one("#panel-create").hidden) {
      flash("Your pictures are ready.", { kind: "good", link: { href: "#create", text: "See them" } });
    }
  }

  /** Tells those who look at another tab. */
  #markTitle(words) {
    if (!document.hidden) return;
    const title = document.title;
    document.title = `✓ ${words} · Visiona`;
    document.addEventListener("visibilitychange", () => (document.title = title), { once: true });
  }

  active() {
    return {
      models: this.state.models.filter((model) => !MODEL_ENDS.includes(model.status)).map((model) => model.id),
      runs: this.state.runs.filter((run) => !RUN_ENDS.includes(run.status)).map((run) => run.id),
    };
  }

  async refreshQuota() {
    try {
      const { plan, quota } = await get("/api/auth/me");
      Object.assign(this.state, { plan, quota });
      this.changed();
    } catch {
      // The old numbers stay; the server decides anyway.
    }
  }

  /** How many of `what`, "images" or "clones", can still be had in this period. */
  left(what) {
    const { used, limit } = this.state.quota[what];
    return Math.max(limit - used, 0);
  }

  /** Shows the way to a larger plan where `wanted` is more than what is left; with nothing left, instead of `button`. */
  offerMore(what, wanted, button) {
    const left = this.left(what);
    const offered = left < wanted && this.upgradable.includes(this.state.plan);
    showSlot(document, `${what}-up`, offered);
    show(button, left > 0 || !offered || button.hasAttribute("aria-busy"));
  }

  // --- Pictures

  openImage(id) {
    const images = this.state.runs.flatMap((run) => run.images);
    this.lightbox.open(images, images.findIndex((image) => image.id === id));
  }

  #forgetImages(ids) {
    for (const run of this.state.runs) {
      if (!run.images.some((image) => ids.includes(image.id))) continue;
      run.images = run.images.filter((image) => !ids.includes(image.id));
      this.create.render(run);
    }
  }

  // --- Steps

  createWith(model) {
    location.hash = "create";
    this.#showPanel("create");
    this.create.write(null, model.id);
  }

  #startNavigation() {
    const query = new URLSearchParams(location.search);
    const asked = location.hash.slice(1);
    window.addEventListener("hashchange", () => {
      this.#showPanel(location.hash.slice(1));
      this.#rescueFocus(location.hash.slice(1));
    });
    if (PANELS.includes(asked)) this.#showPanel(asked);
    if (query.has("prompt")) {
      this.#showPanel("create");
      this.create.refresh();
      this.create.write(query.get("prompt"), query.get("model_id"));
      history.replaceState(null, "", "/studio#create");
    }
  }

  #showPanel(name) {
    if (!PANELS.includes(name)) return;
    for (const panel of all("[data-panel]")) panel.hidden = panel.dataset.panel !== name;
    for (const step of all("[data-step]")) {
      if (step.dataset.step === name) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    }
    scrollTo({ top: 0, behavior: "instant" });
  }

  /** The link that led to a panel may be gone with its own: the focus goes to the step instead. */
  #rescueFocus(name) {
    const { activeElement } = document;
    if (activeElement !== document.body && !activeElement.closest("[hidden]")) return;
    one(`[data-step="${name}"]`)?.focus({ preventScroll: true });
  }

  /** Everything that depends on more than one panel. */
  changed() {
    this.photos.refresh();
    this.clones.refresh();
    this.create.refresh();
    this.#refreshSteps();
    this.#refreshQuotaLines();
  }

  #refreshSteps() {
    const { photos, models } = this.state;
    const ready = models.filter((model) => model.status === "Ready");
    const training = models.find((model) => model.status === "Processing");
    const enough = photos.length >= this.limits.photos_min;
    one('[data-step="photos"]').toggleAttribute("data-done", enough);
    one('[data-step="clone"]').toggleAttribute("data-done", ready.length > 0);
    setText(document, "step-photos", photoTally(photos.length, this.limits));
    const cloneWords = ready.length > 0 ? `${ready.length} ready` : "Not trained yet";
    setText(document, "step-clone", training ? `Training ${percent(training.progress)}` : cloneWords);
    setText(document, "step-create", ready.length > 0 ? `${plural(this.left("images"), "image")} left` : "Needs a clone");
  }

  #refreshQuotaLines() {
    const { clones, images, period_end: end } = this.state.quota;
    this.#quotaLine("clones-left", clones, "clone", end);
    this.#quotaLine("images-left", images, "image", end);
  }

  #quotaLine(name, { used, limit }, noun, end) {
    const amount = used < limit ? `${number(limit - used)} of ${plural(limit, noun)} left` : `All ${plural(limit, noun)} used`;
    setText(document, name, `${amount}. New ones on ${longDate(end)}.`);
  }
}

const studio = new Studio(pageData());
watch({
  onModel: (model) => studio.receiveModel(model),
  onRun: (run) => studio.receiveRun(run),
  onPlan: () => studio.refreshQuota(),
  onConnection: flashLostConnection,
  active: () => studio.active(),
});
