/** Watches a video: sends its newest frames to the service and shows the answers on the stage. */

import * as alert from "./alert.js";
import * as compliance from "./compliance.js";
import { newestFrame } from "./frames.js";
import * as results from "./results.js";
import { pause, pauseMs, predict } from "./service.js";
import { forget, present, say, video } from "./stage.js";
import { createStream } from "./stream.js";

const STALE_AFTER_MS = 3000;

/**
 * Watch until the signal is aborted: over a stream or, without one, by single requests, one at a
 * time. Failures are retried.
 * @param {AbortSignal} signal
 */
export async function watch(signal) {
  let staleTimer = 0;
  let patience = STALE_AFTER_MS;
  let failures = 0;
  let last = 0;

  function show(answer, { image }, roundTrip, link) {
    if (signal.aborted) {
      image.close();
      return;
    }
    say("");
    present(answer, image, link);
    results.countFrame(roundTrip, link);
    compliance.record(answer.summary);
    alert.update(answer);
    patience = Math.max(STALE_AFTER_MS, 2 * roundTrip);
    expectAnother();
  }

  function expectAnother() {
    clearTimeout(staleTimer);
    staleTimer = setTimeout(fade, patience);
  }

  /** Remove old boxes from a running video; a paused one keeps them. */
  function fade() {
    if (video.paused && !video.seeking) return;
    forget();
    alert.clear();
  }

  /** Send one frame without a stream. */
  async function request(frame) {
    try {
      const begun = performance.now();
      const answer = await predict(frame.body, signal);
      show(answer, frame, performance.now() - begun, "requests");
      failures = 0;
    } catch (error) {
      frame.image.close();
      if (signal.aborted) return;
      failures += 1;
      say(`${error.message} Trying again…`, true);
      await pause(pauseMs(failures, error.retryAfterMs), signal);
    }
  }

  video.addEventListener("seeking", fade, { signal });
  video.addEventListener("play", expectAnother, { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(staleTimer);
    alert.clear();
  });

  const stream = createStream(
    signal,
    (answer, frame, roundTrip) => show(answer, frame, roundTrip, "stream"),
    (detail) => say(detail, true),
  );
  while (!signal.aborted) {
    await stream.room();
    const frame = await newestFrame(video, last);
    last = frame.at;
    if (signal.aborted) frame.image.close();
    else if (!stream.send(frame)) await request(frame);
  }
}
