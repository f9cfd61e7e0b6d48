/** Encodes the video or picture on the stage into the bytes that are sent. */

const VIDEO_LONG_SIDE = 640;
const PICTURE_LONG_SIDE = 2560;
// A higher rate costs the service more without a visible benefit.
const BETWEEN_FRAMES_MS = 1000 / 15;
const CAMERAS_JITTER_MS = 10;
// Not WebP: Chromium ignores its EXIF orientation, and the service applies it.
const SENT_AS_THEY_ARE = ["image/jpeg", "image/png"];
const LARGEST_SENT_AS_IT_IS = 8_000_000;

/**
 * Encode a picture as a JPEG; its longer side is at most longSide.
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @param {number} longSide
 * @param {number} quality
 * @returns {Promise<Blob>}
 */
function jpeg(source, width, height, longSide, quality) {
  const scale = Math.min(1, longSide / Math.max(width, height));
  const size = [width, height].map((length) => Math.max(1, Math.round(length * scale)));
  // Its encoder runs at once; that of a canvas element waits for an idle page.
  const canvas = new OffscreenCanvas(...size);
  canvas.getContext("2d", { alpha: false }).drawImage(source, 0, 0, ...size);
  return canvas.convertToBlob({ type: "image/jpeg", quality });
}

/** @param {HTMLVideoElement} video */
function nextFrame(video) {
  return new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

/**
 * The newest frame of a video: never the same one twice, and not too soon after the last one.
 * @param {HTMLVideoElement} video
 * @param {number} after time at which the last one was taken
 * @returns {Promise<{image: ImageBitmap, body: Blob, at: number}>}
 */
export async function newestFrame(video, after) {
  let at;
  do {
    await nextFrame(video);
    at = performance.now();
  } while (at - after < BETWEEN_FRAMES_MS - CAMERAS_JITTER_MS);
  const image = await createImageBitmap(video);
  const body = await jpeg(image, image.width, image.height, VIDEO_LONG_SIDE, 0.8);
  return { image, body, at };
}

/**
 * A picture's own bytes if the service accepts them, otherwise a JPEG of it.
 * @param {File} file
 * @param {HTMLImageElement} picture the decoded file
 */
export async function bytesOf(file, picture) {
  if (SENT_AS_THEY_ARE.includes(file.type) && file.size < LARGEST_SENT_AS_IT_IS) return file;
  return asShown(picture);
}

/**
 * A JPEG of a picture as the browser shows it, upright.
 * @param {HTMLImageElement} picture
 */
export function asShown(picture) {
  return jpeg(picture, picture.naturalWidth, picture.naturalHeight, PICTURE_LONG_SIDE, 0.9);
}
