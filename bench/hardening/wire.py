"""HTTP over plain sockets, to send requests that HTTP libraries refuse to send."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

BODILESS = {100, 101, 204, 304}


@dataclass(frozen=True)
class Answer:
    """The answer to one request."""

    status: int
    headers: Message
    body: bytes


def connect(
    url: str, timeout_s: float = 30, receive_bytes: int | None = None, source: str = ""
) -> socket.socket:
    """Return a connection to a service.

    receive_bytes: size of the receive buffer. source: the client's address, such as 127.0.0.2.
    """
    address = urlsplit(url)
    sock = socket.socket()
    if source:
        sock.bind((source, 0))
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(timeout_s)
    sock.connect((address.hostname, address.port))
    return sock


def answers(sock: socket.socket, *, head: bool = False) -> Iterator[Answer]:
    """Yield answers until the connection ends; head: they answer HEAD and have no bodies."""
    with sock.makefile("rb") as file:
        while line := file.readline():
            status = int(line.split()[1])
            headers = http.client.parse_headers(file)
            length = 0 if head or status in BODILESS else int(headers.get("Content-Length", 0))
            yield Answer(status, headers, file.read(length))


def told(url: str, *parts: bytes, pause_s: float = 0.0) -> list[Answer]:
    """Send the parts, end the sending side, and return all answers."""
    with connect(url) as sock:
        for number, part in enumerate(parts):
            if number:
                time.sleep(pause_s)
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        return list(answers(sock))


def post(body: bytes, *headers: str, path: str = "/predict", version: str = "1.1") -> bytes:
    """Return a POST of a JPEG; adds Content-Length unless a header sets the body's length."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: image/jpeg", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def get(path: str = "/healthz", *headers: str, method: str = "GET") -> bytes:
    """Return a request without a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")
