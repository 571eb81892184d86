// Step three: a prompt goes in, pictures come out while one watches.

import { get, post, SpendingPost } from "./api.js";
import { all, announce, fromTemplate, number, one, onAction, percent, plural, setProgress, setText, show, showSlot, slot } from "./dom.js";
import { keepDraft } from "./draft.js";
import { flashProblem } from "./flash.js";
import { changedValues, clearErrors, localErrors, setValues, showErrors, whileBusy } from "./forms.js";
import { reviveOnError, setPicture } from "./images.js";
import { setTime } from "./times.js";

const ADVANCED = ["seed", "guidance_scale", "num_inference_steps", "lora_scale", "model", "output_format", "go_fast"];
const FRAME_SIZES = "(min-width: 960px) 24rem, 46vw";
const EARLIER = 12;
const WIDE = 1.45;

const isActive = (run) => run.status === "queued" || run.status === "running";

function progressWords(run) {
  if (run.enhancement.outcome === "pending") return "Improving your prompt";
  return run.status === "queued" ? "Waiting for a place" : "Making your pictures";
}

/** Width by height of what a run makes. */
function shapeOf(run) {
  const [image] = run.images;
  const [width, height] = image ? [image.width, image.height] : (run.parameters?.aspect_ratio ?? "1:1").split(":");
  return width / height;
}

/** The prompt says the word, as a word of its own; the server puts it in front where it does not. */
function mentions(prompt, word) {
  return new RegExp(`(?<![\\p{L}\\p{N}_])${word}(?![\\p{L}\\p{N}_])`, "u").test(prompt);
}

export class CreatePanel {
  #root;
  #form;
  #studio;
  #generate = new SpendingPost("/api/generate");

  constructor(root, studio) {
    this.#root = root;
    this.#studio = studio;
    this.#form = one("#create-form", root);
    this.#wire();
    keepDraft(this.#prompt, studio.userId);
  }

  get #prompt() {
    return this.#form.elements.prompt;
  }

  get #word() {
    return one("#clone-choice", this.#form).selectedOptions[0]?.textContent ?? "";
  }

  get #count() {
    return Number(this.#form.elements.num_outputs.value);
  }

