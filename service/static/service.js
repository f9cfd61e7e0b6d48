/** Requests to the service: one picture out, one answer or error back. */

import { apiKey, askForKey } from "./key.js";
import { query } from "./zones.js";

export const NO_CONNECTION = "No connection to the service.";
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
 * Send one encoded picture and return the answer; ask for an API key until there is a valid one.
 * @param {Blob} body
 * @param {AbortSignal} signal
 * @returns {Promise<{answer: object, roundTrip: number}>} milliseconds from request to answer
 */
export async function predict(body, signal) {
  for (;;) {
    const begun = performance.now();
    const answer = await post(body, signal);
    if (answer) return { answer, roundTrip: performance.now() - begun };
    await askForKey(signal);
    signal.throwIfAborted();
  }
}

/** The answer, or null where the API key is missing or wrong. */
async function post(body, signal) {
  // AbortSignal.any() would do this, but browsers from 2023 lack it.
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, TIMEOUT_MS);
  signal.addEventListener("abort", abort);
  try {
    const response = await fetch(`predict${query()}`, {
      method: "POST",
      body,
      headers: { Accept: "application/json", ...(apiKey() && { "X-API-Key": apiKey() }) },
      signal: limit.signal,
    });
    if (response.status === 401) return null;
    if (!response.ok) throw await refusal(response);
    return await response.json();
  } catch (error) {
    if (signal.aborted || error instanceof ServiceError) throw error;
    throw new ServiceError(NO_CONNECTION, true);
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
