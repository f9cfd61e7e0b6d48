/** Switches that this browser remembers. */

/**
 * Bind a switch and restore its last state.
 * @param {string} id of its checkbox
 * @param {(on: boolean, byHand: boolean) => void} apply called now and at every change
 */
export function bind(id, apply) {
  const box = document.getElementById(id);
  box.checked = (recall(id) ?? String(box.checked)) === "true";
  box.addEventListener("change", () => {
    keep(id, String(box.checked));
    apply(box.checked, true);
  });
  apply(box.checked, false);
}

// Throws if the browser blocks storage, as some do in private windows; the page works without it.
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Without storage, the setting lasts until the page is closed.
  }
}
