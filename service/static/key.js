/** The API key, if the service requires one; kept until the tab is closed. */

const form = document.getElementById("key-form");
const field = document.getElementById("key");
const NAME = "api-key";
let key = recall();

/** The key that the user entered, or "". */
export const apiKey = () => key;

/**
 * Ask the user for a key after the service refused a request without a valid one.
 * @param {AbortSignal} signal ends the wait early
 */
export function askForKey(signal) {
  document.getElementById("key-label").textContent = key
    ? "The service does not know this API key:"
    : "This service requires an API key:";
  field.value = key;
  form.hidden = false;
  field.select();
  return new Promise((resolve) => {
    function done() {
      form.hidden = true;
      resolve();
    }
    function take(event) {
      event.preventDefault();
      key = field.value.trim();
      keep();
      done();
    }
    form.addEventListener("submit", take, { signal, once: true });
    signal.addEventListener("abort", done, { once: true });
    if (signal.aborted) done();
  });
}

// Throws if the browser blocks storage; the page then asks again after a reload.
function recall() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

function keep() {
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // Without storage, the key lasts until the page is left.
  }
}
