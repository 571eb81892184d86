// Step two: a clone is named, trained, watched, and deleted.

import { post, remove, SpendingPost } from "./api.js";
import { confirmAction } from "./confirm.js";
import { announce, fromTemplate, one, onAction, percent, plural, setProgress, setText, show, showSlot, slot } from "./dom.js";
import { flash, flashProblem } from "./flash.js";
import { changedValues, clearErrors, localErrors, setValues, showErrors, whileBusy } from "./forms.js";
import { setTime } from "./times.js";

const PARAMETERS = ["steps", "lora_rank", "learning_rate", "batch_size", "caption_dropout_rate", "resolution", "autocaption"];

const wordFor = (value) => (value === true ? "yes" : value === false ? "no" : String(value));

export class ClonesPanel {
  #root;
  #form;
  #studio;
  #train = new SpendingPost("/api/models/train");

  constructor(root, studio) {
    this.#root = root;
    this.#studio = studio;
    this.#form = one("#train-form", root);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    onAction(root, {
      "use-clone": (button) => studio.createWith(this.#modelOf(button)),
      retrain: (button) => this.#retrain(this.#modelOf(button)),
      "cancel-clone": (button) => this.#cancel(this.#modelOf(button), button),
      "delete-clone": (button) => this.#delete(this.#modelOf(button)),
    });
  }

  #modelOf(element) {
    const { id } = element.closest("[data-id]").dataset;
    return this.#studio.state.models.find((model) => String(model.id) === id);
  }

  #card(id) {
    return one(`[data-testid="clone-card"][data-id="${id}"]`, this.#root);
  }

  async #submit() {
    clearErrors(this.#form);
    const errors = localErrors(this.#form);
    if (errors.length > 0) return showErrors(this.#form, { errors });
    const body = { trigger_word: this.#form.elements.trigger_word.value };
    const consent = this.#form.elements.consent_id?.value;
    if (consent) body.consent_id = consent;
    const { limits, state } = this.#studio;
    if (state.photos.length > limits.photos_max) {
      body.photo_ids = state.photos.slice(0, limits.photos_max).map((photo) => photo.id);
    }
    const parameters = changedValues(this.#form, PARAMETERS);
    if (Object.keys(parameters).length > 0) body.parameters = parameters;
    try {
      const model = await whileBusy(one('[type="submit"]', this.#form), () => this.#train.send(body));
      this.#form.reset();
      one("details", this.#form).open = false;
      this.#studio.receiveModel(model);
      announce(`Training of ${model.trigger_word} has started.`);
      this.#card(model.id).scrollIntoView({ block: "nearest" });
    } catch (problem) {
      showErrors(this.#form, problem);
    } finally {
      this.#studio.refreshQuota();
    }
  }

  #retrain(model) {
    this.#form.reset();
    this.#form.elements.trigger_word.value = model.trigger_word;
    setValues(this.#form, PARAMETERS, model.parameters ?? {});
    this.#form.elements.trigger_word.focus();
  }

  async #cancel(model, button) {
    const yes = await confirmAction({
      title: `Cancel the training of ${model.trigger_word}?`,
      text: "What was learned so far is thrown away.",
      yes: "Cancel training",
      no: "Go on training",
    });
    if (!yes) return;
    try {
      const answer = await whileBusy(button, () => post(`/api/models/${model.id}/cancel`));
      if (answer) this.#studio.receiveModel(answer);
    } catch (problem) {
      flashProblem(problem);
    } finally {
      this.#studio.refreshQuota();
    }
  }

  async #delete(model) {
    const yes = await confirmAction({
      title: `Delete ${model.trigger_word}?`,
      text: "The trained clone is removed for good, here and at the model host. Pictures made with it stay in your gallery.",
    });
    if (!yes) return;
    try {
      await remove(`/api/models/${model.id}`);
    } catch (problem) {
      if (problem.status !== 404) return flashProblem(problem);
    }
    const { state } = this.#studio;
    state.models = state.models.filter((other) => other.id !== model.id);
    this.#card(model.id)?.remove();
    flash(`${model.trigger_word} is deleted.`);
    (one("button:not([hidden])", slot(this.#root, "clones")) ?? this.#form.elements.trigger_word).focus();
    this.#studio.changed();
  }

  /** Shows one model, new or known. */
  render(model) {
    let card = this.#card(model.id);
    if (!card) {
      card = fromTemplate("clone");
      card.dataset.id = model.id;
      slot(this.#root, "clones").prepend(card);
    }
    const { status } = model;
    card.dataset.status = status;
    setText(card, "trigger_word", model.trigger_word);
    setText(card, "photo_count", plural(model.photo_count ?? this.#studio.state.photos.length, "photo"));
    setTime(slot(card, "created_at"), model.created_at);
    showSlot(card, "ready", status === "Ready");
    showSlot(card, "busy", status === "Processing");
    showSlot(card, "failed", status === "Failed");
    setText(card, "failed-word", model.error?.code === "training_canceled" ? "Canceled" : "Failed");
    this.#renderProgress(card, model);
    showSlot(card, "error-box", status === "Failed");
    setText(card, "error", model.error?.message ?? "The training did not finish. Try again.");
    show(one('[data-action="use-clone"]', card), status === "Ready");
    show(one('[data-action="retrain"]', card), status === "Failed");
    show(one('[data-action="cancel-clone"]', card), status === "Processing");
    show(one('[data-action="delete-clone"]', card), status !== "Processing");
    this.#renderParameters(card, model.parameters ?? {});
  }

  #renderProgress(card, { status, progress, trigger_word: word }) {
    showSlot(card, "progress-box", status === "Processing");
    setText(card, "progress-words", progress > 0 ? "Learning your face" : "Getting ready");
    setText(card, "percent", progress > 0 ? percent(progress) : "");
    const bar = slot(card, "progress");
    setProgress(bar, progress);
    bar.setAttribute("aria-label", `Training progress of ${word}`);
  }

  #renderParameters(card, parameters) {
    const facts = Object.entries(parameters).filter(([, value]) => value !== null);
    slot(card, "parameters").replaceChildren(
      ...facts.map(([name, value]) => {
        const fact = fromTemplate("fact");
        one("dt", fact).textContent = name.replaceAll("_", " ");
        one("dd", fact).textContent = wordFor(value);
        return fact;
      }),
    );
  }

  refresh() {
    const { state, limits } = this.#studio;
    const missing = limits.photos_min - state.photos.length;
    const ready = state.models.find((model) => model.status === "Ready");
    const all = state.photos.length <= limits.photos_max;
    setText(this.#root, "train-photos", all ? `Learns from your ${plural(state.photos.length, "photo")}.` : `Learns from your ${limits.photos_max} newest photos, which is the most that a training takes.`);
    showSlot(this.#root, "too-few", missing > 0);
    setText(this.#root, "too-few-text", `Add ${missing} more ${missing === 1 ? "photo" : "photos"} first.`);
    const button = one('[type="submit"]', this.#form);
    if (!button.hasAttribute("aria-busy")) button.disabled = missing > 0 || this.#studio.left("clones") === 0;
    this.#studio.offerMore("clones", 1, button);
    showSlot(this.#root, "clones-empty", state.models.length === 0);
    showSlot(this.#root, "clone-next", Boolean(ready));
    if (ready) setText(this.#root, "clone-next-text", `${ready.trigger_word} is ready.`);
  }
}
