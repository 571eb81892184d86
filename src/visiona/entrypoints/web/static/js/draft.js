// A prompt that was not sent yet survives a reload, a lost session and the way back. It stays in this tab.

const PREFIX = "visiona:draft:";
const keyOf = (userId) => PREFIX + userId;

/** Whoever logs out leaves nothing behind for the next person at this tab. */
export function forgetDraftsAtLogOut() {
  document.querySelector('form[action="/logout"]')?.addEventListener("submit", () => {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  });
}

/** Keeps what is in `field` for the person `userId`, and puts back what was kept. */
export function keepDraft(field, userId) {
  try {
    field.value ||= sessionStorage.getItem(keyOf(userId)) ?? "";
  } catch {
    return; // Storage may be blocked: then nothing is kept.
  }
  window.addEventListener("pagehide", () => {
    if (field.value) sessionStorage.setItem(keyOf(userId), field.value);
    else sessionStorage.removeItem(keyOf(userId));
  });
}
