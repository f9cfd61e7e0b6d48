/** Which files are videos, and what the page says about a file that the browser cannot show. */

const VIDEOS = "3gp avi flv m4v mkv mov mp4 mpeg mpg mts ogv ts webm wmv".split(" ");
const PICTURES = "arw avif cr2 cr3 dng heic heif jp2 jxl nef psd raw tif tiff".split(" ");

const ending = ({ name }) => (name.includes(".") ? name.split(".").pop().toLowerCase() : "");

/** @param {File} file */
export function isVideo(file) {
  return file.type.startsWith("video/") || VIDEOS.includes(ending(file));
}

/**
 * Say why a file is not shown and what to do.
 * @param {File} file
 */
export function refusal(file) {
  const kind = ending(file).toUpperCase();
  if (isVideo(file)) {
    return (
      `“${file.name}” is a video that this browser cannot play. Check it with the client: ` +
      "facemask-client --source FILE, or make client SOURCE=FILE"
    );
  }
  if (PICTURES.includes(ending(file))) {
    const other = ["HEIC", "HEIF"].includes(kind) ? ", or open this page in Safari" : "";
    return `“${file.name}” is a ${kind} picture, which this browser cannot show. Save it as JPEG or PNG${other}.`;
  }
  return `“${file.name}” is not a picture or a video that this browser can read.`;
}
