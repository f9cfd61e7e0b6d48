"""Post no_mask_confirmed events to a webhook: signed, retried, without delaying the frames."""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import threading
import time
import uuid
from collections.abc import Callable

import requests

from client import backoff, web
from client.tracks import Event

MOST_WAITING = 100
TRIES = 6  # over about 15 s
TIMEOUT_S = 5.0
FLUSH_S = 5.0
PERMANENT = {400, 401, 403, 404, 405, 410, 413, 415, 422}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of "timestamp.body", in hex."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """A thread that posts events to an address, one after the other.

    Each event is JSON with three headers. X-Event-ID is the same at every try. X-Timestamp is in
    seconds since 1970. X-Signature-256 is "sha256=" and the signature. At most MOST_WAITING events
    wait; further ones are dropped and counted, so that a dead address delays nothing.
    """

    def __init__(self, url: str, secret: str, note: Callable[[str], None]) -> None:
        self.dropped = 0
        self._url, self._secret, self._note = url, secret, note
        self._waiting: queue.Queue[tuple[str, bytes] | None] = queue.Queue(MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Queue an event; returns at once."""
        body = json.dumps(event.flat()).encode()
        try:
            self._waiting.put_nowait((uuid.uuid4().hex, body))
        except queue.Full:
            self._lose("too many wait already")

    def close(self) -> None:
        """Post the waiting events, for at most FLUSH_S seconds."""
        deadline = time.monotonic() + FLUSH_S
        try:
            self._waiting.put(None, timeout=FLUSH_S)
            self._thread.join(max(deadline - time.monotonic(), 0))
        except queue.Full:
            pass
        self._stop.set()
        left = self._waiting.qsize()
        if self._thread.is_alive():
            self._note(f"The webhook does not answer; {max(left, 1)} events were not delivered.")

    def _work(self) -> None:
        with web.Session() as session:
            while (item := self._waiting.get()) is not None and not self._stop.is_set():
                self._deliver(session, *item)

    def _deliver(self, session: requests.Session, event_id: str, body: bytes) -> None:
        reason = ""
        for _, delay in zip(range(TRIES), backoff.delays(), strict=False):
            timestamp = str(int(time.time()))
            headers = {
                "Content-Type": "application/json",
                "X-Event-ID": event_id,
                "X-Timestamp": timestamp,
                "X-Signature-256": f"sha256={signature(self._secret, timestamp, body)}",
            }
            try:
                response = session.post(
                    *(self._url, body),
                    headers=headers,
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                    stream=True,  # the body of the answer is never read
                )
                response.close()
            except web.Failure as error:
                reason = type(error).__name__  # its text may hold a token from the address
            else:
                if response.ok and not response.is_redirect:
                    return
                reason = f"status {response.status_code}"
                if response.status_code in PERMANENT or response.is_redirect:
                    break
            if self._stop.wait(delay):
                break
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        self.dropped += 1
        if self.dropped in {1, 10, 100} or self.dropped % 1000 == 0:
            self._note(
                f"The webhook did not accept an event ({reason}); {self.dropped} lost so far."
            )
