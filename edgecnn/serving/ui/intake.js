// Pictures come in: chosen, dropped anywhere, or pasted.

import { byId } from "./dom.js";

/** Calls `take(files)` with every picture that arrives, and `refuse(sentence)` for what is none. */
export function listen(take, refuse) {
  const accept = (files, nothing) => {
    const pictures = files.filter((file) => file.type === "" || file.type.startsWith("image/"));
    const others = files.filter((file) => !pictures.includes(file));
    refuse(files.length ? others.map((file) => `${file.name} is no image (${file.type}).`).join(" ") : nothing);
    if (pictures.length) take(pictures);
  };
  const chooser = byId("files");
  chooser.addEventListener("change", () => {
    accept([...chooser.files]);
    chooser.value = ""; // the same file may be chosen again
  });
  listenToDrops((files) => accept(files, "Nothing to classify was dropped: drop image files, not text or links."));
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      accept(files);
    } else if (!event.target.closest?.("input, textarea")) {
      refuse("There is no image on the clipboard.");
    }
  });
}

function listenToDrops(take) {
  const veil = byId("veil");
  const leave = () => { veil.hidden = true; };
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) leave(); // it left the window
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    leave();
    take([...event.dataTransfer.files]);
  });
}
