"""A client's connection, as the worker holds it while it waits for the client."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.http.parser import RequestParser

from service.arrival import Arrival, Inbox


class PatientSocket(socket.socket):
    """A socket that keeps what the client does not read at once, instead of waiting for it.

    With a time-out, as a WebSocket sets it, it sends as any socket does.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.unsent = bytearray()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send what can be sent now, and keep the rest; raises OSError if the client is gone."""
        if self.gettimeout():
            super().sendall(data, flags)
            return
        self.unsent += data
        self.flush()

    def flush(self) -> None:
        """Send of what is kept as much as can be sent now; raises OSError likewise."""
        with suppress(BlockingIOError):
            while self.unsent:
                sent = self.send(self.unsent, socket.MSG_DONTWAIT)
                del self.unsent[:sent]


class Refused:
    """Stands for a parser where there is nothing to parse."""

    def __init__(self, reason: Exception) -> None:
        self._reason = reason

    def __next__(self) -> None:
        raise self._reason


class Connection:
    """A client's connection, as gunicorn's worker knows one: its request is always there."""

    initialized = data_ready = True
    is_http2 = False
    arrival: Arrival  # which the parser reads

    def __init__(self, sock: socket.socket, client: Any, server: Any, most_body: int) -> None:
        detached = (sock.family, sock.type, sock.proto, sock.detach())
        self.sock = PatientSocket(*detached)
        self.sock.settimeout(0)
        self.client, self.server = client, server
        self.inbox = Inbox(most_body)
        self.parser: RequestParser | Refused | None = None
        self.keep = True
        self.held = 0  # bytes
        self.since = time.monotonic()  # when that began for which the client is waited for
        self.deadline = float("inf")
        self.events = 0

    def init(self) -> None:
        """Do nothing: there is no TLS, and the parser is there."""
