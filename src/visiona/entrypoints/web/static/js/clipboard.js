// Copying, also where there is no clipboard API.

/** Puts `text` on the clipboard. `holder` is where a field may stand for a moment: in an open dialog, that one. */
export async function copyText(text, holder = document.body) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without https there is no clipboard API; this older way still works.
  const area = document.createElement("textarea");
  area.value = text;
  holder.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
