// One picture in full, with everything that is known about it. Used by the gallery and the studio.

import { get, post } from "./api.js";
import { copyText } from "./clipboard.js";
import { confirmAction } from "./confirm.js";
import { fromTemplate, one, onAction, setText, show, showSlot, slot } from "./dom.js";
import { flash, flashProblem } from "./flash.js";
import { reviveOnError } from "./images.js";
import { fullTime } from "./times.js";

const SWIPE = 48;
const LINK_LIFE = 4 * 60 * 1000;
const PARAMETER_NAMES = {
  aspect_ratio: "Shape",
  guidance_scale: "Guidance",
  num_inference_steps: "Steps",
  lora_scale: "Likeness",
  model: "Model",
  output_format: "Format",
  go_fast: "Go fast",
};

function factsOf(item, cloneName) {
  const facts = [["Clone", cloneName], ["Made", fullTime(item.created_at)], ["Size", `${item.width} × ${item.height}`]];
  if (item.seed !== null && item.seed !== undefined) facts.push(["Seed", item.seed]);
  for (const [key, name] of Object.entries(PARAMETER_NAMES)) {
    const value = item.parameters?.[key];
    if (value !== undefined && value !== null && value !== false) facts.push([name, value === true ? "yes" : value]);
  }
  return facts;
}

function studioLink(item) {
  const query = new URLSearchParams({ prompt: item.prompt });
  if (item.model_id !== null) query.set("model_id", item.model_id);
  return `/studio?${query}#create`;
}

function fileName(item) {
  const path = new URL(item.image_url, location.href).pathname;
  const extension = /\.(webp|jpe?g|png)$/i.exec(path)?.[1] ?? item.parameters?.output_format ?? "webp";
  return `visiona-${item.id}.${extension}`;
}

export class Lightbox {
  #dialog = one("#lightbox");
  #items = [];
  #index = 0;
  #fetchedAt = new Map();
  #options;

  /**
   * `cloneName(modelId)` names a clone; `onDelete(ids)` hears of deleted pictures; `onNearEnd()` may
   * load more and resolves to further items; `focusOn(id)` puts the focus back on that picture's button
   * (`id` is undefined when none is left).
   */
  constructor(options) {
    this.#options = options;
    this.#wire();
  }

  open(items, index) {
    this.#items = items;
    this.#dialog.showModal();
    this.#show(index);
  }

  get #item() {
    return this.#items[this.#index];
  }

  #wire() {
    const image = slot(this.#dialog, "image");
    reviveOnError(image, () => `/api/gallery/${this.#item.id}`, (item) => this.#replace(item));
    onAction(this.#dialog, {
      previous: () => this.#step(-1),
      next: () => this.#step(1),
      close: () => this.#dialog.close(),
      copy: () => this.#copy(),
      delete: () => this.#delete(),
    });
    slot(this.#dialog, "download").addEventListener("click", (event) => this.#download(event));
    this.#dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") this.#step(-1);
      if (event.key === "ArrowRight") this.#step(1);
    });
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    this.#dialog.addEventListener("close", () => this.#options.focusOn(this.#item?.id));
    this.#wireSwipe(slot(this.#dialog, "stage"));
  }

  #wireSwipe(stage) {
    let start = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse") start = { x: event.clientX, y: event.clientY };
    });
    stage.addEventListener("pointerup", (event) => {
      if (!start) return;
      const [x, y] = [event.clientX - start.x, event.clientY - start.y];
      start = null;
      if (Math.abs(x) > SWIPE && Math.abs(x) > Math.abs(y)) this.#step(x < 0 ? 1 : -1);
    });
    stage.addEventListener("pointercancel", () => (start = null));
  }

  async #step(by) {
    const target = this.#index + by;
    if (target < 0) return;
    if (target >= this.#items.length) {
      const more = (await this.#options.onNearEnd?.()) ?? [];
      if (more.length === 0) return;
      this.#items = [...this.#items, ...more];
    }
    this.#show(target);
  }

  #show(index) {
    this.#index = index;
    const item = this.#item;
    const dialog = this.#dialog;
    const image = slot(dialog, "image");
    image.removeAttribute("src");
    image.classList.remove("is-missing");
    // The thumbnail is already here: it stands in until the picture itself has arrived.
    image.style.backgroundImage = `url(${JSON.stringify(item.thumbnail_url)})`;
    image.width = item.width;
    image.height = item.height;
    image.alt = item.prompt;
    image.src = item.image_url;
    setText(dialog, "title", `Picture ${index + 1}`);
    setText(dialog, "prompt", item.prompt);
    setText(dialog, "enhanced_prompt", item.enhanced_prompt ?? "");
    showSlot(dialog, "enhanced-box", Boolean(item.enhanced_prompt));
    setText(dialog, "copy-word", item.enhanced_prompt ? "Copy enhanced prompt" : "Copy prompt");
    slot(dialog, "again").href = studioLink(item);
    this.#showDownload(item);
    this.#showFacts(item);
    show(one('[data-action="previous"]', dialog), index > 0);
    show(one('[data-action="next"]', dialog), index < this.#items.length - 1 || Boolean(this.#options.onNearEnd));
    if (!dialog.contains(document.activeElement)) slot(dialog, "title").focus();
  }

  #showFacts(item) {
    slot(this.#dialog, "facts").replaceChildren(
      ...factsOf(item, this.#options.cloneName(item.model_id)).map(([name, value]) => {
        const fact = fromTemplate("fact");
        one("dt", fact).textContent = name;
        one("dd", fact).textContent = value;
        return fact;
      }),
    );
  }

  #showDownload(item) {
    const link = slot(this.#dialog, "download");
    link.href = item.image_url;
    link.download = fileName(item);
  }

  #replace(item) {
    const index = this.#items.findIndex((other) => other.id === item.id);
    if (index < 0) return;
    this.#items[index] = item;
    this.#fetchedAt.set(item.id, Date.now());
    if (index === this.#index) this.#show(index);
  }

  async #download(event) {
    const item = this.#item;
    const fetchedAt = this.#fetchedAt.get(item.id) ?? performance.timeOrigin;
    if (Date.now() - fetchedAt < LINK_LIFE) return;
    event.preventDefault();
    try {
      this.#replace(await get(`/api/gallery/${item.id}`));
      slot(this.#dialog, "download").click();
    } catch (problem) {
      flashProblem(problem);
    }
  }

  async #copy() {
    try {
      await copyText(this.#item.enhanced_prompt ?? this.#item.prompt, one("#lightbox"));
      setText(this.#dialog, "copy-word", "Copied");
    } catch {
      flash("Copying is not allowed here. Select the text instead.", { kind: "bad" });
    }
  }

  async #delete() {
    const item = this.#item;
    const yes = await confirmAction({ title: "Delete this picture?", text: "The picture and its files are removed for good." });
    if (!yes) return;
    try {
      await post("/api/gallery/delete", { ids: [item.id] });
    } catch (problem) {
      flashProblem(problem);
      return;
    }
    this.#items = this.#items.filter((other) => other.id !== item.id);
    if (this.#items.length === 0) this.#dialog.close();
    else this.#show(Math.min(this.#index, this.#items.length - 1));
    this.#options.onDelete([item.id]);
    flash("Picture deleted.");
  }
}
