"""Clients that send requests without pause and classify how a request failed."""

from __future__ import annotations

import enum
import http.client
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2

from bench.frames import portrait

FRAME = cv2.imencode(".jpg", cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR))[1].tobytes()  # one face
HEADERS = {"Content-Type": "image/jpeg"}


class Outcome(enum.Enum):
    """The outcome of a request."""

    ANSWERED = "200"
    BUSY = "503 or 429 with Retry-After: a clean refusal that says when to retry"
    REFUSED = "the connection was not accepted"
    LOST = "the connection was accepted and the request sent, but there was no answer"
    STALE = "a kept connection was closed before the request was sent"
    FAILED = "any other answer"


@dataclass(frozen=True)
class Ask:
    """How a client sends requests; keep: on one connection instead of a new one each time."""

    port: int
    keep: bool
    pause_s: float = 0.0
    path: str = "/predict"


def ask(connection: http.client.HTTPConnection, path: str = "/predict") -> tuple[Outcome, bool]:
    """Send a frame over a connection; returns the outcome, and whether it stays open."""
    fresh = connection.sock is None
    if fresh:
        try:
            connection.connect()
        except OSError:
            return Outcome.REFUSED, False
    try:
        connection.request("POST", path, FRAME, HEADERS)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return Outcome.LOST, False
    keeps = answer.getheader("Connection") != "close"
    if answer.status == 200:
        return Outcome.ANSWERED, keeps
    if answer.status in {429, 503} and answer.getheader("Retry-After"):
        return Outcome.BUSY, keeps
    return Outcome.FAILED, keeps


def is_closed(connection: http.client.HTTPConnection) -> bool:
    """Return whether the server has closed a kept connection, as connection pools check."""
    if connection.sock is None:
        return False
    connection.sock.settimeout(0)
    try:
        return not connection.sock.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.sock.settimeout(connection.timeout)


def keep_asking(how: Ask, outcomes: Counter[Outcome], stop: threading.Event) -> None:
    """Send requests until told to stop; after a refusal, wait 50 ms and retry."""
    connection = http.client.HTTPConnection("127.0.0.1", how.port, timeout=120)
    while not stop.is_set():
        if is_closed(connection):
            outcomes[Outcome.STALE] += 1
            connection.close()
        outcome, keeps = ask(connection, how.path)
        outcomes[outcome] += 1
        if not (keeps and how.keep):
            connection.close()
        stop.wait(0.05 if outcome in {Outcome.REFUSED, Outcome.BUSY} else how.pause_s)
    connection.close()


def together(works: Sequence[Callable[[], None]]) -> None:
    """Run all functions in separate threads, and wait for them."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
