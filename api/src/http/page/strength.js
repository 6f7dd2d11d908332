// Shows how hard a password is to guess while the user types it. This is only an estimate, made in the browser: the
// server decides, and nothing is sent before the form.
"use strict";

const WORDS = "password passwort qwerty qwertz azerty letmein welcome willkommen admin master monkey dragon football baseball sunshine princess iloveyou hallo hello login secret geheim superman batman trustno shadow michael summer winter spring test user love".split(" ");

/** The approximate number of bits for an attacker who tries common passwords first. */
function bits(password, known) {
  let rest = password.toLowerCase().replace(/[@4]/g, "a").replace(/3/g, "e").replace(/[1!]/g, "i").replace(/0/g, "o").replace(/[$5]/g, "s");
  let found = 0;
  for (const word of [...known, ...WORDS]) {
    while (word.length > 2 && rest.includes(word)) {
      rest = rest.replace(word, "");
      found += known.includes(word) ? 2 : 7;
    }
  }
  // Repeated characters and sequences add nothing.
  let fresh = "";
  for (const [place, char] of [...rest].entries()) {
    const before = rest.charCodeAt(place - 1);
    if (place === 0 || ![-1, 0, 1].includes(char.charCodeAt(0) - before)) fresh += char;
  }
  const kinds = [[/[a-z]/, 26], [/[A-Z]/, 26], [/[0-9]/, 10], [/[^a-zA-Z0-9]/, 33]];
  const size = kinds.reduce((sum, [kind, count]) => sum + (kind.test(password) ? count : 0), 0);
  return found + Math.log2(Math.max(size, 2)) * 0.6 * fresh.length;
}

for (const shown of document.querySelectorAll(".strength")) {
  const form = shown.closest("form");
  const input = form.querySelector("[autocomplete=new-password]");
  const meter = document.createElement("meter");
  const words = document.createElement("span");
  Object.assign(meter, { min: 0, max: 3, low: 1.5, high: 2.5, optimum: 3 });
  meter.setAttribute("aria-hidden", "true");
  words.setAttribute("role", "status");
  shown.append(meter, words);
  input.addEventListener("input", () => {
    const password = input.value;
    const names = form.querySelectorAll("[autocomplete=username]");
    const known = [...names].flatMap((name) => name.value.toLowerCase().split(/[^a-z0-9]+/));
    const guessed = bits(password, known.filter(Boolean));
    const few = [...password].length < Number(shown.dataset.fewest);
    const level = few ? 0 : guessed < 30 ? 1 : guessed < 45 ? 2 : 3;
    meter.value = few ? 0.5 : level;
    words.textContent = [shown.dataset.few, shown.dataset.easy, shown.dataset.fair, shown.dataset.good][level];
    shown.hidden = password === "";
  });
}
