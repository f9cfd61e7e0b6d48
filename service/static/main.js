/** The page: connects its buttons, switches and files to their actions. */

import * as alert from "./alert.js";
import * as camera from "./camera.js";
import * as compliance from "./compliance.js";
import { playFilm } from "./film.js";
import { watch } from "./live.js";
import { checkPicture } from "./picture.js";
import { bind } from "./settings.js";
import { begin, blur, end, say, showing, snapshot, video } from "./stage.js";

const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const deviceChoice = byId("device");

/** @param {Parameters<typeof camera.open>[0]} wish */
async function startCamera(wish) {
  const obstacle = camera.obstacle();
  if (obstacle) {
    say(obstacle, true);
    return;
  }
  if (alert.wanted.sound) alert.unlock();
  const signal = begin("camera");
  say("Waiting for the camera…");
  try {
    const stream = await camera.open(wish);
    const stop = () => stream.getTracks().forEach((track) => track.stop());
    signal.addEventListener("abort", stop);
    if (signal.aborted) {
      stop();
      return;
    }
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => {
      if (!signal.aborted) end("The camera was disconnected.");
    });
    video.classList.toggle("mirrored", camera.facingOf(track) === "user");
    video.srcObject = stream;
    await video.play();
    await offerCameras(track);
    if (signal.aborted) return;
    const offer = () => offerCameras(track);
    navigator.mediaDevices.addEventListener("devicechange", offer, { signal });
    keepScreenOn(signal);
    say("");
    compliance.begin("camera");
    await watch(signal);
  } catch (error) {
    if (!signal.aborted) end(camera.reason(error));
  }
}

/** Keep the screen on; a screen at a door is never touched. */
async function keepScreenOn(signal) {
  try {
    const lock = await navigator.wakeLock.request("screen");
    if (signal.aborted) lock.release();
    else signal.addEventListener("abort", () => lock.release());
  } catch {
    // The browser does not support it, or is saving power.
  }
}

/** Offer the other cameras; browsers reveal their names once a camera is on. */
async function offerCameras(track) {
  const cameras = await camera.list();
  if (showing() !== "camera") return;
  const { deviceId, facingMode } = track.getSettings();
  deviceChoice.replaceChildren(
    ...cameras.map(({ label, deviceId: id }, i) => new Option(label || `Camera ${i + 1}`, id)),
  );
  deviceChoice.value = deviceId;
  deviceChoice.hidden = cameras.length < 2;
  // Only phones report which way a camera faces.
  byId("flip").hidden = cameras.length < 2 || !facingMode;
  byId("flip").dataset.facing = camera.facingOf(track) === "user" ? "environment" : "user";
}

/** @param {FileList} files */
function openFirst([file]) {
  if (!file) return;
  if (file.type.startsWith("video/")) playFilm(file);
  else checkPicture(file);
}

async function saveSnapshot() {
  const url = URL.createObjectURL(await snapshot());
  const link = document.createElement("a");
  link.href = url;
  const now = new Date().toLocaleString("sv"); // "2026-01-31 23:59:59", local time
  link.download = `mask-check-${now.replaceAll(/[ :]/g, "-")}.jpg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // some browsers read it later
}

byId("camera").addEventListener("click", () => {
  if (showing() === "camera") end();
  else startCamera({});
});
byId("flip").addEventListener("click", (event) => {
  startCamera({ facing: event.target.dataset.facing });
});
deviceChoice.addEventListener("change", () => startCamera({ deviceId: deviceChoice.value }));
byId("close").addEventListener("click", () => {
  end();
  byId("choose").focus(); // the focused button was hidden
});
byId("save").addEventListener("click", saveSnapshot);

bind("blur", blur);
bind("warn", (on) => {
  alert.wanted.screen = on;
  if (!on) alert.clear();
});
bind("sound", (on, byHand) => {
  alert.wanted.sound = on;
  if (on && byHand) alert.sound(); // as a preview
});

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => {
  openFirst(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
document.addEventListener("paste", (event) => openFirst(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) stage.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("dropping");
  openFirst(event.dataTransfer.files);
});

// A hidden page does not film.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return;
  if (showing() === "camera") {
    end();
    say("The camera was stopped while the page was hidden.");
  }
  if (showing() === "film") video.pause();
});
window.addEventListener("pagehide", () => {
  if (showing() === "camera") end();
});
