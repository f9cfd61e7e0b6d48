/** Shows the answer in words and numbers beside the picture. */

import { caption, isPerson, numberOf } from "./annotate.js";

const ANNOUNCE_EVERY_MS = 1500;
const SPEED_EVERY_MS = 500;
const SPEED_OVER_FRAMES = 20;

const byId = (id) => document.getElementById(id);

let spoken = "";
let speaking = 0;
/** @type {{at: number, roundTrip: number}[]} */
let answered = [];
let speedShownAt = 0;

/**
 * @param {object} answer
 * @param {ReturnType<typeof import("./annotate.js").place>} placed its faces from left to right
 */
export function show(answer, placed) {
  byId("counts").classList.remove("unknown");
  for (const row of byId("counts").children) {
    row.querySelector("dd").textContent = answer.summary[row.dataset.label];
  }
  const list = byId("faces");
  const people = placed.filter(({ face }) => isPerson(face));
  while (list.children.length > people.length) list.lastElementChild.remove();
  while (list.children.length < people.length) list.append(document.createElement("li"));
  for (const [row, box] of people.entries()) {
    const item = list.children[row];
    item.dataset.label = box.face.label;
    const words = `Person ${numberOf(box)}: ${caption(box.face)}`;
    if (item.textContent !== words) item.textContent = words;
  }
  byId("none").hidden = people.length > 0;
  byId("left-out").hidden = !(answer.faces_left_out > 0);
  byId("left-out").textContent = `Faces left out: ${answer.faces_left_out}.`;
  judge(verdictOf(answer.summary));
  announce(inWords(answer.summary));
}

/** The verdict that a kiosk shows in large letters. */
function verdictOf({ mask, no_mask: without, uncertain }) {
  if (without) return { label: "no_mask", words: "Please put on a mask" };
  if (uncertain) return { label: "uncertain", words: "Please look at the camera" };
  if (mask) return { label: "mask", words: "Mask on. Thank you" };
  return { label: "none", words: "Please step in front of the camera" };
}

function judge({ label, words }) {
  const verdict = byId("verdict");
  verdict.dataset.label = label;
  if (verdict.textContent !== words) verdict.textContent = words;
}

/** Clear the answer; it does not belong to what the stage shows now. */
export function clear() {
  byId("counts").classList.add("unknown");
  for (const number of byId("counts").querySelectorAll("dd")) number.textContent = "–";
  byId("faces").replaceChildren();
  byId("none").hidden = true;
  byId("left-out").hidden = true;
  judge({ label: "none", words: "" });
  announce("");
}

/** @param {number} roundTrip milliseconds from the request to its answer */
export function showRoundTrip(roundTrip) {
  byId("speed").textContent = inMs(roundTrip);
}

const inMs = (roundTrip) => `${Math.round(roundTrip)} ms round trip`;

/**
 * Count an answered frame of a video; the speed is updated seldom enough to be legible.
 * @param {number} roundTrip milliseconds
 * @param {"stream" | "requests"} link how the frame was sent
 */
export function countFrame(roundTrip, link) {
  const at = performance.now();
  answered = [...answered, { at, roundTrip }].slice(-SPEED_OVER_FRAMES);
  if (answered.length < 2 || at - speedShownAt < SPEED_EVERY_MS) return;
  speedShownAt = at;
  const perSecond = (1000 * (answered.length - 1)) / (at - answered[0].at);
  const mean = answered.reduce((sum, frame) => sum + frame.roundTrip, 0) / answered.length;
  byId("speed").textContent = [
    `${perSecond.toFixed(1)} frames/s`,
    inMs(mean),
    link === "stream" ? "live" : "single requests",
  ].join(" · ");
}

export function clearSpeed() {
  answered = [];
  speedShownAt = 0;
  byId("speed").textContent = "";
}

function inWords({ mask, no_mask: without, uncertain }) {
  const total = mask + without + uncertain;
  if (total === 0) return "No face found.";
  const parts = [
    mask && `${mask} with mask`,
    without && `${without} without`,
    uncertain && `${uncertain} uncertain`,
  ];
  return `${total} ${total === 1 ? "person" : "people"}: ${parts.filter(Boolean).join(", ")}.`;
}

/** Announce to screen readers: only changes, at most once per interval. */
function announce(words) {
  spoken = words;
  speaking ||= setTimeout(() => {
    speaking = 0;
    const region = byId("announcement");
    if (region.textContent !== spoken) region.textContent = spoken;
  }, ANNOUNCE_EVERY_MS);
}
