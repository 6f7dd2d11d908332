// Shows times in the reader's language and time zone: "2 hours ago", and the exact time for a pointer and for screen
// readers. Without scripts, the page shows them in UTC.
"use strict";

{
  const language = document.documentElement.lang || undefined;
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const exact = new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "long" });
  const date = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
  const MONTH = 30 * 86400;
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

  /** The time in words. A time that is more than a month away is a date. */
  const inWords = (at) => {
    const seconds = (at - Date.now()) / 1000;
    if (Math.abs(seconds) > MONTH) return date.format(at);
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || ["second", 1];
    // The clocks of the server and of the reader may differ a little.
    return relative.format(unit === "second" ? 0 : Math.trunc(seconds / size), unit);
  };

  const shown = [];
  for (const element of document.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const [words, full] = [document.createElement("span"), document.createElement("span")];
    words.setAttribute("aria-hidden", "true");
    full.className = "unseen";
    full.textContent = element.title = exact.format(at);
    element.replaceChildren(words, full);
    shown.push([words, at]);
  }
  // Labels that only screen readers read.
  for (const element of document.querySelectorAll("[aria-label*=' UTC']")) {
    const label = element.getAttribute("aria-label");
    const known = /(\d{4}-\d\d-\d\d) (\d\d:\d\d) UTC/g;
    const read = (_, day, time) => exact.format(new Date(`${day}T${time}Z`));
    element.setAttribute("aria-label", label.replace(known, read));
  }
  const update = () => shown.forEach(([words, at]) => { words.textContent = inWords(at); });
  update();
  setInterval(update, 60000);
}
