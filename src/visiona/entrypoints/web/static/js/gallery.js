// The gallery: pages that load as one scrolls, a lightbox, and deleting many.

import { get, post } from "./api.js";
import { confirmAction } from "./confirm.js";
import { all, announce, fromTemplate, one, onAction, pageData, plural, setText, show, showSlot, slot } from "./dom.js";
import { flash, flashProblem } from "./flash.js";
import { reviveOnError, setPicture } from "./images.js";
import { Lightbox } from "./lightbox.js";

const PAGE = 24;
const AHEAD = "600px";

class Gallery {
  #root = one("#gallery");
  #bar = one("#selection");
  #form = one("#gallery-filter");
  #images;
  #cursor;
  #models;
  #loading = null;
  #selected = new Set();
  #lightbox;

  constructor(data) {
    this.#images = data.images;
    this.#cursor = data.next_cursor;
    this.#models = data.models;
    for (const image of this.#images) this.#adopt(this.#tile(image.id), image);
    this.#lightbox = new Lightbox({
      cloneName: (id) => this.#models.find((model) => model.id === id)?.trigger_word ?? "deleted clone",
      onDelete: (ids) => this.#forget(ids),
      onNearEnd: () => this.#loadMore(),
      focusOn: (id) => (this.#tile(id) ? one("button", this.#tile(id)) : one("#filter-model")).focus(),
    });
    this.#wire();
    this.#refresh();
  }

  get #tiles() {
    return slot(this.#root, "tiles");
  }

  #tile(id) {
    return one(`.tile[data-id="${id}"]`, this.#tiles);
  }

