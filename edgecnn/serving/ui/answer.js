// One picture and its answer, large: labels as bars, where the time went, the same from a terminal.

import { mediaType, predictUrl } from "./api.js";
import { definitions, element } from "./dom.js";
import { milliseconds, percent } from "./format.js";

/** The content of the answer's panel; `again` asks once more. */
export function feature(entry, again) {
  return element("div", { class: "feature" },
    element("div", { class: "picture" }, picture(entry), element("p", { class: "caption" }, caption(entry)),
      entry.state === "done" ? element("p", { class: "note" }, `${entry.answer.model}, version ${entry.answer.version}`) : null),
    element("div", { class: "reply" }, ...reply(entry, again)));
}

/** A preview; of a format that the browser cannot show, its place. */
export function picture(entry) {
  const image = element("img", { src: entry.url, alt: entry.file.name });
  image.addEventListener("error", () => image.replaceWith(
    element("div", { class: "no-picture", role: "img", "aria-label": entry.file.name }, "no preview")));
  return image;
}

function caption(entry) {
  const size = entry.file.size < 1e6
    ? `${Math.max(1, Math.round(entry.file.size / 1e3))} kB`
    : `${(entry.file.size / 1e6).toFixed(1)} MB`;
  return `${entry.file.name} · ${size}`;
}

function reply(entry, again) {
  if (entry.state === "waiting") return [waiting()];
  if (entry.state === "failed") return [failure(entry, again), terminal(entry)];
  return [bars(entry.top), split(entry), terminal(entry)];
}

const waiting = () =>
  element("div", { class: "waiting" }, element("p", { class: "note" }, "Asking the server"),
    ...[0, 1, 2].map(() => element("span", { class: "track" })));

function failure(entry, again) {
  const button = element("button", { class: "button", type: "button" }, "Try again");
  button.addEventListener("click", again);
  return element("div", {}, element("p", { class: "problem" }, entry.error), button);
}

function bars(top) {
  return element("ol", { class: "bars", "aria-label": "Labels, most probable first" }, ...top.map((choice, rank) => {
    const fill = element("span", { class: "fill" });
    fill.style.width = `${100 * choice.probability}%`;
    return element("li", {},
      element(rank ? "span" : "h2", { class: "label" }, choice.label),
      element("span", { class: "value" }, percent(choice.probability)),
      element("span", { class: "track" }, fill));
  }));
}

/** Where the time went, in order; what the server does not name of its own time is the rest. */
export function shares({ answer, elapsed }) {
  const { decode, queue, compute, total } = answer.timings_ms;
  return [
    ["upload", "Upload and network", Math.max(0, elapsed - total)],
    ["decode", "Decode", decode],
    ["queue", "Queue", queue],
    ["compute", "Compute", compute],
    ["rest", "Rest of the server", Math.max(0, total - decode - queue - compute)],
  ];
}

function split(entry) {
  const parts = shares(entry);
  const bar = element("div", { class: "split", "aria-hidden": "true" }, ...parts.map(([kind, title, ms]) => {
    const part = element("span", { class: kind, title: `${title}: ${milliseconds(ms)}` });
    part.style.flexGrow = ms;
    return part;
  }));
  return element("div", {},
    element("p", { class: "split-title" }, "Time to the answer",
      element("strong", {}, milliseconds(Math.max(entry.elapsed, entry.answer.timings_ms.total)))),
    bar,
    element("dl", { class: "legend" }, ...definitions(parts.map(([kind, title, ms]) => [title, milliseconds(ms), kind]))));
}

function terminal(entry) {
  const url = new URL(predictUrl(entry.model, entry.labels), document.baseURI);
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  return element("details", {}, element("summary", {}, "The same with curl"), element("pre", {},
    `curl -H ${quoted(`content-type: ${mediaType(entry.file)}`)} --data-binary ${quoted(`@${entry.file.name}`)} ${quoted(url.href)}`));
}
