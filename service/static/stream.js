/** The connection to /stream: sends frames over a WebSocket and receives the answers. */

import { apiKey } from "./key.js";
import { pauseMs } from "./service.js";

const IN_FLIGHT = 2;
const OPENS_WITHIN_MS = 10_000;
const ANSWERS_WITHIN_MS = 5_000;

/**
 * A connection that lasts until the signal is aborted. It is opened only when a frame is to be
 * sent, so an idle page holds no stream. After a loss it is reopened with longer and longer pauses.
 * @param {AbortSignal} signal
 * @param {(answer: object, frame: object, roundTrip: number) => void} onAnswer
 * @param {(detail: string) => void} onProblem called when a frame is refused; the stream stays open
 */
export function createStream(signal, onAnswer, onProblem) {
  /** @type {WebSocket | null} */
  let socket = null;
  let sent = 0;
  /** @type {{id: number, frame: {image: ImageBitmap, body: Blob}, at: number}[]} */
  let inFlight = [];
  let failures = 0;
  let openAgainAt = 0;
  let limit = 0;
  let wake = () => {};

  function open() {
    const address = new URL("stream", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    try {
      // A page cannot set headers on a WebSocket, so the key is sent as a subprotocol.
      socket = new WebSocket(address, apiKey() ? [`key.${apiKey()}`] : []);
    } catch {
      openAgainAt = Infinity; // the key has characters not allowed here; requests accept them
      return;
    }
    sent = 0;
    expectWithin(OPENS_WITHIN_MS);
    const mine = socket;
    socket.onopen = () => clearTimeout(limit);
    socket.onmessage = ({ data }) => mine === socket && receive(JSON.parse(data));
    socket.onclose = () => mine === socket && lose();
  }

  function expectWithin(ms) {
    clearTimeout(limit);
    limit = setTimeout(lose, ms);
  }

  /** Close a lost connection: the service is gone, has no room, or does not answer. */
  function lose() {
    clearTimeout(limit);
    socket.close();
    socket = null;
    settle(Infinity);
    failures += 1;
    openAgainAt = performance.now() + pauseMs(failures, 0);
  }

  /** Drop the frames that will not be answered. */
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

  signal.addEventListener("abort", () => {
    clearTimeout(limit);
    const open = socket;
    socket = null; // its remaining messages are ignored
    open?.close();
    settle(Infinity);
  });

  return {
    /** Wait until another frame may be sent, over the stream or by a single request. */
    async room() {
      while (inFlight.length >= IN_FLIGHT) await new Promise((resolve) => (wake = resolve));
    },

    /**
     * Send a frame; the stream then owns it.
     * @returns {boolean} false without a connection: the caller keeps the frame
     */
    send(frame) {
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