  #wire() {
    onAction(this.#root, {
      "open-image": (button) => this.#open(Number(button.closest(".tile").dataset.id)),
      "start-selecting": () => this.#setSelecting(this.#bar.hidden),
    });
    onAction(this.#bar, {
      "stop-selecting": () => this.#setSelecting(false),
      "select-all": () => this.#selectAll(),
      "delete-selected": () => this.#deleteSelected(),
    });
    this.#tiles.addEventListener("change", (event) => this.#toggle(event.target));
    this.#form.addEventListener("change", () => this.#refilter());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.#bar.hidden && !one("dialog[open]")) this.#setSelecting(false);
    });
    const more = slot(this.#root, "more");
    more.addEventListener("click", (event) => {
      event.preventDefault();
      this.#loadMore();
    });
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.#loadMore(), { rootMargin: AHEAD }).observe(more);
  }

  // --- Pages

  #query(cursor) {
    const query = new URLSearchParams(new FormData(this.#form));
    if (!query.get("model_id")) query.delete("model_id");
    if (cursor) query.set("cursor", cursor);
    return query;
  }

  /** Loads the next page; resolves to its items. Calls while one is under way share it. */
  #loadMore() {
    if (!this.#cursor) return Promise.resolve([]);
    this.#loading ??= this.#fetchPage(this.#cursor).finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #fetchPage(cursor) {
    const more = slot(this.#root, "more");
    const query = this.#query(cursor);
    more.setAttribute("aria-busy", "true");
    try {
      const page = await get(`/api/gallery?limit=${PAGE}&${query}`);
      // The filter may have changed meanwhile.
      if (query.toString() !== this.#query(cursor).toString()) return [];
      const fresh = page.items.filter((image) => !this.#tile(image.id));
      for (const image of fresh) this.#append(image);
      this.#cursor = page.next_cursor;
      return fresh;
    } catch (problem) {
      flashProblem(problem);
      return [];
    } finally {
      more.removeAttribute("aria-busy");
      this.#refresh();
    }
  }

  async #refilter() {
    const query = this.#query(null);
    history.replaceState(null, "", `/gallery?${query}`);
    this.#root.setAttribute("aria-busy", "true");
    this.#setSelecting(false);
    try {
      const page = await get(`/api/gallery?limit=${PAGE}&${query}`);
      if (query.toString() !== this.#query(null).toString()) return;
      this.#tiles.replaceChildren();
      this.#images = [];
      for (const image of page.items) this.#append(image);
      this.#cursor = page.next_cursor;
      announce(`${plural(page.items.length, "picture")} shown.`);
    } catch (problem) {
      flashProblem(problem);
    } finally {
      this.#root.removeAttribute("aria-busy");
      this.#refresh();
    }
  }

  #append(image) {
    const tile = fromTemplate("tile");
    this.#images.push(image);
    this.#tiles.append(tile);
    this.#adopt(tile, image);
    show(one(".tile__select", tile), !this.#bar.hidden);
  }

  #adopt(tile, image) {
    const img = slot(tile, "image");
    tile.dataset.id = image.id;
    tile.style.setProperty("--shape", image.width / image.height);
    if (img.getAttribute("src") !== image.thumbnail_url) setPicture(img, image);
    img.alt = image.prompt;
    setText(tile, "select-label", `Select: ${image.prompt}`);
    reviveOnError(img, () => `/api/gallery/${image.id}`, (fresh) => {
      Object.assign(image, fresh);
      setPicture(img, fresh);
    });
  }

  #open(id) {
    this.#lightbox.open([...this.#images], this.#images.findIndex((image) => image.id === id));
  }

  // --- Selecting and deleting

  #setSelecting(on) {
    if (on === !this.#bar.hidden) return;
    this.#selected.clear();
    show(this.#bar, on);
    this.#root.classList.toggle("is-selecting", on);
    one('[data-action="start-selecting"]').setAttribute("aria-pressed", String(on));
    for (const tile of all(".tile", this.#tiles)) {
      one("input", tile).checked = false;
      show(one(".tile__select", tile), on);
      one("button", tile).tabIndex = on ? -1 : 0;
    }
    if (on) one(".tile input", this.#tiles)?.focus();
    else one('[data-action="start-selecting"]').focus();
    this.#refreshSelection();
  }

  #toggle(input) {
    const id = Number(input.closest(".tile").dataset.id);
    if (input.checked) this.#selected.add(id);
    else this.#selected.delete(id);
    this.#refreshSelection();
  }

  #selectAll() {
    for (const input of all(".tile input", this.#tiles)) {
      input.checked = true;
      this.#toggle(input);
    }
  }

  #refreshSelection() {
    setText(this.#bar, "selected-count", String(this.#selected.size));
    one('[data-action="delete-selected"]', this.#bar).disabled = this.#selected.size === 0;
  }

  async #deleteSelected() {
    const ids = [...this.#selected];
    const many = plural(ids.length, "picture");
    const yes = await confirmAction({
      title: `Delete ${many}?`,
      text: `The ${ids.length === 1 ? "picture and its" : "pictures and their"} files are removed for good.`,
      yes: `Delete ${many}`,
      no: ids.length === 1 ? "Keep it" : "Keep them",
    });
    if (!yes) return;
    try {
      await post("/api/gallery/delete", { ids });
    } catch (problem) {
      flashProblem(problem);
      return;
    }
    this.#setSelecting(false);
    this.#forget(ids);
    flash(`${many} deleted.`);
  }

  #forget(ids) {
    this.#images = this.#images.filter((image) => !ids.includes(image.id));
    for (const id of ids) this.#tile(id)?.remove();
    this.#refresh();
    if (this.#images.length === 0) this.#loadMore();
  }

  #refresh() {
    const empty = this.#images.length === 0 && !this.#cursor;
    showSlot(this.#root, "empty", empty);
    setText(this.#root, "empty-title", this.#query(null).has("model_id") ? "Nothing here with this clone" : "Nothing here yet");
    showSlot(this.#root, "more", Boolean(this.#cursor));
    show(one('[data-action="start-selecting"]'), this.#images.length > 0);
    if (this.#cursor) slot(this.#root, "more").href = `/gallery?${this.#query(this.#cursor)}`;
  }
}

new Gallery(pageData());
