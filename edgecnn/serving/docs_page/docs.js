// openapi.json as a page: operations by group, what they take and give, and how to try them.

import { byId, element, say } from "./dom.js";
import { outline } from "./schema.js";

const canCopy = Boolean(navigator.clipboard);

start();

async function start() {
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    show(await response.json());
  } catch (error) {
    say(byId("docs-problem"), `openapi.json could not be read: ${error.message}`);
  }
}

function show(api) {
  say(byId("version"), api.info.version);
  const keys = "Where API keys are configured, add -H 'Authorization: Bearer KEY' to what is not public.";
  say(byId("about"), `${api.info.summary} ${api.info.description} ${keys}`);
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));
  for (const tag of api.tags) {
    const own = operations.filter((each) => each.tags.includes(tag.name));
    byId("contents").append(element("h2", {}, tag.name),
      ...own.map((each) => element("a", { href: `#${each.operationId}` }, each.path)));
    byId("operations").append(element("section", { class: "group" },
      element("h2", {}, tag.name), element("p", {}, tag.description), ...own.map((each) => operation(each, api))));
  }
  window.addEventListener("hashchange", openNamed);
  openNamed();
}

function openNamed() {
  const named = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
    named.firstElementChild.focus({ preventScroll: true });
  }
}

function operation(of, api) {
  const made = element("details", { class: "operation panel", id: of.operationId },
    element("summary", {},
      element("span", { class: `method ${of.method}` }, of.method),
      element("span", { class: "path" }, of.path),
      element("span", { class: "note" }, of.summary)));
  made.addEventListener("toggle", () => made.append(body(of, api)), { once: true });
  return made;
}

function body(of, api) {
  const resolve = (reference) => reference.slice(2).split("/").reduce((at, name) => at[name], api);
  const values = new Map(); // name of a parameter -> its field
  const commands = element("div", {});
  const draw = () => commands.replaceChildren(element("h3", {}, "Try it"), ...commandsOf(of, values).map(command));
  const parts = [
    of.description ? element("p", {}, of.description) : null,
    of.parameters ? parameters(of.parameters, values, draw) : null,
    commands,
    of.requestBody ? contents("Takes", of.requestBody, resolve) : null,
    contents("Gives", of.responses["200"], resolve),
    answers(of.responses, resolve),
  ];
  draw();
  return element("div", { class: "body" }, ...parts.filter(Boolean));
}

function parameters(list, values, changed) {
  const rows = list.map((parameter) => {
    const { name, schema, description = "" } = parameter;
    const field = element("input", { "aria-label": name, placeholder: schema.default ?? "", spellcheck: "false" });
    if (parameter.required) field.value = schema.examples?.[0] ?? "";
    field.addEventListener("input", changed);
    values.set(parameter, field);
    return element("tr", {},
      element("td", {}, element("code", {}, name), element("span", { class: "note" }, ` in ${parameter.in}`)),
      element("td", {}, field, element("p", { class: "note" }, description)));
  });
  return table("Parameters", ["Name", "Value"], rows);
}

const table = (title, heads, rows) =>
  element("div", {}, element("h3", {}, title), element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows))));

/** One command line for each kind of body; a body that may be absent is left out. */
function commandsOf(of, values) {
  const headers = [];
  const query = new URLSearchParams();
  let path = of.path;
  for (const [parameter, { value }] of values) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value || parameter.name.toUpperCase()));
    else if (value && parameter.in === "query") query.set(parameter.name, value);
    else if (value) headers.push("-H", quoted(`${parameter.name}: ${value}`));
  }
  const url = new URL(path.slice(1) || "./", new URL(".", document.baseURI));
  url.search = query;
  const words = ["curl", ...(of.method === "get" ? [] : ["-X", of.method.toUpperCase()]), ...headers];
  const kinds = of.requestBody?.required ? Object.keys(of.requestBody.content) : [null];
  return kinds.map((kind) => [...words, ...payload(kind), quoted(url.href)].join(" "));
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function payload(kind) {
  if (kind === null) return [];
  if (kind === "multipart/form-data") return ["-F", "image=@cat.jpg", "-F", "image=@dog.jpg"];
  const [type, file] = {
    "image/*": ["image/jpeg", "cat.jpg"],
    "application/json": [kind, "request.json"],
  }[kind] ?? [kind, "request.bin"];
  return ["-H", quoted(`Content-Type: ${type}`), "--data-binary", `@${file}`];
}

function command(text) {
  const row = element("div", { class: "command" }, element("pre", {}, text));
  if (canCopy) {
    const button = element("button", { class: "button small", type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      byId("announce").textContent = "Copied.";
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    row.append(button);
  }
  return row;
}

/** The media types of a body, those that have a shape with it. */
function contents(title, { content = {} }, resolve) {
  const kinds = Object.entries(content);
  if (!kinds.length) return null;
  return element("div", {}, ...kinds.flatMap(([kind, { schema }]) => [
    element("h3", {}, `${title} ${kind}`),
    Object.keys(schema).length && schema.type !== "string"
      ? element("pre", { class: "schema", tabindex: "0" }, outline(schema, resolve)) : null,
  ]).filter(Boolean));
}

function answers(responses, resolve) {
  const rows = Object.entries(responses).map(([status, response]) => element("tr", {},
    element("td", { class: "status" }, status),
    element("td", {}, (response.$ref ? resolve(response.$ref) : response).description)));
  return table("Answers", ["Status", "When"], rows);
}
