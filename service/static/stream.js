/** The stream of the service, seen from the page: frames go out by WebSocket, answers come back. */

import { apiKey } from "./key.js";
import { pauseMs } from "./service.js";
import { query } from "./zones.js";

const IN_FLIGHT = 2;
const OPENS_WITHIN_MS = 10_000;
const ANSWERS_WITHIN_MS = 5_000;
const POLICY_VIOLATION = 1008;

/**
 * A connection that lasts until the signal is aborted. It is opened when there is a frame to send,
 * and after a loss again, more and more seldom: who sends nothing keeps no stream busy.
 * @param {AbortSignal} signal
 * @param {(answer: object, frame: object, roundTrip: number) => void} onAnswer
 * @param {(detail: string) => void} onProblem a frame was refused; the stream lives on
 * @param {() => void} onLoss an open connection broke or went silent
 */
export function createStream(signal, onAnswer, onProblem, onLoss) {
  /** @type {WebSocket | null} */
  let socket = null;
  let opened = false;
  let asked = ""; // the parameters of the connection
  let sent = 0;
  /** @type {{id: number, frame: {image: ImageBitmap, body: Blob}, at: number}[]} */
  let inFlight = [];
  let failures = 0;
  let openAgainAt = 0;
  let limit = 0;
  let wake = () => {};

  function open() {
    asked = query();
    const address = new URL(`stream${asked}`, document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    try {
      // A page can set no header of a WebSocket.
      socket = new WebSocket(address, apiKey() ? [`key.${apiKey()}`] : []);
    } catch {
      openAgainAt = Infinity; // a key with signs that are not allowed here; requests take it
      return;
    }
    sent = 0;
    expectWithin(OPENS_WITHIN_MS);
    const mine = socket;
    opened = false;
    socket.onopen = () => {
      opened = true;
      clearTimeout(limit);
    };
    socket.onmessage = ({ data }) => mine === socket && receive(JSON.parse(data));
    socket.onclose = ({ code }) => mine === socket && lose(code);
  }

  function expectWithin(ms) {
    clearTimeout(limit);
    limit = setTimeout(() => lose(), ms);
  }

  /** The service went away, has no room, or says nothing any more. */
  function lose(code) {
    clearTimeout(limit);
    // A place that is refused is no loss, and an idle stream's end (1008) neither.
    if (opened && code !== POLICY_VIOLATION) onLoss();
    socket.close();
    socket = null;
    settle(Infinity);
    failures += 1;
    openAgainAt = performance.now() + pauseMs(failures, 0);
  }

  /** Give up the frames that will have no answer any more. */
  function settle(upTo) {
    for (const { id, frame } of inFlight) if (id <= upTo) frame.image.close();
    inFlight = inFlight.filter(({ id }) => id > upTo);
    wake();
  }

  function receive(message) {
    failures = 0;
    const answered = inFlight.find(({ id }) => id === message.frame_id);
    inFlight = inFlight.filter((each) => each !== answered);
    settle(message.frame_id ?? -1);
    if (inFlight.length) expectWithin(ANSWERS_WITHIN_MS);
    else clearTimeout(limit);
    if (!message.faces) {
      answered?.frame.image.close();
      onProblem(message.detail);
    } else if (answered) {
      onAnswer(message, answered.frame, performance.now() - answered.at);
    }
  }

  /** Close the connection; what it still says is of no interest. */
  function close() {
    clearTimeout(limit);
    const open = socket;
    socket = null;
    open?.close();
    settle(Infinity);
  }

  signal.addEventListener("abort", close);

  return {
    /** Whether a frame was sent and not answered yet. */
    waits: () => inFlight.length > 0,

    /** Wait until another frame may be sent, by this way or, where there is none, another. */
    async room() {
      while (inFlight.length >= IN_FLIGHT) await new Promise((resolve) => (wake = resolve));
    },

    /**
     * Send a frame, which from now on belongs to the stream.
     * @returns {boolean} false where there is no connection now: the frame stays the caller's
     */
    send(frame) {
      if (socket && asked !== query()) close();
      if (!socket && performance.now() >= openAgainAt) open();
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(frame.body);
      inFlight.push({ id: sent, frame, at: performance.now() });
      sent += 1;
      if (inFlight.length === 1) expectWithin(ANSWERS_WITHIN_MS);
      return true;
    },
  };
}
