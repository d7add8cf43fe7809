// The page's elements. Text of others only ever becomes a text node: no markup is parsed anywhere.

export const byId = (id) => document.getElementById(id);

/** An element with attributes; children are nodes or text, null ones are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Pairs of a definition list, each in a div: [[term, value, class], ...]. */
export const definitions = (pairs) =>
  pairs.map(([term, value, kind = ""]) =>
    element("div", {}, element("dt", { class: kind }, term), element("dd", {}, value)));

/** Show `text` in `place`, or hide the place when there is none. */
export function say(place, text) {
  place.textContent = text ?? "";
  place.hidden = !text;
}
