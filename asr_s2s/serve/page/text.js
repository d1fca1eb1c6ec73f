// The tab that turns text into text.

import { translate, unpack } from "./client.js";
import { shown } from "./picture.js";

const find = (id) => document.getElementById(id);

export function textTab({ choice, failed }) {
  find("text-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const lines = find("source").value.split("\n").map((line) => line.trim()).filter(Boolean);
    find("text-error").hidden = true;
    if (!lines.length) {
      find("source").focus();
      return;
    }
    find("translate").disabled = true;
    find("text-status").textContent = "Translating …";
    try {
      const rows = await translate(lines, choice());
      find("lines").replaceChildren(...rows.map((row) => line(row, rows.length > 1)));
      find("translations").hidden = false;
      find("text-status").textContent = "";
      align(rows.find((row) => row.alignment));
    } catch (error) {
      find("translations").hidden = find("alignment").hidden = true;
      failed("text-error", error);
    } finally {
      find("translate").disabled = false;
    }
  });
  find("source").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("text-form").requestSubmit();
  });
}

function line(row, several) {
  const item = document.createElement("li");
  const source = document.createElement("p");
  source.className = "quiet";
  source.textContent = row.source;
  const target = document.createElement("p");
  target.className = "target";
  target.textContent = row.text;
  item.append(source, target);
  if (row.warning) {
    const warning = document.createElement("p");
    warning.className = "warning";
    warning.textContent = row.warning;
    item.append(warning);
  }
  if (row.alignment && several) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show the alignment";
    button.addEventListener("click", () => align(row));
    item.append(button);
    row.button = button;
  }
  return item;
}

function cell(kind, text, scope) {
  const made = document.createElement(kind);
  made.textContent = text;
  if (scope) made.scope = scope;
  return made;
}

/** A table of how much each word of the output rests on each word of the source. */
function align(row) {
  find("alignment").hidden = !row;
  if (!row) return;
  for (const button of find("lines").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === row.button));
  }
  const { source, output, weights } = row.alignment;
  const { bytes, columns, low, high } = unpack(weights);
  const head = document.createElement("tr");
  head.append(cell("th", ""), ...source.map((token) => cell("th", shown(token), "col")));
  const rows = output.map((token, y) => {
    const made = document.createElement("tr");
    made.append(cell("th", shown(token), "row"));
    for (let x = 0; x < columns; x += 1) {
      const weight = low + ((high - low) * bytes[y * columns + x]) / 255;
      const place = document.createElement("td");
      place.style.setProperty("--weight", weight.toFixed(3));
      place.title = `${shown(token)} – ${shown(source[x])}: ${Math.round(100 * weight)} %`;
      const heading = head.children[x + 1];
      place.addEventListener("mouseenter", () => heading.classList.add("lit"));
      place.addEventListener("mouseleave", () => heading.classList.remove("lit"));
      const said = document.createElement("span");
      said.className = "said";
      said.textContent = `${Math.round(100 * weight)} %`;
      place.append(said);
      made.append(place);
    }
    return made;
  });
  const top = document.createElement("thead");
  top.append(head);
  const body = document.createElement("tbody");
  body.append(...rows);
  find("grid").replaceChildren(top, body);
}
