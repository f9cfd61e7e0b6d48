/** Checks one picture: from its file to the answer on the stage. */

import { asShown, bytesOf } from "./frames.js";
import * as results from "./results.js";
import { pause, pauseMs, predict } from "./service.js";
import { begin, end, picture, present, say, shape } from "./stage.js";

/** @param {File} file */
export async function checkPicture(file) {
  const signal = begin("picture");
  const url = URL.createObjectURL(file);
  picture.src = url;
  try {
    await picture.decode();
    if (!picture.naturalWidth) throw new Error("It has no pixels.");
  } catch {
    if (!signal.aborted) {
      end(`“${file.name}” is not a picture or a video that this browser can read.`);
    }
    return;
  } finally {
    URL.revokeObjectURL(url);
  }
  if (signal.aborted) return;
  const { naturalWidth: width, naturalHeight: height } = picture;
  shape(width, height);
  say("Looking…");
  try {
    let { answer, roundTrip } = await ask(() => bytesOf(file, picture), signal);
    const sameWayUp = answer.image.width > answer.image.height === width > height;
    if (!sameWayUp) {
      // Browser and service disagree on the EXIF orientation: send it as the browser shows it.
      ({ answer, roundTrip } = await ask(() => asShown(picture), signal));
    }
    present(answer, picture);
    results.showRoundTrip(roundTrip);
  } catch (error) {
    if (!signal.aborted) say(error.message, true);
  }
}

/**
 * Ask until an answer or a permanent error arrives, with longer and longer pauses.
 * @param {() => Promise<Blob>} encode
 * @param {AbortSignal} signal
 */
async function ask(encode, signal) {
  const body = await encode();
  for (let failures = 1; ; failures += 1) {
    const begun = performance.now();
    try {
      const answer = await predict(body, signal);
      signal.throwIfAborted();
      say("");
      return { answer, roundTrip: performance.now() - begun };
    } catch (error) {
      if (signal.aborted || !error.passing) throw error;
      say(`${error.message} Trying again…`, true);
      await pause(pauseMs(failures, error.retryAfterMs), signal);
      signal.throwIfAborted();
    }
  }
}
