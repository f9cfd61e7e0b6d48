/** Turns what is on the stage, a video or a picture, into the bytes that are sent. */

const VIDEO_LONG_SIDE = 640;
const PICTURE_LONG_SIDE = 2560;
// Not WebP: Chromium does not read its note of orientation, and the service does.
const SENT_AS_THEY_ARE = ["image/jpeg", "image/png"];
const LARGEST_SENT_AS_IT_IS = 8_000_000;

const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { alpha: false });

/**
 * Encode what is shown as a JPEG, shrunk to the long side.
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @param {number} longSide
 * @param {number} quality
 * @returns {Promise<Blob>}
 */
function jpeg(source, width, height, longSide, quality) {
  const scale = Math.min(1, longSide / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    const done = (blob) => (blob ? resolve(blob) : reject(new Error("The frame was not encoded.")));
    canvas.toBlob(done, "image/jpeg", quality);
  });
}

/**
 * The newest frame of a video, and never the same frame twice.
 * @param {HTMLVideoElement} video
 */
export async function newestFrame(video) {
  await new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
  return jpeg(video, video.videoWidth, video.videoHeight, VIDEO_LONG_SIDE, 0.8);
}

/**
 * A picture's own bytes where the service takes them, otherwise a JPEG of it.
 * @param {File} file
 * @param {HTMLImageElement} picture the same, decoded
 */
export async function bytesOf(file, picture) {
  if (SENT_AS_THEY_ARE.includes(file.type) && file.size < LARGEST_SENT_AS_IT_IS) return file;
  return asShown(picture);
}

/**
 * A JPEG of a picture as the browser shows it, turned upright.
 * @param {HTMLImageElement} picture
 */
export function asShown(picture) {
  return jpeg(picture, picture.naturalWidth, picture.naturalHeight, PICTURE_LONG_SIDE, 0.9);
}
