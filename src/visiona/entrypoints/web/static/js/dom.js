// The page's elements by short names: slots are the parts of a card that carry data.

export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** A copy of the single element inside `<template id="…-template">`. */
export function fromTemplate(name) {
  return document.getElementById(`${name}-template`).content.firstElementChild.cloneNode(true);
}

export const slot = (root, name) => root.querySelector(`[data-slot="${name}"]`);

export function setText(root, name, text) {
  const element = slot(root, name);
  if (element && element.textContent !== text) element.textContent = text;
}

export function show(element, visible) {
  if (element) element.hidden = !visible;
}

export const showSlot = (root, name, visible) => show(slot(root, name), visible);

/** A bar at `share`; without any progress yet it moves to and fro. */
export function setProgress(bar, share) {
  if (share > 0) bar.value = share;
  else bar.removeAttribute("value");
}

/** What the server rendered the page from. */
export function pageData() {
  return JSON.parse(document.getElementById("page-data").textContent);
}

/** Calls `handlers[data-action](element, event)` for clicks on anything inside `root`. */
export function onAction(root, handlers) {
  root.addEventListener("click", (event) => {
    const element = event.target.closest("[data-action]");
    const handler = element && root.contains(element) && handlers[element.dataset.action];
    if (handler) handler(element, event);
  });
}

/** Says something to people who listen to the page. */
export function announce(message) {
  const announcer = document.getElementById("announcer");
  if (announcer) announcer.textContent = message;
}

const numbers = new Intl.NumberFormat("en");
/** `1,000`. */
export const number = (count) => numbers.format(count);
export const plural = (count, singular, many = `${singular}s`) => `${number(count)} ${count === 1 ? singular : many}`;
export const percent = (share) => `${Math.floor(Math.min(Math.max(share ?? 0, 0), 1) * 100)}%`;
