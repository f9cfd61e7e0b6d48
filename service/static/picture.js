/** Checks one picture: from its file to the answer on the stage. */

import { refusal } from "./files.js";
import { asShown, bytesOf, still } from "./frames.js";
import * as results from "./results.js";
import { pause, pauseMs, predict } from "./service.js";
import { begin, end, picture, present, say, shape } from "./stage.js";
import * as zones from "./zones.js";

const MAY_MOVE = ["image/avif", "image/gif", "image/webp"];

/** @param {File} file */
export async function checkPicture(file) {
  const signal = begin("picture");
  zones.begin(file.name);
  const url = URL.createObjectURL(file);
  picture.src = url;
  try {
    await picture.decode();
    if (!picture.naturalWidth) throw new Error("It has no pixels.");
    if (MAY_MOVE.includes(file.type)) await freeze();
  } catch {
    if (!signal.aborted) {
      end(refusal(file));
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

/** Show only the first frame, which is the one that is sent. */
async function freeze() {
  const url = URL.createObjectURL(await still(picture));
  try {
    picture.src = url;
    await picture.decode();
  } finally {
    URL.revokeObjectURL(url);
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
    try {
      const answered = await predict(body, signal);
      signal.throwIfAborted();
      say("");
      return answered;
    } catch (error) {
      if (signal.aborted || !error.passing) throw error;
      say(`${error.message} Trying again…`, true);
      await pause(pauseMs(failures, error.retryAfterMs), signal);
      signal.throwIfAborted();
    }
  }
}
