// A prompt that was not sent yet survives a reload, a lost session and the way back. It stays in this tab.

const keyOf = (userId) => `visiona:draft:${userId}`;

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
