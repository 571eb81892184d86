// Times in the reader's own clock and words; the server could only write UTC.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

export const fullTime = (iso) => full.format(new Date(iso));
export const longDate = (iso) => day.format(new Date(iso));

export function relativeTime(iso, now = Date.now()) {
  const seconds = (now - new Date(iso)) / 1000;
  if (seconds < MINUTE) return "just now";
  if (seconds < HOUR) return relative.format(-Math.floor(seconds / MINUTE), "minute");
  if (seconds < DAY) return relative.format(-Math.floor(seconds / HOUR), "hour");
  if (seconds < 7 * DAY) return relative.format(-Math.floor(seconds / DAY), "day");
  return longDate(iso);
}

export function setTime(element, iso) {
  if (!element || !iso) return;
  element.dateTime = iso;
  element.title = fullTime(iso);
  element.textContent = relativeTime(iso);
}

export function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-relative][datetime]")) {
    setTime(element, element.dateTime);
  }
}

export function keepTimesFresh() {
  refreshTimes();
  setInterval(refreshTimes, MINUTE * 1000);
}
