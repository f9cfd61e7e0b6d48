/** The page: puts a picture or the camera on the stage, asks the service, shows the answers. */

import * as camera from "./camera.js";
import { asShown, bytesOf, newestFrame } from "./frames.js";
import { draw, place } from "./overlay.js";
import * as results from "./results.js";
import { pause, pauseMs, predict } from "./service.js";

const STALE_AFTER_MS = 3000;

const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const video = byId("video");
const picture = byId("picture");
const overlay = byId("overlay");
const deviceChoice = byId("device");

// What is on the stage: aborting it ends its requests and, of the camera, its tracks.
let session = new AbortController();
/** @type {object | null} the answer that is drawn */
let shown = null;
let staleTimer = 0;

/** @param {string} words @param {boolean} isProblem */
function say(words, isProblem = false) {
  const message = byId("message");
  if (message.textContent !== words) message.textContent = words;
  message.classList.toggle("problem", isProblem);
}

/**
 * End what is on the stage and put something else there.
 * @param {"nothing" | "picture" | "camera"} showing
 */
function begin(showing) {
  session.abort();
  session = new AbortController();
  forget();
  results.clearSpeed();
  say("");
  stage.dataset.showing = showing;
  stage.dataset.answers = 0;
  video.hidden = showing !== "camera";
  picture.hidden = showing !== "picture";
  byId("invitation").hidden = showing !== "nothing";
  byId("camera").textContent = showing === "camera" ? "Stop camera" : "Start camera";
  if (showing !== "camera") {
    // Between two cameras they stay, and with them the keyboard's focus.
    byId("flip").hidden = true;
    deviceChoice.hidden = true;
  }
  video.srcObject = null;
  picture.removeAttribute("src");
  if (showing === "nothing") stage.style.removeProperty("--ratio");
  return session.signal;
}

function shape(width, height) {
  if (width && height) stage.style.setProperty("--ratio", `${width} / ${height}`);
}

function redraw() {
  const mirrored = video.classList.contains("mirrored") && !video.hidden;
  const placed = shown ? place(shown, mirrored, overlay.clientWidth, overlay.clientHeight) : [];
  draw(overlay, placed);
  return placed;
}

function present(answer) {
  shown = answer;
  results.show(answer, redraw());
  stage.dataset.answers = Number(stage.dataset.answers) + 1;
}

/** Take the boxes away: they are of something that is not there any more. */
function forget() {
  clearTimeout(staleTimer);
  shown = null;
  redraw();
  results.clear();
}

/**
 * Ask until there is an answer, more and more seldom.
 * @param {() => Promise<Blob>} next makes the newest bytes, so that no try sends old ones
 * @param {(error: Error) => boolean} worthwhile
 * @param {AbortSignal} signal
 */
async function ask(next, worthwhile, signal) {
  for (let failures = 1; ; failures += 1) {
    const body = await next();
    signal.throwIfAborted();
    const begun = performance.now();
    try {
      const answer = await predict(body, signal);
      signal.throwIfAborted();
      say("");
      return { answer, roundTrip: performance.now() - begun };
    } catch (error) {
      if (signal.aborted || !worthwhile(error)) throw error;
      say(`${error.message} Trying again…`, true);
      await pause(pauseMs(failures, error.retryAfterMs), signal);
      signal.throwIfAborted();
    }
  }
}

async function checkPicture(file) {
  const signal = begin("picture");
  const url = URL.createObjectURL(file);
  picture.src = url;
  try {
    await picture.decode();
    if (!picture.naturalWidth) throw new Error("It has no pixels.");
  } catch {
    if (signal.aborted) return;
    begin("nothing");
    say(`“${file.name}” is not a picture that this browser can read.`, true);
    return;
  } finally {
    URL.revokeObjectURL(url);
  }
  if (signal.aborted) return;
  shape(picture.naturalWidth, picture.naturalHeight);
  say("Looking…");
  const { naturalWidth: width, naturalHeight: height } = picture;
  const passing = (error) => error.passing;
  try {
    let { answer, roundTrip } = await ask(() => bytesOf(file, picture), passing, signal);
    const sameWayUp = answer.image.width > answer.image.height === width > height;
    if (!sameWayUp) {
      // A note of orientation that only one of browser and service reads; what is seen counts.
      ({ answer, roundTrip } = await ask(() => asShown(picture), passing, signal));
    }
    present(answer);
    results.showRoundTrip(roundTrip);
  } catch (error) {
    if (!signal.aborted) say(error.message, true);
  }
}

/** @param {Parameters<typeof camera.open>[0]} wish */
async function startCamera(wish) {
  const obstacle = camera.obstacle();
  if (obstacle) {
    say(obstacle, true);
    return;
  }
  const signal = begin("camera");
  say("Waiting for the camera…");
  let stream;
  try {
    stream = await camera.open(wish);
  } catch (error) {
    if (!signal.aborted) stopCamera(camera.reason(error));
    return;
  }
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  signal.addEventListener("abort", stop);
  if (signal.aborted) {
    stop();
    return;
  }
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => {
    if (!signal.aborted) stopCamera("The camera was disconnected.");
  });
  video.classList.toggle("mirrored", camera.facingOf(track) === "user");
  video.srcObject = stream;
  try {
    await video.play();
    const cameras = await camera.list();
    if (signal.aborted) return;
    offerCameras(cameras, track);
    say("");
    await watch(signal);
  } catch (error) {
    if (!signal.aborted) stopCamera(camera.reason(error));
  }
}

/** One frame in flight, and always the newest: the next one is taken when the answer is there. */
async function watch(signal) {
  const always = () => true;
  while (!signal.aborted) {
    const { answer, roundTrip } = await ask(() => newestFrame(video), always, signal);
    present(answer);
    results.countFrame(roundTrip);
    clearTimeout(staleTimer);
    staleTimer = setTimeout(forget, Math.max(STALE_AFTER_MS, 2 * roundTrip));
  }
}

function stopCamera(problem = "") {
  begin("nothing");
  say(problem, Boolean(problem));
}

/** Offer the other cameras, now that the browser tells their names. */
function offerCameras(cameras, track) {
  const { deviceId, facingMode } = track.getSettings();
  deviceChoice.replaceChildren(
    ...cameras.map(({ label, deviceId: id }, i) => new Option(label || `Camera ${i + 1}`, id)),
  );
  deviceChoice.value = deviceId;
  deviceChoice.hidden = cameras.length < 2;
  // Only phones say which way a camera looks.
  byId("flip").hidden = cameras.length < 2 || !facingMode;
  byId("flip").dataset.facing = camera.facingOf(track) === "user" ? "environment" : "user";
}

byId("camera").addEventListener("click", () => {
  if (stage.dataset.showing === "camera") stopCamera();
  else startCamera({});
});
byId("flip").addEventListener("click", (event) => {
  startCamera({ facing: event.target.dataset.facing });
});
deviceChoice.addEventListener("change", () => startCamera({ deviceId: deviceChoice.value }));

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) checkPicture(file);
  event.target.value = ""; // so that the same picture can be chosen again
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) checkPicture(file);
});
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
  const [file] = event.dataTransfer.files;
  if (file) checkPicture(file);
});

// Nobody is filmed by a page that nobody sees.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && stage.dataset.showing === "camera") {
    stopCamera();
    say("The camera was stopped while the page was out of sight.");
  }
});
window.addEventListener("pagehide", () => {
  if (stage.dataset.showing === "camera") stopCamera();
});

video.addEventListener("resize", () => shape(video.videoWidth, video.videoHeight));
new ResizeObserver(redraw).observe(overlay);
