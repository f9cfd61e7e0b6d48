"""The server's side of a WebSocket, on a connection that gunicorn accepted as HTTP."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import gevent
from flask import Request
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from werkzeug.exceptions import HTTPException

from service.buffers import Loan
from service.inference import Overloaded
from service.server.connection import Connection

READ_BYTES = 16_384  # parsed at a time; full of tiny frames they take some 20 ms
PING_S = 20.0  # below the usual idle timeout of proxies, 60 s
GOODBYE_S = 2.0  # for the client's half of the closing handshake
# Small frames cost CPU time: fewer than SMALL_FRAMES under SMALL bytes may come in SMALL_S seconds.
SMALL, SMALL_FRAMES, SMALL_S = 1000, 2000, 10.0
COPIES = 2  # of a message while it is received or parsed


class HandshakeFailed(HTTPException):
    """The request does not open a WebSocket; the response says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.code = status

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Return the headers, with Upgrade if the status is 426."""
        headers = super().get_headers(*args, **kwargs)
        if self.code == HTTPStatus.UPGRADE_REQUIRED:
            headers.append(("Upgrade", "websocket"))
        return headers


@dataclass(frozen=True)
class Message:
    """A client's message: bytes, or str if it was text. index: counts from 0."""

    index: int
    content: bytes | str


class WebSocket:
    """A WebSocket that keeps only the newest message.

    A greenlet reads all the time. A new message replaces one that was not taken yet, which is
    counted as dropped.
    """

    def __init__(
        self,
        request: Request,
        max_size: int,
        idle_s: float,
        loan: Loan,
        *,
        protocol: str | None = None,
    ) -> None:
        """Answer the handshake of a request; raises HandshakeFailed before anything is sent.

        max_size: bytes of a message; a larger one closes the connection with code 1009. idle_s:
        seconds without a message that close it with 1008. loan: for the bytes held. protocol: the
        subprotocol to select, one that the client offered.
        """
        self.received = 0
        self.dropped = 0
        self._connection: Connection = request.environ["gunicorn.socket"]
        self._idle_s = idle_s
        self._loan = loan
        self._protocol = ServerProtocol(
            subprotocols=[Subprotocol(protocol)] if protocol else None,
            max_size=max_size,
        )
        # Gunicorn has already read the request, so it is serialized again for the protocol.
        handshake = Handshake(request.full_path, Headers(request.headers))
        self._protocol.receive_data(handshake.serialize())
        self._protocol.events_received()
        response = self._protocol.accept(handshake)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            raise HandshakeFailed(response.status_code, (response.body or b"").decode().strip())
        self._newest: Message | None = None
        self._arrived = Event()
        self._sending = BoundedSemaphore()  # keeps the frames of two greenlets apart
        self._closed = False
        self._content = bytearray()
        self._pending = 0  # bytes received of an incomplete message
        self._taken = 0  # bytes of the message taken last
        self._retained = 0  # bytes of the last frame, which the protocol keeps until the next
        self._text = False
        self._small = 0  # frames since _counted
        self._heard = self._counted = time.monotonic()
        self._protocol.send_response(response)
        self._flush()
        reason = "the memory for messages is full"
        loan.end = lambda: gevent.spawn(self.close, CloseCode.TRY_AGAIN_LATER, reason)
        self._reader = gevent.spawn(self._read)

    def take(self) -> Message | None:
        """Wait for a message and return the newest; None once the connection is closed."""
        self._taken = 0
        self._arrived.wait()
        self._arrived.clear()
        message, self._newest = self._newest, None
        self._taken = 0 if message is None else len(message.content)
        return None if self._closed else message

    def send(self, text: str) -> None:
        """Send a text message; does nothing if the client is gone."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())
            self._flush()

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Start the closing handshake; take() then returns None soon."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()

    def join(self) -> None:
        """Wait until the reader has ended."""
        self._reader.join()

    def _read(self) -> None:
        give_up = float("inf")
        try:
            with suppress(OSError):  # such as a client that disconnects without a close
                while time.monotonic() < give_up and self._receive():
                    if self._protocol.close_expected():
                        give_up = min(give_up, time.monotonic() + GOODBYE_S)
        except Overloaded as error:
            self.close(CloseCode.TRY_AGAIN_LATER, str(error))
        finally:
            self._forget()
            self._closed = True
            self._arrived.set()

    def _forget(self) -> None:
        """Drop received data at once; reference cycles would keep it in memory for minutes."""
        self._loan.end = self._newest = None
        self._content.clear()
        self._protocol.receive_eof()
        self._protocol.parser.close()
        self._protocol.parser_exc = None

    def _receive(self) -> bool:
        """Receive what the client sends next; return whether more may come."""
        closing = self._protocol.close_expected()
        seconds = GOODBYE_S if closing else min(PING_S, self._idle_s)
        data: bytes | None = gevent.with_timeout(
            seconds, self._connection.recv, READ_BYTES, timeout_value=None
        )
        silent_s = time.monotonic() - self._heard
        gevent.sleep(0)  # let other clients run; a fast sender would block the loop
        if data:
            self._protocol.receive_data(data)
            self._pending += len(data)
        elif data is not None:
            self._protocol.receive_eof()
        elif closing:
            return False
        elif silent_s < self._idle_s:
            self._protocol.send_ping(b"")
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._assemble(event)
        self._flush()
        self._hold()
        if silent_s >= self._idle_s and not self._newest:
            self.close(CloseCode.POLICY_VIOLATION, f"no frame for {self._idle_s:g} s")
        return data != b""

    def _assemble(self, frame: Frame) -> None:
        if len(frame.data) < SMALL:
            self._count_small()
        if frame.opcode not in {Opcode.BINARY, Opcode.TEXT, Opcode.CONT}:
            return
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        self._retained = len(frame.data)
        if self._content or not frame.fin:
            self._content += frame.data
        if not frame.fin:
            return
        content = bytes(self._content or frame.data)
        self._content, self._pending = bytearray(), 0
        text = content.decode(errors="replace") if self._text else content
        self._heard = time.monotonic()
        self.dropped += self._newest is not None
        self._newest = Message(self.received, text)
        self.received += 1
        self._arrived.set()

    def _count_small(self) -> None:
        """Count a small frame; close the connection at a flood of pings, empty or tiny frames."""
        now = time.monotonic()
        if now - self._counted > SMALL_S:
            self._counted, self._small = now, 0
        self._small += 1
        if self._small == SMALL_FRAMES:
            self._protocol.fail(CloseCode.POLICY_VIOLATION, "too many small frames")

    def _hold(self) -> None:
        """Update the loan to the bytes held; raises Overloaded if there is no room for them."""
        newest = len(self._newest.content) if self._newest else 0
        held = self._retained + newest + COPIES * (self._pending + self._taken)
        if not self._pending:
            self._loan.waiting_since = None
        elif self._loan.waiting_since is None:
            self._loan.await_client()
        self._loan.resize(held)

    def _flush(self) -> None:
        with self._sending, suppress(OSError):
            for data in self._protocol.data_to_send():
                try:
                    if data == SEND_EOF:
                        self._connection.shutdown(socket.SHUT_WR)
                    else:
                        self._connection.sendall(data)
                except OSError:  # the client is gone or reads nothing; this ends the reader
                    self._connection.shutdown(socket.SHUT_RDWR)
                    raise
