"""Ask the service over one WebSocket, /stream, and over POST /predict where that cannot be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from client.api import (
    TRANSIENT,
    ApiError,
    Refused,
    Service,
    Unreachable,
    Verdicts,
    retry_after,
    sentence,
    verdicts,
)

FULL_S = 30.0  # until the stream is tried again where the service has too many
MOST_BYTES = 16_000_000  # of an answer
GOODBYE_S = 1.0


class NoStream(ApiError):
    """The service is there, but gives no stream; try_again_s is None where it never will."""

    def __init__(self, message: str, try_again_s: float | None) -> None:
        super().__init__(message)
        self.try_again_s = try_again_s


class Stream:
    """The frames of one source to a service, one in flight.

    What identifies a face, its track_id, stays unique when the connection is made anew.
    """

    def __init__(self, service: Service, note: Callable[[str], None]) -> None:
        self._service = service
        self._note = note
        self._connection: ClientConnection | None = None
        self._sent = 0
        self._first_id = self._next_id = 0
        self._not_before = 0.0

    def ask(self, jpeg: bytes) -> Verdicts:
        """Send a frame, a JPEG, and return its verdicts. Raises Unreachable and Refused."""
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
                raise Refused("The frame has more bytes than the service takes.") from error
            if code == CloseCode.POLICY_VIOLATION and not fresh:  # it was idle for too long
                return self.ask(jpeg)
            reason = error.rcvd.reason if error.rcvd else ""
            raise Unreachable(f"the stream was closed: {reason or 'connection lost'}") from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self, jpeg: bytes) -> Verdicts:
        connection = self._connection or self._connect()
        started = time.perf_counter()
        connection.send(jpeg)
        frame, self._sent = self._sent, self._sent + 1
        answer: dict[str, Any] = {}
        while answer.get("frame_id") != frame:
            try:
                answer = dict(json.loads(connection.recv(self._service.timeout_s)))
            except TimeoutError as error:
                self._connection = None
                connection.close(CloseCode.GOING_AWAY)
                raise Unreachable(f"no answer within {self._service.timeout_s:g} s") from error
            except (ValueError, TypeError) as error:
                raise Refused(f"{connection.request} answered what holds no verdicts.") from error
        round_trip_ms = (time.perf_counter() - started) * 1000
        if "faces" in answer:
            return self._numbered(verdicts(answer, round_trip_ms))
        if answer.get("status") in TRANSIENT:
            raise Unreachable(sentence(answer))
        raise Refused(sentence(answer))

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
                compression=None,  # a JPEG is compressed
                open_timeout=service.timeout_s,
                close_timeout=GOODBYE_S,
                max_size=MOST_BYTES,
                create_connection=Direct,
                legacy=True,
            )
        except InvalidStatus as error:
            raise refusal(error) from error
        except InvalidHandshake as error:
            raise NoStream(str(error), None) from error
        except (OSError, TimeoutError, EOFError) as error:
            raise Unreachable(getattr(error, "strerror", None) or str(error)) from error
        self._sent, self._first_id = 0, self._next_id
        return self._connection

    def _fall_back(self, error: NoStream) -> None:
        self._not_before = time.monotonic() + (error.try_again_s or float("inf"))
        self._note(f"The service gives no stream ({error}); frames go to /predict one by one.")


class Direct(ClientConnection):
    """A connection that follows no redirect, which would take the key to another address."""

    def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Open the WebSocket; raises NoStream where the service is said to be elsewhere."""
        try:
            super().handshake(*args, **kwargs)
        except InvalidStatus as error:
            where = error.response.headers.get("Location")
            if where and 300 <= error.response.status_code < 400:
                raise NoStream(f"it redirects to {where}", None) from error
            raise


def refusal(error: InvalidStatus) -> ApiError:
    """Say what it means that a stream was refused."""
    response = error.response
    try:
        body: Mapping[str, Any] = dict(json.loads(response.body or b""))
    except (ValueError, TypeError):
        body = {}
    reason = sentence({"status": response.status_code, "title": response.reason_phrase, **body})
    if response.status_code == 503:
        return NoStream(reason, retry_after(response.headers.get("Retry-After")) or FULL_S)
    if response.status_code in TRANSIENT:
        return Unreachable(reason, retry_after(response.headers.get("Retry-After")))
    if response.status_code == 401:
        return Refused(reason)
    return NoStream(reason, None)
