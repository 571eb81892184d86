// Step one: photos come in, get their verdicts, and can be taken out again.

import { remove } from "./api.js";
import { confirmAction } from "./confirm.js";
import { all, fromTemplate, one, onAction, plural, setText, show, showSlot, slot } from "./dom.js";
import { flashProblem } from "./flash.js";
import { reviveOnError, setPicture } from "./images.js";
import { batches, refusal, upload } from "./upload.js";

const PARALLEL = 2;
const ACCEPTED_ROW_STAYS = 2500;

/** How many photos there are, and how many it takes for as long as they are too few. */
export const photoTally = (count, limits) => (count < limits.photos_min ? `${count} of at least ${limits.photos_min}` : plural(count, "photo"));

export class PhotosPanel {
  #root;
  #studio;
  #queue = [];
  #sending = 0;
  #tally = { added: 0, warned: 0, refused: 0 };

  constructor(root, studio) {
    this.#root = root;
    this.#studio = studio;
    for (const photo of studio.state.photos) this.#adopt(this.#card(photo.id), photo);
    this.#wire();
  }

  #card(id) {
    return one(`[data-testid="photo-card"][data-id="${id}"]`, this.#root);
  }

  #wire() {
    const drop = one("#drop");
    for (const input of [one("#photo-input"), one("#camera-input")]) {
      input.addEventListener("change", () => {
        this.#take([...input.files]);
        input.value = "";
      });
    }
    for (const type of ["dragenter", "dragover"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.add("is-over");
      });
    }
    for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("is-over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#take([...event.dataTransfer.files]);
    });
    onAction(this.#root, {
      "delete-photo": (button) => this.#delete(button.closest("[data-id]")),
      "dismiss-upload": (button) => this.#dismiss(button.closest(".upload")),
      "clear-uploads": () => this.#clear(),
    });
    window.addEventListener("beforeunload", (event) => {
      if (this.#sending > 0) event.preventDefault();
    });
  }

  // --- Sending

  #take(files) {
    if (files.length === 0) return;
    const { limits, state } = this.#studio;
    let room = limits.photos_max - state.photos.length - this.#pending;
    const accepted = [];
    for (const file of files) {
      const entry = { file, row: this.#addRow(file) };
      const reason = refusal(file, limits) ?? (room <= 0 ? `A clone learns from at most ${limits.photos_max} photos. Delete some to add others.` : null);
      if (reason) {
        this.#refuse(entry, reason);
      } else {
        room -= 1;
        accepted.push(entry);
      }
    }
    this.#queue.push(...batches(accepted, limits));
    this.#pump();
    this.#summarize();
  }

  get #pending() {
    return all('.upload:is([data-state="waiting"], [data-state="sending"], [data-state="checking"])', this.#root).length;
  }

  #pump() {
    while (this.#sending < PARALLEL && this.#queue.length > 0) this.#sendNext();
  }

  async #sendNext() {
    this.#sending += 1;
    const batch = this.#queue.shift();
    for (const verdict of await upload(batch, (entry, share) => this.#progress(entry, share))) {
      if (verdict.photo) this.#accept(verdict.entry, verdict.photo);
      else this.#refuse(verdict.entry, verdict.message);
    }
    this.#sending -= 1;
    this.#summarize();
    this.#pump();
  }

  #addRow(file) {
    const row = fromTemplate("upload");
    setText(row, "name", file.name);
    if (/^image\/(jpeg|png|webp)$/.test(file.type)) this.#preview(row, file);
    slot(this.#root, "upload-list").append(row);
    show(one("#uploads"), true);
    return row;
  }

  #preview(row, file) {
    const image = new Image();
    image.alt = "";
    image.src = URL.createObjectURL(file);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    image.addEventListener("error", () => image.remove(), { once: true });
    slot(row, "preview").append(image);
  }

  #progress({ row }, share) {
    row.dataset.state = share < 1 ? "sending" : "checking";
    setText(row, "verdict", share < 1 ? `Sending, ${Math.floor(share * 100)}%` : "Checking the photo");
    const bar = slot(row, "progress");
    if (share < 1) bar.value = share;
    else bar.removeAttribute("value");
  }

  #settle(row, state, words) {
    row.dataset.state = state;
    setText(row, "verdict", words);
    showSlot(row, "progress", false);
    show(one('[data-action="dismiss-upload"]', row), true);
  }

  #accept({ row }, photo) {
    const { advice } = this.#warnings(photo);
    this.#tally.added += 1;
    if (advice) this.#tally.warned += 1;
    this.#settle(row, advice ? "warned" : "accepted", advice ? `Added. ${advice}` : "Added");
    if (!advice) setTimeout(() => this.#dismiss(row), ACCEPTED_ROW_STAYS);
    this.#studio.state.photos.unshift(photo);
    const card = fromTemplate("photo");
    slot(this.#root, "photos").prepend(card);
    this.#adopt(card, photo);
    this.#studio.changed();
  }

  #refuse({ row }, message) {
    this.#tally.refused += 1;
    this.#settle(row, "refused", message);
  }

  #dismiss(row) {
    row.remove();
    if (all(".upload", this.#root).length === 0) this.#clear();
  }

  #clear() {
    for (const row of all('.upload:not([data-state="waiting"], [data-state="sending"], [data-state="checking"])', this.#root)) row.remove();
    if (this.#pending > 0) return;
    this.#tally = { added: 0, warned: 0, refused: 0 };
    show(one("#uploads"), false);
  }

  #summarize() {
    const { added, warned, refused } = this.#tally;
    const parts = [];
    if (this.#pending > 0) parts.push(`${this.#pending} to go`);
    if (added > 0) parts.push(`${added} added`);
    if (warned > 0) parts.push(`${warned} with a warning`);
    if (refused > 0) parts.push(`${refused} not accepted`);
    setText(this.#root, "upload-summary", parts.join(", "));
    show(one('[data-action="clear-uploads"]', this.#root), this.#pending === 0 && added + refused > 0);
  }

  // --- The photos

  #warnings(photo) {
    const { photo_warnings: words, other_photo_warning: other } = this.#studio.words;
    const known = photo.warnings.map((code) => words[code] ?? other);
    return { labels: known.map(({ label }) => label).join(", "), advice: known.map(({ advice }) => advice).join(" ") };
  }

  /** Fills a card and takes care of it. */
  #adopt(card, photo) {
    const image = slot(card, "image");
    card.dataset.id = photo.id;
    if (image.getAttribute("src") !== photo.thumbnail_url) setPicture(image, photo);
    const { labels, advice } = this.#warnings(photo);
    setText(card, "warning-labels", labels);
    setText(card, "warning-advice", advice);
    slot(card, "warnings").title = advice;
    showSlot(card, "warnings", labels !== "");
    reviveOnError(image, () => `/api/photos/${photo.id}`, (fresh) => setPicture(image, fresh));
  }

  async #delete(card) {
    const yes = await confirmAction({
      title: "Delete this photo?",
      text: "The photo and its files are removed for good. Clones that already learned from it stay as they are.",
    });
    if (!yes) return;
    try {
      await remove(`/api/photos/${card.dataset.id}`);
    } catch (problem) {
      if (problem.status !== 404) return flashProblem(problem);
    }
    const next = card.nextElementSibling ?? card.previousElementSibling;
    const { state } = this.#studio;
    state.photos = state.photos.filter((photo) => String(photo.id) !== card.dataset.id);
    card.remove();
    (next ? one("button", next) : one("#photo-input")).focus();
    this.#studio.changed();
  }

  /** Counters, the empty state and the way on. */
  refresh() {
    const { state, limits } = this.#studio;
    const count = state.photos.length;
    setText(this.#root, "photo-tally", photoTally(count, limits));
    slot(this.#root, "photo-meter").value = Math.min(count, limits.photos_min);
    showSlot(this.#root, "photos-empty", count === 0);
    showSlot(this.#root, "photos-next", count >= limits.photos_min && state.models.length === 0);
    const full = count >= limits.photos_max;
    one("#photo-input").disabled = full;
    one("#drop").classList.toggle("is-full", full);
  }
}
