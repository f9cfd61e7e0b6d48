/** The cameras of this device. */

const SIZE = { width: { ideal: 1280 }, height: { ideal: 720 } };

/**
 * Open a camera: the one with the id, or the default one on the side asked for.
 * @param {{deviceId?: string, facing?: "user" | "environment"}} wish
 */
export function open({ deviceId, facing = "user" }) {
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: facing } };
  return navigator.mediaDevices.getUserMedia({ video: { ...SIZE, ...which } });
}

/** All cameras; browsers name them only after the permission was given. */
export async function list() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "videoinput");
}

/**
 * Which way a camera looks; a laptop's does not say, and looks at whoever sits before it.
 * @param {MediaStreamTrack} track
 * @returns {"user" | "environment"}
 */
export function facingOf(track) {
  const { facingMode } = track.getSettings();
  if (facingMode) return facingMode === "environment" ? "environment" : "user";
  return /\b(back|rear|environment)\b/i.test(track.label) ? "environment" : "user";
}

/** Why this page cannot have a camera at all, or "" if it can. */
export function obstacle() {
  if (navigator.mediaDevices?.getUserMedia) return "";
  if (window.isSecureContext) return "This browser has no camera for pages. Choose a picture.";
  return (
    "Browsers give the camera only to pages opened over https or on localhost, and this page " +
    "is not. Open it over https, or choose a picture instead."
  );
}

/**
 * Say in words why a camera did not start or go on.
 * @param {DOMException} error
 */
export function reason(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return (
        "The camera is not allowed. Allow it for this page in the browser's address bar or " +
        "settings, then start it again."
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Connect one, or choose a picture instead.";
    case "NotReadableError":
    case "AbortError":
      return "The camera is busy. Close the other program that uses it, then start it again.";
    default:
      return `The camera failed: ${error.message || error.name}.`;
  }
}
