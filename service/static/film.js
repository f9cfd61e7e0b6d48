/** A video file: plays in the browser and is not uploaded; only the frames that play are sent. */

import * as compliance from "./compliance.js";
import { watch } from "./live.js";
import { begin, end, video } from "./stage.js";

const byId = (id) => document.getElementById(id);
const play = byId("play");
const seek = byId("seek");

/** @param {File} file */
export async function playFilm(file) {
  const signal = begin("film");
  compliance.begin(file.name);
  const url = URL.createObjectURL(file);
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  video.addEventListener(
    "error",
    () => end(`“${file.name}” is not a video that this browser can play.`),
    { signal },
  );
  for (const event of ["play", "pause", "timeupdate", "durationchange", "seeking"]) {
    video.addEventListener(event, showPosition, { signal });
  }
  video.src = url;
  // If the browser blocks autoplay, the user starts it with the button.
  video.play().catch(() => {});
  await watch(signal);
}

/** "1:05" */
function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function showPosition() {
  const { currentTime, duration, paused } = video;
  const length = Number.isFinite(duration) ? duration : 0;
  play.textContent = paused ? "Play" : "Pause";
  seek.max = length;
  seek.value = currentTime;
  const words = `${clock(currentTime)} / ${clock(length)}`;
  byId("time").textContent = words;
  seek.setAttribute("aria-valuetext", words);
}

play.addEventListener("click", () => {
  if (video.paused) video.play().catch(() => {});
  else video.pause();
});
seek.addEventListener("input", () => (video.currentTime = Number(seek.value)));
