// The text-to-text tab.

import { translate, unpack } from "./client.js";
import { displayToken } from "./picture.js";
import { copyButton } from "./transcript.js";

const find = (id) => document.getElementById(id);

export function textTab({ choice, showError }) {
  let shown = []; // translated lines
  copyButton(find("copy-translation"), () => shown.map(({ text }) => text).join("\n"));
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
      shown = rows;
      find("lines").replaceChildren(...rows.map((row) => line(row, rows.length > 1)));
      find("translations").hidden = false;
      showAlignment(rows.find((row) => row.alignment));
    } catch (error) {
      showError("text-error", error);
    } finally {
      find("text-status").textContent = "";
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
    button.textContent = "Show alignment";
    button.addEventListener("click", () => showAlignment(row));
    item.append(button);
    row.button = button;
  }
  return item;
}

function cell(kind, text, scope) {
  const element = document.createElement(kind);
  element.textContent = text;
  if (scope) element.scope = scope;
  return element;
}

/** Show the attention weights as a table: rows are output tokens, columns source tokens. */
function showAlignment(row) {
  find("alignment").hidden = !row;
  if (!row) return;
  for (const button of find("lines").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button === row.button));
  }
  const { source, output, weights } = row.alignment;
  const { bytes, columns, low, high } = unpack(weights);
  const head = document.createElement("tr");
  head.append(cell("th", ""), ...source.map((token) => cell("th", displayToken(token), "col")));
  const rows = output.map((token, y) => {
    const element = document.createElement("tr");
    element.append(cell("th", displayToken(token), "row"));
    for (let x = 0; x < columns; x += 1) {
      const weight = low + ((high - low) * bytes[y * columns + x]) / 255;
      const data = document.createElement("td");
      data.style.setProperty("--weight", weight.toFixed(3));
      data.title = `${displayToken(token)} – ${displayToken(source[x])}: ${Math.round(100 * weight)} %`;
      const heading = head.children[x + 1];
      data.addEventListener("mouseenter", () => heading.classList.add("lit"));
      data.addEventListener("mouseleave", () => heading.classList.remove("lit"));
      const label = document.createElement("span");
      label.className = "visually-hidden";
      label.textContent = `${Math.round(100 * weight)} %`;
      data.append(label);
      element.append(data);
    }
    return element;
  });
  const top = document.createElement("thead");
  top.append(head);
  const body = document.createElement("tbody");
  body.append(...rows);
  find("grid").replaceChildren(top, body);
}
