// A picture from the camera, in a dialog; the camera is off whenever the dialog is closed.

import { byId, say } from "./dom.js";

const dialog = byId("camera-dialog");
const video = byId("video");
const shoot = byId("shoot");
let stream = null;
let taken = 0;

/** Shows the button where there may be a camera (browsers have none for pages of plain http from elsewhere). */
export function offerCamera(take) {
  if (!navigator.mediaDevices?.getUserMedia) return;
  const button = byId("camera");
  button.hidden = false;
  button.addEventListener("click", open);
  dialog.addEventListener("close", stop);
  video.addEventListener("loadeddata", () => { shoot.disabled = false; });
  shoot.addEventListener("click", async () => {
    const file = await picture();
    dialog.close();
    take([file]);
  });
}

async function open() {
  say(byId("camera-problem"), null);
  shoot.disabled = true;
  dialog.showModal();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: { ideal: "environment" } } });
    video.srcObject = stream;
    if (!dialog.open) stop(); // closed while the browser asked for permission
  } catch (error) {
    say(byId("camera-problem"), error.name === "NotAllowedError"
      ? "The browser does not allow it. Allow the camera for this page and try again."
      : `No camera can be opened: ${error.message || error.name}.`);
  }
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  video.srcObject = null;
}

async function picture() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.92); });
  taken += 1;
  return new File([blob], `camera-${taken}.jpg`, { type: "image/jpeg" });
}
