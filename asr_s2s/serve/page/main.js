// The page: its tabs, its token, and what the models can do.

import { keepToken, models } from "./client.js";
import { speechTab } from "./speech.js";
import { textTab } from "./text.js";

const find = (id) => document.getElementById(id);

function failed(place, error) {
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
      const mine = tab === chosen;
      tab.setAttribute("aria-selected", String(mine));
      tab.tabIndex = mine ? 0 : -1;
      find(tab.getAttribute("aria-controls")).hidden = !mine;
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

/** Fill the menus of one tab; how to read what was chosen there. */
function menus(kind, known) {
  const model = find(`${kind}-model`);
  const language = find(`${kind}-language`);
  model.replaceChildren(...known.map(({ id }) => new Option(id)));
  const offer = () => {
    const { languages } = known.find(({ id }) => id === model.value) ?? { languages: [] };
    language.replaceChildren(...languages.map((name) => new Option(name)));
    find(`${kind}-language-field`).hidden = languages.length < 2;
  };
  model.onchange = offer;
  offer();
}

const choice = (kind) => () => ({
  model: find(`${kind}-model`).value,
  language: find(`${kind}-language`).value,
});

async function begin() {
  try {
    const known = await models();
    const speech = known.filter(({ task }) => task === "transcribe");
    const text = known.filter(({ task }) => task === "translate");
    menus("speech", speech);
    menus("text", text);
    for (const button of [find("record"), find("choose")]) button.disabled = !speech.length;
    find("translate").disabled = !text.length;
    if (!speech.length) failed("speech-error", new Error("No model that transcribes is loaded here."));
    if (!text.length) failed("text-error", new Error("No model that translates text is loaded here."));
    find("token-form").hidden = true;
    return speech.length > 0;
  } catch (error) {
    failed("speech-error", error);
    return true;
  }
}

const select = tabs();
speechTab({ choice: choice("speech"), failed });
textTab({ choice: choice("text"), failed });
find("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(find("token").value);
  find("speech-error").hidden = find("text-error").hidden = true;
  begin();
});
if (!(await begin())) select(find("tab-text"));
