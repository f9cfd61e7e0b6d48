/** Requests to the service: one picture out, one answer or error back. */

import { apiKey, askForKey } from "./key.js";

const TIMEOUT_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

/** The service gave no answer; the message is shown to the user. */
export class ServiceError extends Error {
  /**
   * @param {string} message
   * @param {boolean} passing whether a retry can help
   * @param {number} retryAfterMs how long the service asks to wait
   */
  constructor(message, passing, retryAfterMs = 0) {
    super(message);
    this.passing = passing;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Send one encoded picture and return the answer.
 * @param {Blob} body
 * @param {AbortSignal} signal
 */
export async function predict(body, signal) {
  // AbortSignal.any() would do this, but browsers from 2023 lack it.
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, TIMEOUT_MS);
  signal.addEventListener("abort", abort);
  try {
    const response = await fetch("predict", {
      method: "POST",
      body,
      headers: { Accept: "application/json", ...(apiKey() && { "X-API-Key": apiKey() }) },
      signal: limit.signal,
    });
    if (response.status === 401) {
      await askForKey(signal);
      throw new ServiceError("Using the new API key.", true);
    }
    if (!response.ok) throw await refusal(response);
    return await response.json();
  } catch (error) {
    if (signal.aborted || error instanceof ServiceError) throw error;
    throw new ServiceError("The service cannot be reached.", true);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** @param {Response} response */
async function refusal(response) {
  // A proxy in front of the service may answer in HTML, which has no `detail`.
  const problem = await response.json().catch(() => ({}));
  const passing = [429, 502, 503, 504].includes(response.status);
  const fallback = passing ? "The service is not ready." : "The service refused the picture.";
  const retryAfterMs = 1000 * (Number(response.headers.get("Retry-After")) || 0);
  return new ServiceError(problem.detail || fallback, passing, retryAfterMs);
}

/**
 * How long to wait after the given number of failures in a row. The randomness keeps many pages
 * from retrying at the same moment.
 * @param {number} failures
 * @param {number} retryAfterMs
 */
export function pauseMs(failures, retryAfterMs) {
  const doubled = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
  return Math.max(doubled * (0.75 + Math.random() / 2), retryAfterMs);
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal ends the wait early
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
