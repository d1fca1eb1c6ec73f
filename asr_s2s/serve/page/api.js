// Forms to try the operations of the API, made from its OpenAPI description.

import { keepToken, keptToken } from "./client.js";

const FORM = "multipart/form-data";
const JSON_BODY = "application/json";

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

/** Follow a reference within the description. */
function resolve(schema, all) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((found, key) => found[key], all);
}

/** The part of a schema that says which values a person can enter. */
function simple(schema) {
  const options = (schema.anyOf ?? [schema]).filter(({ type }) => type !== "null");
  return options.find(({ type }) => type === "string") ?? options[0];
}

/** Input for one field; `read` returns its values, and none if it is empty. */
function input(name, schema, required) {
  const { type, enum: values, format, items } = simple(schema);
  const choices = values ?? items?.enum;
  let control;
  let read = () => (control.value === "" ? [] : [control.value]);
  if (format === "binary") {
    control = element("input", { type: "file" });
    read = () => [...control.files];
  } else if (type === "boolean") {
    control = element("input", { type: "checkbox" });
    read = () => (control.checked ? [true] : []);
  } else if (choices) {
    control = element("select", { multiple: type === "array" });
    if (!control.multiple) control.append(new Option("", ""));
    control.append(...choices.map((choice) => new Option(choice)));
    if (control.multiple) read = () => [...control.selectedOptions].map(({ value }) => value);
  } else if (type === "integer" || type === "number") {
    control = element("input", { type: "number", step: type === "integer" ? "1" : "any" });
    read = () => (control.value === "" ? [] : [Number(control.value)]);
  } else {
    control = element("input", { type: "text", autocomplete: "off" });
  }
  control.required = required;
  control.name = name;
  const label = element("label", {}, element("code", { textContent: name }), " ", control);
  const about = element("p", { className: "quiet", textContent: schema.description ?? "" });
  return { name, list: type === "array", read, row: element("div", { className: "field" }, label, about) };
}

function bodyOf(kind, fields) {
  if (kind === FORM) {
    const body = new FormData();
    for (const { name, list, read } of fields) {
      for (const value of read()) body.append(list ? `${name}[]` : name, value);
    }
    return { body, headers: {} };
  }
  const values = {};
  for (const { name, list, read } of fields) {
    const found = read();
    if (found.length) values[name] = list ? found : found[0];
  }
  return { body: JSON.stringify(values), headers: { "Content-Type": JSON_BODY } };
}

async function show(answer, output) {
  const headers = ["content-type", "x-model", "x-warning", "x-request-id", "retry-after"]
    .filter((name) => answer.headers.has(name))
    .map((name) => `${name}: ${answer.headers.get(name)}`);
  let text = await answer.text();
  if (answer.headers.get("content-type")?.startsWith(JSON_BODY)) {
    text = JSON.stringify(JSON.parse(text), null, 2);
  }
  output.textContent = `${answer.status} ${answer.statusText}\n${headers.join("\n")}\n\n${text}`;
}

function operation(path, method, about, all) {
  const [kind, content] = Object.entries(about.requestBody?.content ?? {})[0] ?? [];
  const schema = resolve(content?.schema, all);
  const required = schema.required ?? [];
  const places = (about.parameters ?? []).map(({ name, schema: own }) => input(name, own, true));
  const fields = Object.entries(schema.properties ?? {})
    .map(([name, own]) => input(name, resolve(own, all), required.includes(name)));
  const send = element("button", { className: "primary", textContent: "Send" });
  const output = element("pre", { hidden: true, tabIndex: 0 });
  output.setAttribute("role", "status");
  const form = element("form", {}, ...[...places, ...fields].map(({ row }) => row), send, output);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    keepToken(document.getElementById("token").value);
    const token = keptToken();
    const { body, headers } = kind ? bodyOf(kind, fields) : { headers: {} };
    if (token) headers.Authorization = `Bearer ${token}`;
    const address = places.reduce(
      (made, { name, read }) => made.replace(`{${name}}`, encodeURIComponent(read()[0])), path,
    );
    send.disabled = true;
    output.hidden = false;
    output.textContent = "Waiting …";
    try {
      await show(await fetch(address, { method: method.toUpperCase(), body, headers }), output);
    } catch (error) {
      output.textContent = `No response: ${error.message}`;
    } finally {
      send.disabled = false;
    }
  });
  const title = element("summary", {}, element("code", { textContent: `${method.toUpperCase()} ${path}` }));
  const text = element("p", { textContent: about.description ?? about.summary ?? "" });
  return element("details", { className: "operation" }, title, text, form);
}

async function begin() {
  document.getElementById("token").value = keptToken() ?? "";
  document.getElementById("token-form").addEventListener("submit", (event) => event.preventDefault());
  const all = await (await fetch("/openapi.json")).json();
  const rows = Object.entries(all.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => operation(path, method, about, all)));
  document.getElementById("operations").replaceChildren(...rows);
}

await begin();
