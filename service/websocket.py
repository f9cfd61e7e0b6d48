"""The server's side of a WebSocket on a connection that gunicorn took over as HTTP."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Request
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from werkzeug.exceptions import HTTPException

READ_BYTES = 65536
TICK_S = 0.25  # how soon a stop of the service or an idle client is noticed
PING_S = 20.0  # below the idle time-out of the usual proxies, 60 s
SEND_S = 10.0  # a client that reads nothing for so long is given up
GOODBYE_S = 2.0  # for the client's half of the closing handshake


class HandshakeFailed(HTTPException):
    """The request does not open a WebSocket; the response says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.code = status

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Name the protocol that is wanted, where that is what is wrong."""
        headers = super().get_headers(*args, **kwargs)
        if self.code == HTTPStatus.UPGRADE_REQUIRED:
            headers.append(("Upgrade", "websocket"))
        return headers


@dataclass(frozen=True)
class Message:
    """What a client sent: bytes, or str where it was text. index: its count, from 0."""

    index: int
    content: bytes | str


class WebSocket:
    """A connection of which only the newest message counts.

    One thread of its own reads, so that an older message never waits in a buffer behind which the
    newest is hidden; of the messages that nobody took only the newest is kept, the others are
    counted as dropped. What it holds is bounded by three messages of max_size.
    """

    def __init__(
        self,
        request: Request,
        max_size: int,
        idle_s: float,
        stopping: threading.Event,
        *,
        protocol: str | None = None,
    ) -> None:
        """Answer the handshake of a request; raises HandshakeFailed before anything is sent.

        max_size: bytes of a message; a larger one closes with code 1009. idle_s: after so long
        without a message the connection is closed with 1008. stopping: closes it with 1001.
        protocol: the subprotocol, one that was offered.
        """
        self.received = 0
        self.dropped = 0
        self._socket: socket.socket = request.environ["gunicorn.socket"]
        self._idle_s = idle_s
        self._stopping = stopping
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol(protocol)] if protocol else None,
            max_size=max_size,
        )
        # Gunicorn has read the request; the protocol wants to read it too.
        handshake = Handshake(request.full_path, Headers(request.headers))
        self._protocol.receive_data(handshake.serialize())
        self._protocol.events_received()
        response = self._protocol.accept(handshake)
        if response.status_code != 101:
            raise HandshakeFailed(response.status_code, (response.body or b"").decode().strip())
        self._lock = threading.Lock()
        self._arrived = threading.Condition()
        self._newest: Message | None = None
        self._heard = 0.0
        self._content = bytearray()
        self._text = False
        self._closed = False
        self._socket.settimeout(SEND_S)
        self._protocol.send_response(response)
        self._flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def take(self) -> Message | None:
        """Wait for a message and return the newest; None once the connection is closed."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None or self._closed)
            message, self._newest = self._newest, None
        return None if self._closed else message

    def send(self, text: str) -> None:
        """Send a text message; to a client that is gone it is not sent."""
        with self._lock:
            if self._protocol.state is State.OPEN:
                self._protocol.send_text(text.encode())
                self._flush()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin to close; take() returns None soon."""
        with self._lock:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, reason)
                self._flush()

    def join(self) -> None:
        """Wait until nothing reads from the connection any more."""
        self._reader.join()

    def _read(self) -> None:
        try:
            with suppress(OSError):  # as when the client goes without a word
                self._read_until_closed()
        finally:
            with self._arrived:
                self._closed = True
                self._arrived.notify_all()

    def _read_until_closed(self) -> None:
        now = self._heard = time.monotonic()
        pinged = now
        give_up = float("inf")
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while now < give_up:
            readable = poll.poll(TICK_S * 1000)
            now = time.monotonic()
            if readable:
                data = self._socket.recv(READ_BYTES)
                if not self._receive(data):
                    return
            if self._protocol.close_expected():
                give_up = min(give_up, now + GOODBYE_S)
            elif self._stopping.is_set():
                self.close(CloseCode.GOING_AWAY, "the service stops")
            elif now - self._heard > self._idle_s:
                self.close(CloseCode.POLICY_VIOLATION, f"no frame for {self._idle_s:g} s")
            elif now - pinged > PING_S:
                pinged = now
                self._ping()

    def _ping(self) -> None:
        with self._lock:
            self._protocol.send_ping(b"")
            self._flush()

    def _receive(self, data: bytes) -> bool:
        """Take in what was read, nothing at its end; tell whether more may come."""
        with self._lock:
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._assemble(event)
        return bool(data)

    def _assemble(self, frame: Frame) -> None:
        if frame.opcode not in {Opcode.BINARY, Opcode.TEXT, Opcode.CONT}:
            return
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        self._content += frame.data  # not a list: a message may have any number of empty pieces
        if not frame.fin:
            return
        content, self._content = bytes(self._content), bytearray()
        text = content.decode(errors="replace") if self._text else content
        self._heard = time.monotonic()
        with self._arrived:
            self.dropped += self._newest is not None
            self._newest = Message(self.received, text)
            self.received += 1
            self._arrived.notify()

    def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data == SEND_EOF:
                    self._socket.shutdown(socket.SHUT_WR)
                else:
                    self._socket.sendall(data)
        except OSError:  # the client is gone or reads nothing; the reader then ends
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
