"""A client for the soak test that uses the service in every possible way."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench.frames import frame
from bench.hardening.mutations import picture, pictures

TIMEOUT_S = 120
SIZES = ((320, 240, 0), (320, 240, 1), (640, 480, 1), (640, 480, 4), (1280, 720, 2))
JPEG = {"Content-Type": "image/jpeg"}
FINE = {200, 400, 404, 405, 413, 415, 422, 503}


class Visitor:
    """One client, with its own connection, frames and random generator."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        address = urlsplit(url)
        self._address = (str(address.hostname), int(address.port or 0))
        self._rng = random.Random(seed)  # noqa: S311 (the same each time)
        self._session = requests.Session()
        self._frames = [frame(*size) for size in SIZES]

    def visit(self) -> str:
        """Use the service once; returns the outcome. Raises requests.RequestException."""
        ways: tuple[Callable[[], str], ...] = (
            *(self._good, self._other, self._broken, self._annotated, self._wrong, self._large),
            *(self._aborted, self._unheard, self._new_connection, self._scrape, self._stream),
        )
        (way,) = self._rng.choices(ways, (40, 10, 20, 4, 6, 1, 4, 3, 6, 2, 4))
        return way()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _post(self, data: bytes, query: str = "", kind: str = "image/jpeg") -> str:
        headers = {"Content-Type": kind}
        url = f"{self._url}/predict{query}"
        return self._answered(self._session.post(url, data, headers=headers, timeout=TIMEOUT_S))

    def _answered(self, response: requests.Response) -> str:
        if response.status_code not in FINE:
            raise requests.HTTPError(f"status {response.status_code}: {response.text[:200]}")
        return str(response.status_code)

    def _good(self) -> str:
        return self._post(self._rng.choice(self._frames))

    def _other(self) -> str:
        return self._post(self._rng.choice(pictures()))

    def _broken(self) -> str:
        return self._post(picture(self._rng))

    def _annotated(self) -> str:
        return self._post(self._rng.choice(self._frames), "?annotate=true")

    def _wrong(self) -> str:
        query = self._rng.choice(("?detector=eyes", "?min_confidence=9", "?x=1", ""))
        return self._post(self._frames[0], query, self._rng.choice(("text/plain", "image/jpeg")))

    def _large(self) -> str:
        url = f"{self._url}/predict"
        try:  # on a separate connection, because gunicorn closes it without notice
            body = bytes(10_000_001)
            return self._answered(requests.post(url, body, headers=JPEG, timeout=TIMEOUT_S))
        except requests.ConnectionError:  # refused before it was sent
            return "refused early"

    def _new_connection(self) -> str:
        data = self._rng.choice(self._frames)
        url = f"{self._url}/predict"
        return self._answered(requests.post(url, data, headers=JPEG, timeout=TIMEOUT_S))

    def _scrape(self) -> str:
        return self._answered(self._session.get(f"{self._url}/metrics", timeout=TIMEOUT_S))

    def _leave(self, share: float) -> None:
        """Send part of a request and disconnect, half of the time with a reset."""
        body = self._rng.choice(self._frames)
        lines = ("Host: localhost", "Content-Type: image/jpeg", f"Content-Length: {len(body)}")
        head = "\r\n".join(("POST /predict HTTP/1.1", *lines, "", ""))
        data = head.encode() + body
        with socket.create_connection(self._address, timeout=TIMEOUT_S) as connection:
            connection.sendall(data[: max(1, int(share * len(data)))])
            if self._rng.random() < 0.5:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _aborted(self) -> str:
        self._leave(self._rng.random())
        return "left mid-body"

    def _unheard(self) -> str:
        self._leave(1)
        return "left unheard"

    def _stream(self) -> str:
        url = f"{self._url.replace('http', 'ws', 1)}/stream"
        try:
            with connect(url, compression=None, legacy=True, open_timeout=TIMEOUT_S) as stream:
                for _ in range(self._rng.randrange(6)):
                    broken = self._rng.random() < 0.3
                    stream.send(picture(self._rng) if broken else self._rng.choice(self._frames))
                    stream.recv(TIMEOUT_S)
                if self._rng.random() < 0.5:
                    stream.socket.shutdown(socket.SHUT_RDWR)
                    return "stream left"
        except WebSocketException as error:
            return f"stream: {type(error).__name__}"
        return "stream closed"
