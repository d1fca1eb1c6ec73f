// Entry point of the page: tabs, token form and model menus.

import { keepToken, models } from "./client.js";
import { live } from "./live.js";
import { speechTab } from "./speech.js";
import { textTab } from "./text.js";

const find = (id) => document.getElementById(id);

function showError(place, error) {
  if (error.status === 401) {
    find("token-form").hidden = false;
    find("token").focus();
  }
  find(place).textContent = error.message;
  find(place).hidden = false;
}

function tabs() {
  const all = [...document.querySelectorAll('[role="tab"]')];
  const select = (chosen) => {
    for (const tab of all) {
      const active = tab === chosen;
      tab.setAttribute("aria-selected", String(active));
      tab.tabIndex = active ? 0 : -1;
      find(tab.getAttribute("aria-controls")).hidden = !active;
    }
  };
  all.forEach((tab, index) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = all[(index + step + all.length) % all.length];
      select(next);
      next.focus();
    });
  });
  return select;
}

/** Fill the model and language menus of one tab. */
function menus(kind, available) {
  const model = find(`${kind}-model`);
  const language = find(`${kind}-language`);
  model.replaceChildren(...available.map(({ id }) => new Option(id)));
  const showLanguages = () => {
    const { languages } = available.find(({ id }) => id === model.value) ?? { languages: [] };
    language.replaceChildren(...languages.map((name) => new Option(name)));
    find(`${kind}-language-field`).hidden = languages.length < 2;
  };
  model.onchange = showLanguages;
  showLanguages();
}

const choice = (kind) => () => ({
  model: find(`${kind}-model`).value,
  language: find(`${kind}-language`).value,
});

async function begin() {
  try {
    const available = await models();
    const speech = available.filter(({ task }) => task === "transcribe");
    const text = available.filter(({ task }) => task === "translate");
    menus("speech", speech);
    menus("text", text);
    for (const button of [find("record"), find("live"), find("choose")]) button.disabled = !speech.length;
    find("translate").disabled = !text.length;
    if (!speech.length) showError("speech-error", new Error("No model that transcribes speech is loaded."));
    if (!text.length) showError("text-error", new Error("No model that translates text is loaded."));
    find("token-form").hidden = true;
    return speech.length > 0;
  } catch (error) {
    showError("speech-error", error);
    return true;
  }
}

const select = tabs();
speechTab({ choice: choice("speech"), showError });
live({ choice: choice("speech"), showError });
textTab({ choice: choice("text"), showError });
find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(find("token").value);
  find("speech-error").hidden = find("text-error").hidden = true;
  begin();
});
if (!(await begin())) select(find("tab-text"));