  #wire() {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#form.addEventListener("input", () => this.#refreshForm());
    this.#prompt.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    onAction(this.#root, {
      idea: (button) => this.write(button.dataset.prompt.replace("{word}", this.#word)),
      "reuse-prompt": (button) => this.#reuse(this.#runOf(button)),
      "cancel-run": (button) => this.#cancel(this.#runOf(button), button),
      "open-image": (button) => this.#studio.openImage(Number(button.closest("[data-id]").dataset.id)),
      "more-runs": (button) => this.#loadEarlier(button),
    });
  }

  #runOf(element) {
    const { id } = element.closest(".run").dataset;
    return this.#studio.state.runs.find((run) => String(run.id) === id);
  }

  #card(id) {
    return one(`[data-testid="run-card"][data-id="${id}"]`, this.#root);
  }

  // --- The form

  /** Puts a prompt into the form, and the cursor behind it. */
  write(prompt, modelId = null) {
    const select = one("#clone-choice", this.#form);
    if (modelId !== null && all("option", select).some((option) => option.value === String(modelId))) select.value = modelId;
    if (prompt !== null) this.#prompt.value = prompt;
    this.#refreshForm();
    this.#prompt.focus();
    this.#prompt.setSelectionRange(this.#prompt.value.length, this.#prompt.value.length);
  }

  /** The whole form as it was for `run`. */
  #reuse(run) {
    const { elements } = this.#form;
    clearErrors(this.#form);
    setValues(this.#form, ADVANCED, run.parameters ?? {});
    elements.enhance.checked = run.enhancement.outcome !== "not_requested";
    elements.num_outputs.value = run.num_outputs;
    elements.aspect_ratio.value = run.parameters?.aspect_ratio ?? elements.aspect_ratio[0].value;
    this.write(run.prompt, run.model_id);
    this.#form.scrollIntoView({ block: "start" });
  }

  #body() {
    const { elements } = this.#form;
    return {
      model_id: Number(elements.model_id.value),
      prompt: this.#prompt.value.trim(),
      enhance: elements.enhance.checked,
      num_outputs: this.#count,
      aspect_ratio: elements.aspect_ratio.value,
      ...changedValues(this.#form, ADVANCED),
    };
  }

  async #submit() {
    const button = one('[type="submit"]', this.#form);
    if (button.disabled) return;
    clearErrors(this.#form);
    const errors = localErrors(this.#form);
    if (errors.length > 0) return showErrors(this.#form, { errors });
    const body = this.#body();
    try {
      const run = await whileBusy(button, () => this.#generate.send(body));
      this.#studio.receiveRun(run);
      announce("Your pictures are being made.");
      this.#revealRun(run.id);
    } catch (problem) {
      showErrors(this.#form, problem);
    } finally {
      this.#studio.refreshQuota();
    }
  }

  /** The new result may be below the form, as on a phone, or above what is seen of a long page: go there. */
  #revealRun(id) {
    const card = this.#card(id);
    const { top } = card.getBoundingClientRect();
    if (top < 0 || top > innerHeight * 0.8) card.scrollIntoView({ block: "start" });
  }

  #refreshForm() {
    const length = this.#prompt.value.length;
    setText(this.#root, "prompt-count", `${number(length)} / ${number(this.#studio.limits.prompt_max)}`);
    const forgot = length > 0 && this.#word !== "" && !mentions(this.#prompt.value, this.#word);
    showSlot(this.#root, "prompt-nudge", forgot);
    setText(this.#root, "nudge-word", this.#word);
    this.#prompt.placeholder = `${this.#word || "KATVIS"} on a rooftop at dusk, city lights behind`;
    this.#refreshButton();
  }

  #refreshButton() {
    const left = this.#studio.left("images");
    const button = one('[type="submit"]', this.#form);
    const enough = this.#count <= left;
    if (!button.hasAttribute("aria-busy")) button.disabled = !enough;
    this.#studio.offerMore("images", this.#count, button);
    const many = this.#count === 1 ? "Generate" : `Generate ${this.#count} pictures`;
    setText(this.#root, "generate-word", left === 0 ? "No images left" : enough ? many : `Only ${plural(left, "image")} left`);
  }

  #refreshModels() {
    const select = one("#clone-choice", this.#form);
    const ready = this.#studio.state.models.filter((model) => model.status === "Ready");
    const wanted = ready.map((model) => String(model.id)).join();
    if (all("option", select).map((option) => option.value).join() === wanted) return;
    const chosen = select.value;
    select.replaceChildren(...ready.map((model) => new Option(model.trigger_word, model.id)));
    if (ready.some((model) => String(model.id) === chosen)) select.value = chosen;
  }

  // --- The results

  /** Shows one run, new or known; `last` puts a new one at the end. */
  render(run, { last = false } = {}) {
    let card = this.#card(run.id);
    if (!card) {
      card = fromTemplate("run");
      card.dataset.id = run.id;
      const list = slot(this.#root, "runs");
      if (last) list.append(card);
      else list.prepend(card);
    }
    const active = isActive(run);
    card.dataset.status = run.status;
    setText(card, "prompt", run.prompt);
    setTime(slot(card, "created_at"), run.created_at);
    this.#renderProgress(card, run);
    this.#renderEnhancement(card, run);
    showSlot(card, "error-box", run.status === "failed");
    setText(card, "error", run.error?.message ?? "No picture was made. Try again.");
    showSlot(card, "canceled", run.status === "canceled");
    setText(card, "reuse-word", run.status === "failed" ? "Try again" : "Use again");
    show(one('[data-action="reuse-prompt"]', card), !active);
    show(one('[data-action="cancel-run"]', card), active);
    this.#renderFrames(slot(card, "frames"), run);
  }

  #renderProgress(card, run) {
    showSlot(card, "progress-box", isActive(run));
    setText(card, "progress-words", progressWords(run));
    setText(card, "percent", run.progress > 0 ? percent(run.progress) : "");
    setProgress(slot(card, "progress"), run.progress);
  }

  #renderEnhancement(card, run) {
    const { outcome, provider } = run.enhancement;
    const note = this.#studio.words.enhancements[outcome] ?? "";
    showSlot(card, "enhanced-box", Boolean(run.enhanced_prompt));
    setText(card, "enhanced_prompt", run.enhanced_prompt ?? "");
    setText(card, "provider", provider ? ` by ${this.#studio.words.providers[provider]}` : "");
    showSlot(card, "outcome-box", note !== "");
    setText(card, "outcome", note);
  }

  #renderFrames(list, run) {
    const count = run.images.length > 0 ? run.images.length : isActive(run) ? run.num_outputs : 0;
    const frames = all(".frame", list);
    while (frames.length > count) frames.pop().remove();
    while (frames.length < count) frames.push(list.appendChild(fromTemplate("frame")));
    list.dataset.count = count;
    list.toggleAttribute("data-wide", shapeOf(run) >= WIDE);
    show(list, count > 0);
    frames.forEach((frame, index) => this.#renderFrame(frame, run.images[index], run));
  }

  #renderFrame(frame, image, run) {
    showSlot(frame, "waiting", !image);
    show(one("button", frame), Boolean(image));
    if (!image) {
      const ratio = run.parameters?.aspect_ratio;
      if (ratio?.includes(":")) frame.style.setProperty("--ratio", ratio.replace(":", " / "));
      return;
    }
    const img = slot(frame, "image");
    frame.style.setProperty("--ratio", `${image.width} / ${image.height}`);
    img.alt = image.prompt;
    const known = frame.dataset.id === String(image.id);
    frame.dataset.id = image.id;
    // Only what arrives while one watches develops before one's eyes.
    frame.classList.toggle("is-new", !known);
    if (!known) setPicture(img, image, { full: true, sizes: FRAME_SIZES });
    if (frame.dataset.watched) return;
    frame.dataset.watched = "yes";
    const fresh = (item) => setPicture(img, item, { full: true, sizes: FRAME_SIZES });
    reviveOnError(img, () => `/api/gallery/${frame.dataset.id}`, fresh);
  }

  async #cancel(run, button) {
    try {
      const answer = await whileBusy(button, () => post(`/api/generate/${run.id}/cancel`));
      if (answer) this.#studio.receiveRun(answer);
    } catch (problem) {
      flashProblem(problem);
    } finally {
      this.#studio.refreshQuota();
    }
  }

  async #loadEarlier(button) {
    try {
      const query = new URLSearchParams({ limit: EARLIER, cursor: this.#studio.state.runsCursor });
      const page = await whileBusy(button, () => get(`/api/generate?${query}`));
      this.#studio.state.runsCursor = page.next_cursor;
      for (const run of page.items) this.#studio.receiveRun(run, { last: true });
      show(button, page.next_cursor !== null);
    } catch (problem) {
      flashProblem(problem);
    }
  }

  refresh() {
    const { state, limits } = this.#studio;
    const ready = state.models.some((model) => model.status === "Ready");
    const training = state.models.find((model) => model.status === "Processing");
    show(this.#form, ready);
    showSlot(this.#root, "create-guide", !ready);
    slot(this.#root, "guide-photos").toggleAttribute("data-done", state.photos.length >= limits.photos_min);
    slot(this.#root, "guide-clone").toggleAttribute("data-done", ready);
    showSlot(this.#root, "guide-progress", Boolean(training));
    setText(this.#root, "guide-percent", percent(training?.progress));
    setProgress(slot(this.#root, "guide-meter"), training?.progress);
    showSlot(this.#root, "runs-empty", state.runs.length === 0);
    this.#refreshModels();
    this.#refreshForm();
  }
}
