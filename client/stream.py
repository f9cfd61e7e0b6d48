"""Send frames over one WebSocket, /stream, or over POST /predict if that is not possible."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from client import answers, shown, web
from client.answers import Verdicts
from client.api import TRANSIENT, ApiError, Refused, Service, Unreachable

FULL_S = 30.0  # until the next try if the service has too many streams open
GOODBYE_S = 1.0


class NoStream(ApiError):
    """The service answers but opens no stream. try_again_s: None if it never will."""

    def __init__(self, message: str, try_again_s: float | None) -> None:
        super().__init__(message)
        self.try_again_s = try_again_s


class Stream:
    """Sends the frames of one source to a service, one at a time.

    A face's track_id stays unique across reconnections.
    """

    def __init__(self, service: Service, note: Callable[[str], None]) -> None:
        self._service = service
        self._note = note
        self._connection: ClientConnection | None = None
        self._sent = 0
        self._first_id = self._next_id = 0
        self._not_before = 0.0

    def ask(self, jpeg: bytes) -> Verdicts:
        """Send one JPEG frame and return its verdicts; raises Unreachable and Refused."""
        if time.monotonic() < self._not_before:
            return self._service.predict(jpeg)
        fresh = self._connection is None
        try:
            return self._ask(jpeg)
        except NoStream as error:
            self._fall_back(error)
            return self._service.predict(jpeg)
        except ConnectionClosed as error:
            self._connection = None
            code = error.rcvd.code if error.rcvd else None
            if code == CloseCode.MESSAGE_TOO_BIG:
                raise Refused("The frame has more bytes than the service accepts.") from error
            if code == CloseCode.POLICY_VIOLATION and not fresh:  # it was idle for too long
                return self.ask(jpeg)
            raise Unreachable(f"the stream was closed: {closing(error)}") from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self, jpeg: bytes) -> Verdicts:
        connection = self._connection or self._connect()
        started = time.perf_counter()
        connection.send(jpeg)
        frame, self._sent = self._sent, self._sent + 1
        try:
            answer = self._answer(connection, frame)
            round_trip_ms = (time.perf_counter() - started) * 1000
            if "faces" in answer:
                return self._numbered(answers.verdicts(answer, round_trip_ms))
            problem = answers.PROBLEM.validate_python(answer)
        except TimeoutError as error:
            self._leave(connection)
            raise Unreachable(f"no answer within {self._service.timeout_s:g} s") from error
        except ValueError as error:
            self._leave(connection)
            raise Unreachable(
                f"{self._service.place} sent a message without verdicts over the stream"
            ) from error
        if problem.status in TRANSIENT:
            raise Unreachable(str(problem))
        raise Refused(str(problem))

    def _answer(self, connection: ClientConnection, frame: int) -> dict[str, Any]:
        """Return the answer to a frame; raises TimeoutError, and ValueError if it is not JSON."""
        deadline = time.monotonic() + self._service.timeout_s
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            answer = answers.parsed(connection.recv(left_s))
            if answer.get("frame_id") == frame:
                return answer

    def _leave(self, connection: ClientConnection) -> None:
        self._connection = None
        connection.close(CloseCode.GOING_AWAY)

    def _numbered(self, found: Verdicts) -> Verdicts:
        ids = [face.track_id for face in found.faces if face.track_id is not None]
        self._next_id = max([self._next_id, *(self._first_id + n + 1 for n in ids)])
        return found.numbered_from(self._first_id)

    def _connect(self) -> ClientConnection:
        service = self._service
        root = service.url.rstrip("/").replace("http", "ws", 1)
        query = f"?{urlencode(service.query)}" if service.query else ""
        try:
            self._connection = connect(
                f"{root}/stream{query}",
                additional_headers=dict(service.headers),
                compression=None,  # a JPEG is already compressed
                open_timeout=service.timeout_s,
                close_timeout=GOODBYE_S,
                max_size=answers.MOST_BYTES,
                create_connection=Direct,
                legacy=True,
            )
        except InvalidStatus as error:
            raise refusal(error) from error
        except (WebSocketException, ValueError) as error:  # its text may repeat the address
            raise NoStream(f"no WebSocket: {type(error).__name__}", None) from error
        except (OSError, EOFError) as error:
            reason = web.reason(error, service.timeout_s)
            raise Unreachable(f"{service.place}: {reason}") from error
        self._sent, self._first_id = 0, self._next_id
        return self._connection

    def _fall_back(self, error: NoStream) -> None:
        self._not_before = time.monotonic() + (error.try_again_s or float("inf"))
        self._note(f"The service opens no stream ({error}); frames go to /predict one by one.")


class Direct(ClientConnection):
    """A connection that follows no redirects: they would send the key to another address."""

    def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Open the WebSocket; raises NoStream if the service redirects."""
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            where = error.response.headers.get("Location")
            if where and 300 <= error.response.status_code < 400:
                raise NoStream(f"it redirects to {shown.address(where)}", None) from error
            raise


def refusal(error: InvalidStatus) -> ApiError:
    """Return the error for a stream that was refused."""
    response = error.response
    try:
        content = answers.parsed(response.body or b"")
    except ValueError:
        content = {}
    status = response.status_code
    reason = str(answers.problem(content, status, response.reason_phrase))
    wait_s = web.retry_after(response.headers.get("Retry-After"))
    if status == 503:
        return NoStream(reason, wait_s or FULL_S)
    if status in TRANSIENT:
        return Unreachable(reason, wait_s)
    if status == 401:
        return Refused(reason)
    return NoStream(reason, None)


def closing(error: ConnectionClosed) -> str:
    """Return why a connection ended."""
    if error.rcvd and error.rcvd.reason:
        return error.rcvd.reason
    if error.sent and error.sent.code == CloseCode.MESSAGE_TOO_BIG:
        return f"an answer has more than {answers.MOST_BYTES:,} bytes"
    return "connection lost"
