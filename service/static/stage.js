/** The stage: shows a picture, the camera or a video, and the answer over it. */

import { annotate, paint, place } from "./annotate.js";
import * as results from "./results.js";

// A face that is lost for this long stays blurred where it was.
const BLUR_LASTS_MS = 700;

const byId = (id) => document.getElementById(id);
const stage = byId("stage");
const overlay = byId("overlay");

export const video = byId("video");
export const picture = byId("picture");

// Aborting it ends the requests for what is shown, and stops the camera.
let session = new AbortController();
/**
 * The answer that is drawn, its frame, and the boxes to blur in it.
 * @type {{answer: object, frame: ImageBitmap | HTMLImageElement, covered: Covered[]} | null}
 * @typedef {{at: number, box: {x: number, y: number, width: number, height: number}}} Covered
 */
let shown = null;
let blurred = false;

/** @returns {"nothing" | "picture" | "camera" | "film"} */
export const showing = () => stage.dataset.showing;

/** @param {string} words @param {boolean} isProblem */
export function say(words, isProblem = false) {
  const message = byId("message");
  if (message.textContent !== words) message.textContent = words;
  message.classList.toggle("problem", isProblem);
}

/**
 * Replace what is on the stage.
 * @param {ReturnType<typeof showing>} what
 * @returns {AbortSignal} aborted when this is replaced in turn
 */
export function begin(what) {
  session.abort();
  session = new AbortController();
  forget();
  results.clearSpeed();
  say("");
  stage.dataset.showing = what;
  stage.dataset.answers = 0;
  delete stage.dataset.link;
  video.hidden = what !== "camera" && what !== "film";
  video.classList.remove("mirrored");
  video.setAttribute("aria-label", what === "film" ? "The chosen video" : "What the camera sees");
  picture.hidden = what !== "picture";
  byId("invitation").hidden = what !== "nothing";
  byId("camera").textContent = what === "camera" ? "Stop camera" : "Start camera";
  byId("close").hidden = what !== "picture" && what !== "film";
  byId("player").hidden = what !== "film";
  if (what !== "camera") {
    // They stay visible while cameras are switched, to keep the keyboard focus.
    byId("flip").hidden = true;
    byId("device").hidden = true;
  }
  video.srcObject = null;
  video.removeAttribute("src");
  picture.removeAttribute("src");
  if (what === "nothing") stage.style.removeProperty("--ratio");
  return session.signal;
}

/** Clear the stage and, if a problem ended it, show the problem. */
export function end(problem = "") {
  begin("nothing");
  say(problem, Boolean(problem));
}

export function shape(width, height) {
  if (width && height) stage.style.setProperty("--ratio", `${width} / ${height}`);
}

/**
 * Show an answer and its frame; the stage then owns the frame.
 * @param {object} answer
 * @param {ImageBitmap | HTMLImageElement} frame
 * @param {"stream" | "requests"} link how the frame was sent
 */
export function present(answer, frame, link = "requests") {
  const at = performance.now();
  const faces = answer.faces.map(({ box }) => ({ at, box }));
  const isLost = (face) => at - face.at < BLUR_LASTS_MS && !faces.some(meets(face));
  const lost = (shown?.covered ?? []).filter(isLost);
  shown?.frame.close?.();
  shown = { answer, frame, covered: [...faces, ...lost] };
  results.show(answer, redraw());
  byId("save").disabled = false;
  stage.dataset.link = link;
  stage.dataset.answers = Number(stage.dataset.answers) + 1;
}

/** @param {Covered} face */
const meets =
  ({ box: a }) =>
  ({ box: b }) =>
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Remove the answer; it belongs to something no longer shown. */
export function forget() {
  shown?.frame.close?.();
  shown = null;
  redraw();
  results.clear();
  byId("save").disabled = true;
}

/**
 * Switch blurring on or off. When on, the answered frame is shown instead of the video: the video
 * is ahead of the answer, so a face would appear beside its blur.
 * @param {boolean} wanted
 */
export function blur(wanted) {
  blurred = wanted;
  stage.classList.toggle("blurred", wanted);
  redraw();
}

export function redraw() {
  const { clientWidth: width, clientHeight: height } = overlay;
  const density = window.devicePixelRatio;
  // Setting the size also clears the canvas.
  overlay.width = Math.round(width * density);
  overlay.height = Math.round(height * density);
  const mirrored = video.classList.contains("mirrored");
  const placed = shown ? place(shown.answer, mirrored, width, height) : [];
  const context = overlay.getContext("2d");
  context.scale(density, density);
  if (shown && blurred) paint(context, shown, boxesOf(shown), mirrored, width, height);
  annotate(context, placed, width);
  overlay.dataset.boxes = placed.map(inPixels).join("; ");
  return placed;
}

const boxesOf = ({ covered }) => covered.map(({ box }) => box);

/** A drawn box as text, for tests: "left top width height". */
function inPixels({ left, top, width, height }) {
  return [left, top, width, height].map(Math.round).join(" ");
}

/** The shown frame with its boxes as a JPEG: not mirrored, at its own size. */
export function snapshot() {
  const { answer, frame } = shown;
  const width = frame.naturalWidth ?? frame.width;
  const height = frame.naturalHeight ?? frame.height;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  paint(context, shown, blurred ? boxesOf(shown) : [], false, width, height);
  annotate(context, place(answer, false, width, height), width);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

video.addEventListener("resize", () => shape(video.videoWidth, video.videoHeight));
new ResizeObserver(redraw).observe(overlay);
