// Adds a button to each field of a password that shows what was typed. Without scripts there is no such button.
"use strict";

{
  const { show, hide, shown, hidden } = document.currentScript.dataset;
  for (const input of document.querySelectorAll("input[type=password]")) {
    const label = input.closest("label");
    if (!label) continue;
    const [field, button] = [document.createElement("div"), document.createElement("button")];
    field.className = "revealing";
    button.className = "reveal minor";
    button.type = "button";
    const set = (visible) => {
      input.type = visible ? "text" : "password";
      button.textContent = visible ? hide : show;
      button.title = visible ? hidden : shown;
    };
    button.addEventListener("click", () => set(input.type === "password"));
    // Otherwise the browser keeps the password among the texts that it suggests.
    input.form?.addEventListener("submit", () => set(false));
    set(false);
    const hasFocus = document.activeElement === input;
    label.replaceWith(field);
    field.append(label, button);
    if (hasFocus) input.focus();
  }
}
