// Light, dark, or as the system says. theme-boot.js applies the choice before the first paint.

import { all, one } from "./dom.js";

const KEY = "visiona:theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY) ?? "system";
  } catch {
    return document.documentElement.dataset.theme ?? "system";
  }
}

function choose(theme) {
  const root = document.documentElement;
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Without storage the choice lasts for this page.
  }
  showState();
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : dark.matches;
}

function showState() {
  one("#theme-toggle")?.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  for (const radio of all('input[name="theme"]')) radio.checked = radio.value === stored();
  const background = getComputedStyle(document.body).backgroundColor;
  for (const meta of all('meta[name="theme-color"]')) meta.content = background;
}

export function takeOverTheme() {
  one("#theme-toggle")?.addEventListener("click", () => choose(isDark() ? "light" : "dark"));
  for (const radio of all('input[name="theme"]')) radio.addEventListener("change", () => choose(radio.value));
  dark.addEventListener("change", showState);
  showState();
}
