// The page: pictures go in, answers come out, the newest first.

import { feature, picture } from "./answer.js";
import { apiKey, predict, Refusal, setApiKey } from "./api.js";
import { offerCamera } from "./camera.js";
import { byId, definitions, element, say } from "./dom.js";
import { milliseconds, percent } from "./format.js";
import { listen } from "./intake.js";
import { watch } from "./live.js";

const KEPT = 48; // pictures; older ones leave
const AT_ONCE = 4; // requests: the server may batch them, and the browser keeps room to ask for its status

const model = byId("model");
const labels = byId("labels");
const entries = []; // newest first
const waiting = [];
let shown = null;
let running = 0;
let known = new Map(); // name -> model

function take(files) {
  const added = files.map((file) => ({ file, url: URL.createObjectURL(file), button: element("button", { type: "button" }) }));
  for (const entry of added) {
    entry.button.addEventListener("click", () => show(entry));
    entry.row = element("li", {}, entry.button);
    entries.unshift(entry);
    byId("recent").prepend(entry.row);
  }
  byId("recent-section").hidden = false;
  added.forEach(request);
  show(added[0]);
  entries.splice(KEPT).forEach(forget);
}

/** Ask (again) for the entry, with the model and the number of labels chosen now. */
function request(entry) {
  Object.assign(entry, { state: "waiting", model: model.value, labels: wantedLabels() });
  render(entry);
  if (!waiting.includes(entry)) waiting.push(entry);
  pump();
}

function pump() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    run(waiting.shift()).finally(() => {
      running -= 1;
      pump();
    });
  }
}

async function run(entry) {
  const asked = { model: entry.model, labels: entry.labels };
  const result = await outcome(entry);
  const anew = asked.model !== entry.model || asked.labels !== entry.labels;
  if (anew || !entries.includes(entry)) return;
  Object.assign(entry, result);
  render(entry);
  byId("announce").textContent = entry.state === "done"
    ? `${entry.file.name}: ${entry.top[0].label}, ${percent(entry.top[0].probability)}`
    : `${entry.file.name}: ${entry.error}`;
}

async function outcome(entry) {
  try {
    const { answer, elapsed } = await predict(entry.file, entry.model, entry.labels);
    const [{ top, error }] = answer.predictions;
    return error ? { state: "failed", error } : { state: "done", answer, elapsed, top };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) askForKey();
    return { state: "failed", error: error.message };
  }
}

function show(entry) {
  shown = entry;
  for (const each of entries) each.button.removeAttribute("aria-current");
  entry.button.setAttribute("aria-current", "true");
  render(entry);
}

function render(entry) {
  const [name, ...more] = {
    waiting: () => ["…", entry.file.name],
    failed: () => ["No answer", entry.error],
    done: () => [
      entry.top[0].label,
      `${percent(entry.top[0].probability)} · ${milliseconds(entry.elapsed)}`,
      entry.answer.model,
    ],
  }[entry.state]();
  entry.button.className = entry.state;
  entry.button.replaceChildren(picture(entry), element("span", {},
    element("span", { class: "name" }, name), ...more.map((text) => element("span", { class: "more" }, text))));
  if (entry === shown) byId("answer").replaceChildren(feature(entry, () => request(entry)));
}

function forget(entry) {
  URL.revokeObjectURL(entry.url);
  entry.row.remove();
}

function wantedLabels() {
  const wanted = Math.round(Number(labels.value));
  return Math.min(Math.max(wanted || 5, 1), Number(labels.max));
}

/** The server's models, as choices; what was chosen stays chosen while it is there. */
function offerModels(models) {
  const best = new Map(); // of several versions, one that answers
  for (const each of models) if (best.get(each.name)?.state !== "READY" || each.state === "READY") best.set(each.name, each);
  const text = (each) => (each.state === "READY" ? each.name : `${each.name} (${each.state.toLowerCase()})`);
  const before = [...known.values()].map(text).join("\n");
  known = best;
  if ([...known.values()].map(text).join("\n") === before) return;
  const chosen = model.value;
  model.replaceChildren(...[...known.values()].map((each) => element("option", { value: each.name }, text(each))));
  if (known.has(chosen)) model.value = chosen;
  model.disabled = known.size === 0;
  describe();
}

/** What the server says of the chosen model; of one that is not loaded it knows little. */
function describe() {
  const chosen = known.get(model.value);
  byId("model-facts").replaceChildren(...(chosen ? definitions([
    ["Network", chosen.network],
    ["Input", chosen.input?.join(" × ")],
    ["Classes", chosen.classes?.toLocaleString("en")],
    ["Engine", chosen.engine],
    ["Precision", chosen.precision],
    ["Version", chosen.version],
  ].filter(([, value]) => value)) : []));
  labels.max = Math.min(chosen?.classes ?? 100, 100);
  labels.value = wantedLabels();
}

function askForKey() {
  if (!byId("key-form").hidden) return;
  byId("key-form").hidden = false;
  say(byId("key-problem"), apiKey() ? "The server does not take this key." : null);
}

function clear() {
  entries.splice(0).forEach(forget);
  waiting.length = 0;
  shown = null;
  byId("recent-section").hidden = true;
  byId("answer").replaceChildren(empty);
  byId("files").focus();
}

const empty = byId("answer").firstElementChild;
listen(take, (sentence) => say(byId("ask-problem"), sentence));
offerCamera(take);
byId("clear").addEventListener("click", clear);
byId("fields").addEventListener("submit", (event) => event.preventDefault());
byId("fields").addEventListener("change", () => {
  describe();
  if (shown) request(shown);
});
const look = watch(offerModels, (error) => { if (error.status === 401) askForKey(); });
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setApiKey(byId("key").value);
  byId("key").value = "";
  byId("key-form").hidden = true;
  look();
  entries.filter((entry) => entry.state === "failed").forEach(request);
});
