"""Send a frame to the service and read the answer.

ApiError(Exception)
 +-- Unreachable   no connection, no answer in time, no usable answer, or 429, 502, 503, 504:
 |                 worth a retry
 +-- Refused       the service refuses this frame, and would refuse it again
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import requests

from client import answers, shown, web
from client.answers import Problem, Verdicts
from client.frames import Image

TRANSIENT = {429, 502, 503, 504}


class ApiError(Exception):
    """The service gave no verdicts; the message says why."""


class Unreachable(ApiError):
    """The service cannot answer now. retry_after_s: seconds from its Retry-After, None without."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(ApiError):
    """The service will not answer this frame."""


@dataclass(frozen=True)
class Service:
    """A mask service. url: its root. query and headers: sent with every request."""

    url: str = field(repr=False)
    timeout_s: float = 10.0
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    session: requests.Session = field(default_factory=web.Session, repr=False)

    @property
    def place(self) -> str:
        """The address without secrets, for messages."""
        return shown.address(self.url)

    def predict(self, jpeg: bytes) -> Verdicts:
        """Send one JPEG frame and return its verdicts; raises Unreachable and Refused."""
        started = time.perf_counter()
        deadline = time.monotonic() + self.timeout_s
        try:
            with self.session.post(
                f"{self.url.rstrip('/')}/predict",
                params=dict(self.query),
                data=jpeg,
                headers={
                    "Content-Type": "image/jpeg",
                    "Accept": "application/json",
                    **self.headers,
                },
                timeout=self.timeout_s,
                allow_redirects=False,  # a redirect would lose the frame
                stream=True,
            ) as response:
                body = web.read(response, answers.MOST_BYTES, deadline)
        except web.Failure as error:
            raise Unreachable(f"{self.place}: {web.reason(error, self.timeout_s)}") from error
        round_trip_ms = (time.perf_counter() - started) * 1000
        if response.status_code in TRANSIENT:
            wait_s = web.retry_after(response.headers.get("Retry-After"))
            raise Unreachable(str(self._problem(response, body)), wait_s)
        if response.status_code != 200:
            raise Refused(str(self._problem(response, body)))
        try:
            return answers.verdicts(answers.parsed(body), round_trip_ms)
        except ValueError as error:
            kind = response.headers.get("Content-Type", "no content type")
            raise Unreachable(
                f"{self.place} answered 200 with {shown.plain(kind, 80)} that holds no verdicts; "
                "check that --url is the address of a mask service"
            ) from error

    def _problem(self, response: requests.Response, body: bytes) -> Problem:
        """Read the problem in an error response; without one, say which server sent it."""
        status, title = response.status_code, response.reason or ""
        if response.is_redirect:
            where = shown.address(response.headers["Location"])
            return Problem(status, title, f"it redirects to {where}; use that address as --url.")
        try:
            content = answers.parsed(body)
        except ValueError:
            content = {}
        return answers.problem(
            content or {"detail": f"sent by {self.place}, which may not be a mask service."},
            *(status, title),
        )


def as_jpeg(pixels: Image, quality: int) -> bytes:
    """Encode a frame as a JPEG; raises Refused if a side is over 65,500 pixels."""
    try:
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = pixels.shape[:2]
        raise Refused(f"{width} x {height} pixels cannot be encoded as a JPEG.")
    return np.asarray(data).tobytes()
