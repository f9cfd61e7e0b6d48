/** The cameras of this device. */

const SIZE = { width: { ideal: 1280 }, height: { ideal: 720 } };

/**
 * Open a camera: the one with the id, or the default one that faces the given way.
 * @param {{deviceId?: string, facing?: "user" | "environment"}} wish
 */
export function open({ deviceId, facing = "user" }) {
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: facing } };
  return navigator.mediaDevices.getUserMedia({ video: { ...SIZE, ...which } });
}

/** All cameras; browsers name them only after the user allowed a camera. */
export async function list() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "videoinput");
}

/**
 * Which way a camera faces. Laptop cameras do not report it; they face the user.
 * @param {MediaStreamTrack} track
 * @returns {"user" | "environment"}
 */
export function facingOf(track) {
  const { facingMode } = track.getSettings();
  if (facingMode) return facingMode === "environment" ? "environment" : "user";
  return /\b(back|rear|environment)\b/i.test(track.label) ? "environment" : "user";
}

/** Why this page cannot use any camera, or "" if it can. */
export function obstacle() {
  if (navigator.mediaDevices?.getUserMedia) return "";
  if (window.isSecureContext) {
    return "This browser does not let pages use a camera. Choose a picture instead.";
  }
  return (
    "Browsers allow the camera only on pages opened over https or on localhost. Open this page " +
    "over https, or choose a picture instead."
  );
}

/**
 * Explain why a camera did not start or stopped.
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
