/** Alerts to people without a mask: on the screen, by sound, or not at all. */

import { isPerson } from "./annotate.js";

// Without tracking, labels may flicker from frame to frame. So a label must hold this long before
// an alert, and must be gone this long before the alert ends.
const HOLD_MS = 1000;
const BETWEEN_SOUNDS_MS = 3000;
// A soft falling third: the frequency in Hz and the start in seconds of each tone.
const TONES = [
  { frequency: 880, begin: 0 },
  { frequency: 698.5, begin: 0.18 },
];
const TONE_S = 0.35;
const LOUDNESS = 0.2;

const stage = document.getElementById("stage");
const banner = document.getElementById("alert");

export const wanted = { screen: true, sound: false };
/** @type {AudioContext | null} */
let audio = null;
let since = null;
let lastSeen = 0;
let soundedAt = -Infinity;
/** People already announced by sound: track ids, or "somebody" without tracking. */
const told = new Set();
let lastFrame = Infinity;

/**
 * @param {object} answer for a live frame
 * @param {number} now milliseconds
 */
export function update({ summary, faces: found, frame_id: frame }, now = performance.now()) {
  const faces = found.filter(isPerson);
  if (frame <= lastFrame) told.clear(); // a new stream, which numbers its people from 0
  lastFrame = frame ?? Infinity;
  for (const face of faces) if (face.label === "mask") told.delete(face.track_id);
  const without = faces.filter((face) => face.label === "no_mask");
  if (!without.length) {
    if (now - lastSeen >= HOLD_MS || faces.some((face) => "track_id" in face)) clear();
    return;
  }
  lastSeen = now;
  since ??= now;
  const tracked = without.every((face) => "track_id" in face);
  if (!tracked && now - since < HOLD_MS) return;
  show(summary.no_mask);
  const people = without.map((face) => face.track_id ?? "somebody");
  if (people.some((person) => !told.has(person)) && now - soundedAt >= BETWEEN_SOUNDS_MS) {
    soundedAt = now;
    for (const person of people) told.add(person);
    if (wanted.sound) sound();
  }
}

/** End the alert: everyone wears a mask, or the state is unknown. */
export function clear() {
  since = null;
  told.delete("somebody");
  banner.hidden = true;
  stage.classList.remove("alarmed");
}

function show(people) {
  const words = people === 1 ? "1 person without a mask" : `${people} people without a mask`;
  if (banner.textContent !== words) banner.textContent = words;
  banner.hidden = !wanted.screen;
  stage.classList.toggle("alarmed", wanted.screen);
}

/** Enable sound; browsers allow it only right after a click. */
export function unlock() {
  audio ??= new AudioContext();
  audio.resume();
}

export function sound() {
  unlock();
  const start = audio.currentTime;
  for (const { frequency, begin } of TONES) {
    const tone = new OscillatorNode(audio, { frequency });
    const loudness = new GainNode(audio, { gain: 0 });
    loudness.gain.setValueAtTime(0, start + begin);
    loudness.gain.linearRampToValueAtTime(LOUDNESS, start + begin + 0.02);
    loudness.gain.exponentialRampToValueAtTime(0.001, start + begin + TONE_S);
    tone.connect(loudness).connect(audio.destination);
    tone.start(start + begin);
    tone.stop(start + begin + TONE_S);
  }
}
