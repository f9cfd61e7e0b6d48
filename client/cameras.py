"""Read live pictures: from a camera of this machine, over RTSP, or over HTTP (MJPEG)."""

from __future__ import annotations

import threading
import time
from functools import partial
from io import BytesIO
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2
import numpy as np
import requests
from requests.auth import HTTPDigestAuth

from client import shown, video, web
from client.live import Pictures

WARM_UP_S = 2.0  # some webcams fail to read while they start
OPENING_S = 10.0  # some cameras send a whole picture only every few seconds
SILENCE_S = 5.0
MOST_BYTES = 32_000_000  # between two pictures


def device(which: int | str, stop: threading.Event) -> Pictures:
    """Yield the pictures of a camera of this machine until it goes away."""
    capture = cv2.VideoCapture(which)
    patient_until = time.monotonic() + WARM_UP_S
    try:
        while capture.isOpened() and not stop.is_set():
            read, pixels = capture.read()
            if read:
                patient_until = 0.0
                yield np.asarray(pixels, np.uint8), None
            elif time.monotonic() > patient_until:
                return
            else:
                stop.wait(0.1)
    finally:
        capture.release()


def rtsp(url: str) -> Pictures:
    """Yield the pictures of an RTSP stream until it ends; raises av.FFmpegError, ValueError."""
    options = {"rtsp_flags": "prefer_tcp"}
    with video.opened(url, options, timeout_s=(OPENING_S, SILENCE_S)) as container:
        yield from video.pictures(container)


def http(url: str) -> Pictures:
    """Yield the pictures of a stream over HTTP until it ends.

    The client downloads the stream and FFmpeg only parses it. So headers, bytes and waits are
    limited, and FFmpeg never learns the address. Raises the errors in web.Failure,
    av.FFmpegError and ValueError.
    """
    with web.Session() as session, answer(session, url) as response:
        if response.is_redirect:
            raise ValueError(f"it redirects to {shown.address(response.headers['Location'])}")
        if not response.ok:
            raise ValueError(f"{response.status_code} {response.reason}")
        kind = response.headers.get("Content-Type", "")
        if "mpegurl" in kind.lower():
            raise ValueError("it is an HLS playlist, which is not supported: give an RTSP address")
        mjpeg = kind.lower().startswith("multipart/")
        body = Body(response)
        with video.opened(body, kind="mpjpeg" if mjpeg else None) as container:
            for picture in video.pictures(container):
                body.restart()
                yield picture


def answer(session: requests.Session, url: str) -> requests.Response:
    """Request a camera's stream; a password is sent by digest if the camera supports it."""
    parts = urlsplit(url)
    login = unquote(parts.username or ""), unquote(parts.password or "")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    ask = partial(session.get, bare, timeout=(OPENING_S, SILENCE_S), stream=True)
    if not any(login):
        return ask()
    response = ask(auth=HTTPDigestAuth(*login), hooks={"response": unread})
    if response.status_code == 401:
        response = ask(auth=login)
    return response


def unread(response: requests.Response, **_: object) -> None:
    """Skip the body of a 401 answer; requests would read it to its end."""
    if response.status_code == 401:
        response.close()
        response.raw = BytesIO()


class Body:
    """A response body for FFmpeg to read, with limits on bytes and time between two pictures."""

    def __init__(self, response: requests.Response) -> None:
        self._raw = response.raw
        self._bytes = 0
        self._deadline = time.monotonic() + OPENING_S

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes, b"" at the end; raises TooLarge and TimeoutError."""
        part = bytes(self._raw.read1(count, decode_content=True))
        self._bytes += len(part)
        if self._bytes > MOST_BYTES:
            raise web.TooLarge(f"over {MOST_BYTES:,} bytes without a picture")
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return part

    def restart(self) -> None:
        """Reset the limits, after a picture has arrived."""
        self._bytes = 0
        self._deadline = time.monotonic() + SILENCE_S
