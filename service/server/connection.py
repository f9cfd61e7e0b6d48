"""A client's connection: the client must keep up a least rate, and can be given up for others."""

from __future__ import annotations

import errno
import socket as sockets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gevent import Timeout, socket, with_timeout
from gunicorn.http.errors import LimitRequestHeaders

LEAST_RATE = 50_000  # bytes a second that a client must send or read once its grace is over
LINGER_S = 2.0  # for the client to read the answer before the connection is closed
PIECE_BYTES = 131_072  # that are moved at a time
HEAD_BYTES = 65_536  # of a request; gunicorn bounds each line of it and their number only


class Connection(socket.socket):
    """A gevent socket for one client.

    waiting_since: monotonic seconds since when the client is waited for, None while it is not.
    received: bytes so far. evicted: whether the client was given up to make room for others.
    """

    def __init__(self, accepted: socket.socket, grace_s: float) -> None:
        """Take over an accepted socket. grace_s: seconds in which no rate is required."""
        kind = (accepted.family, accepted.type, accepted.proto)
        super().__init__(*kind, fileno=accepted.detach())
        self.grace_s = grace_s
        self.received = 0
        self.waiting_since: float | None = None
        self.idle_at = 0  # bytes received when the wait for the next request began
        self.in_head = False  # whether a request's head is being received
        self.evicted = False
        self.request: Any = None  # gunicorn's, once there is one
        self.lingers = False

    @property
    def idle(self) -> bool:
        """Whether the client has sent nothing of its next request."""
        return self.received == self.idle_at

    def recv(self, size: int, *args: Any) -> bytes:
        """Receive at most a piece; nothing more once the client was given up.

        Raises LimitRequestHeaders for a head of over HEAD_BYTES.
        """
        data = b"" if self.evicted else bytes(super().recv(min(size, PIECE_BYTES), *args))
        self.received += len(data)
        if self.in_head and self.received - self.idle_at > HEAD_BYTES:
            raise LimitRequestHeaders(f"over {HEAD_BYTES} bytes")
        return data

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
            slow = ConnectionResetError(errno.ECONNRESET, "The client reads too slowly")
            while sent < len(view):
                piece = view[sent : sent + PIECE_BYTES]
                with Timeout(left(sent), slow):
                    super().sendall(piece, flags)
                sent += len(piece)

    @contextmanager
    def patience(self) -> Iterator[Callable[[int], float]]:
        """Wait for the client; gives a function from bytes moved to the seconds that are left."""
        self.waiting_since = began = time.monotonic()

        def left(moved: int) -> float:
            allowed = self.grace_s + moved / LEAST_RATE
            return max(0.001, began + allowed - time.monotonic())

        try:
            yield left
        finally:
            self.waiting_since = None

    def evict(self) -> None:
        """Give the client up: whatever it is waited for ends at once."""
        self.evicted = True
        # gevent's own shutdown() would raise an error in the greenlet that waits.
        with suppress(OSError):
            self._sock.shutdown(sockets.SHUT_RD)  # type: ignore[attr-defined]

    def close_after_answer(self) -> None:
        """Serve no further request: where the next one would begin is unknown, or far away."""
        self.request.force_close()
        self.lingers = True

    def linger(self) -> None:
        """End the connection such that the client can still read the answer (RFC 9112, 9.6)."""
        with suppress(OSError):
            self.shutdown(sockets.SHUT_WR)
            with_timeout(LINGER_S, self._discard, timeout_value=None)

    def _discard(self) -> None:
        while super().recv(PIECE_BYTES):
            pass
