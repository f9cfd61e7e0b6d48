/**
 * A screen at a door. `?autostart=1` starts the camera without a click and after every failure
 * again. `?fullscreen=1` shows only the picture and, in large letters, the verdict.
 */

export const RETRY_MS = 3000;

const asked = new URLSearchParams(location.search);

/** Whether the camera starts by itself. */
export const starts = asked.get("autostart") === "1";

if (asked.get("fullscreen") === "1") {
  document.body.classList.add("kiosk");
  // Browsers give the whole screen only to a page that was just touched.
  document.addEventListener("pointerup", () => {
    document.documentElement.requestFullscreen?.().catch(() => {});
  });
}
