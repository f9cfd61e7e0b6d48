"""A client's connection, with a minimum data rate; it can be evicted to make room for others."""

from __future__ import annotations

import errno
import socket as sockets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gevent import Timeout, sleep, socket, with_timeout
from gunicorn.http.errors import LimitRequestHeaders

LEAST_RATE = 50_000  # bytes per second that a client must send or read after its grace period
# Limits on the wait for the client to read the answer before the connection is closed.
LINGER_S, LINGER_BYTES = 2.0, 20_000_000
PIECE_BYTES = 131_072  # moved at a time
HEAD_BYTES = 65_536  # of a request's head; gunicorn only limits its lines and their number


def reset(reason: str) -> ConnectionResetError:
    """Make the error that gunicorn treats as a disconnected client."""
    return ConnectionResetError(errno.ECONNRESET, reason)


class Connection(socket.socket):
    """A gevent socket for one client.

    waiting_since: when the current wait for the client started (monotonic seconds), None if none.
    received: bytes so far. evicted: whether the connection was given up to make room for others.
    """

    def __init__(self, accepted: socket.socket, grace_s: float) -> None:
        """Take over an accepted socket. grace_s: seconds before the minimum rate applies."""
        kind = (accepted.family, accepted.type, accepted.proto)
        super().__init__(*kind, fileno=accepted.detach())
        self.grace_s = grace_s
        self.received = 0
        self.waiting_since: float | None = None
        self.idle_at = 0  # bytes received when the wait for the next request began
        self.in_head = False  # whether a request's head is being received
        self.evicted = False
        self.request: Any = None  # gunicorn's, once one was received
        self.lingers = False

    @property
    def idle(self) -> bool:
        """Whether the client has sent no part of its next request."""
        return self.received == self.idle_at

    def recv(self, size: int, *args: Any) -> bytes:
        """Receive at most a piece; returns no bytes once the connection was evicted.

        A request that arrived at the moment of the eviction is still accepted. Raises
        LimitRequestHeaders for a head of over HEAD_BYTES.
        """
        try:
            data = b"" if self.evicted else bytes(super().recv(min(size, PIECE_BYTES), *args))
        except OSError:
            if not self.evicted:
                raise
            data = self._last_words(size)
        self.received += len(data)
        if self.in_head and self.received - self.idle_at > HEAD_BYTES:
            raise LimitRequestHeaders(f"over {HEAD_BYTES} bytes")
        return data

    def _last_words(self, size: int) -> bytes:
        """Return what an idle client sent just as its connection was evicted."""
        with suppress(OSError):
            if self.in_head and self.idle:
                data = bytes(self._sock.recv(min(size, PIECE_BYTES)))  # type: ignore[attr-defined]
                self.evicted = not data
                return data
        return b""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything; raises ConnectionResetError for a client that reads too slowly."""
        view = memoryview(data)
        try:
            sent = self._sock.send(view, flags)  # type: ignore[attr-defined]
        except BlockingIOError:
            sent = 0
        if sent == len(view):
            return
        with self.patience() as left:
            while sent < len(view):
                piece = view[sent : sent + PIECE_BYTES]
                try:
                    with Timeout(left(sent), reset("The client reads too slowly")):
                        super().sendall(piece, flags)
                except OSError:
                    if self.evicted:
                        raise reset("The connection was evicted") from None
                    raise
                sent += len(piece)

    @contextmanager
    def patience(self) -> Iterator[Callable[[int], float]]:
        """Limit a wait for the client; yields a function from bytes moved to seconds left.

        The client must keep the rate on average, and may stall for the grace period at most.
        """
        self.waiting_since = began = time.monotonic()

        def left(moved: int) -> float:
            on_average = began + moved / LEAST_RATE - time.monotonic()
            return max(0.001, self.grace_s + min(on_average, PIECE_BYTES / LEAST_RATE))

        try:
            yield left
        finally:
            self.waiting_since = None

    def evict(self, *, linger: bool = True) -> None:
        """Evict the client: end the wait for it at once. linger: let it read the answer."""
        self.evicted = True
        self.lingers = linger
        for event in (self._read_event, self._write_event):  # type: ignore[attr-defined]
            self.hub.cancel_wait(event, OSError(errno.EBADF, "given up"))  # type: ignore[attr-defined]

    def close_after_answer(self) -> None:
        """Serve no further request: the start of the next one is unknown or too far away."""
        self.request.force_close()
        self.lingers = not self.evicted or self.lingers

    def linger(self) -> None:
        """Close the connection so that the client can still read the answer (RFC 9112, 9.6)."""
        with suppress(OSError):
            self.shutdown(sockets.SHUT_WR)
            with_timeout(LINGER_S, self._discard, timeout_value=None)

    def _discard(self) -> None:
        discarded = 0
        while discarded < LINGER_BYTES and (data := super().recv(PIECE_BYTES)):
            discarded += len(data)
            sleep(0)  # let other clients run; a fast sender would block the loop
