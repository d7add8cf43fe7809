"use strict";
document.documentElement.classList.add("scripted");

// Sorting: headings become buttons; what was not measured stays last either way.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const numeric = heading.classList.contains("number");
      const value = (row) => row.cells[column].dataset.sort;
      const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b));
      const rows = [...body.rows];
      rows.sort((one, other) => {
        const a = value(one), b = value(other);
        if (a === "" || b === "") return (a === "") - (b === "");
        return descending ? -compare(a, b) : compare(a, b);
      });
      body.append(...rows);
    });
  });
}

// Pointing at a variant anywhere shows it everywhere.
const named = (element) => [...element.classList].find((name) => /^row-\d+$/.test(name));
const light = (name, on) => {
  for (const element of document.getElementsByClassName(name)) element.classList.toggle("lit", on);
};
for (const element of document.querySelectorAll("tr[class^='row-'], .mark")) {
  element.addEventListener("pointerenter", () => light(named(element), true));
  element.addEventListener("pointerleave", () => light(named(element), false));
}
