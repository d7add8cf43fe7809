// What the server does just now: asked every second while somebody looks.

import { Refusal, status } from "./api.js";
import { byId } from "./dom.js";
import { rate } from "./format.js";

const EVERY_MS = 1000;
const AFTER_FAILURE_MS = 3000;
const KEPT = 60; // a minute

const series = { rate: [], queue: [] };
let timer = null;
let asking = false;

/** Calls `seen(models)` with each answer and `refused(error)` when there is none; returns what asks at once. */
export function watch(seen, refused) {
  const tick = async () => {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    let pause = EVERY_MS;
    try {
      const answer = await status();
      show(answer);
      seen(answer.models);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      pause = AFTER_FAILURE_MS;
      light("down", error.status === 401 ? "API key needed" : error.status ? "Refused" : "No answer");
      refused(error);
    } finally {
      asking = false;
      timer = setTimeout(tick, pause);
    }
  };
  document.addEventListener("visibilitychange", tick);
  tick();
  return tick;
}

function show(answer) {
  const ready = answer.models.filter((model) => model.state === "READY").length;
  light(ready ? "ready" : "busy", ready ? `${ready} model${ready > 1 ? "s" : ""} ready` : "No model is ready");
  byId("rate").textContent = rate(answer.requests_per_s);
  byId("queue").textContent = answer.queue.toLocaleString("en");
  byId("in-flight").textContent = answer.in_flight.toLocaleString("en");
  draw(byId("rate-spark"), keep(series.rate, answer.requests_per_s));
  draw(byId("queue-spark"), keep(series.queue, answer.queue));
}

function light(state, text) {
  const shown = byId("light-text");
  byId("light").dataset.state = state;
  if (shown.textContent !== text) shown.textContent = text;
}

function keep(values, value) {
  values.push(value);
  if (values.length > KEPT) values.shift();
  return values;
}

/** A line that grows from the right, over zero, as high as its largest value. */
function draw(svg, values) {
  const most = Math.max(...values, 1);
  const left = KEPT - values.length;
  const points = values.map((value, index) => `${left + index},${(30 - (28 * value) / most).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 30`);
  if (!svg.firstChild) svg.append(path("area"), path("line"));
  svg.firstChild.setAttribute("d", line && `${line}V30H${left}Z`);
  svg.lastChild.setAttribute("d", line);
  const title = svg.getAttribute("aria-label").split(":")[0];
  svg.setAttribute("aria-label", `${title}: now ${rate(values.at(-1))}, at most ${rate(Math.max(...values))}`);
}

function path(name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
  made.setAttribute("class", name);
  return made;
}
