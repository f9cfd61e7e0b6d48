"""Ask the service about a frame; what comes back is typed, and so is what goes wrong.

ApiError(Exception)
 +-- Unreachable   no connection, no answer in time, or 429, 502, 503, 504: worth another try
 +-- Refused       any other answer that holds no verdicts: the same frame would fare the same
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import cv2
import numpy as np
import requests

from client.frames import Image

TRANSIENT = {429, 502, 503, 504}


class ApiError(Exception):
    """The service gave no verdicts; the message says why."""


class Unreachable(ApiError):
    """The service cannot answer now. retry_after_s: how long it asks to wait, if it does."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(ApiError):
    """The service will not answer this frame."""


@dataclass(frozen=True)
class Box:
    """A rectangle in whole pixels of the frame; x and y are its left upper corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Face:
    """One face. label: mask, no_mask or uncertain. probabilities and confidence: 0..1.

    track_id: whose face it is, of a stream; None where nobody followed it.
    """

    box: Box
    label: str
    probabilities: Mapping[str, float]
    detection_confidence: float
    track_id: int | None = None


@dataclass(frozen=True)
class Verdicts:
    """The answer for one frame; `answer` is all of it, as the service sent it.

    first_track_id: the least that a track_id of the same connection has.
    """

    faces: tuple[Face, ...]
    round_trip_ms: float
    request_id: str
    answer: Mapping[str, Any]
    first_track_id: int = 0

    def numbered_from(self, first: int) -> Verdicts:
        """Return the same with `first` added to every track_id."""
        faces = tuple(
            face if face.track_id is None else replace(face, track_id=face.track_id + first)
            for face in self.faces
        )
        return replace(self, faces=faces, first_track_id=first)


@dataclass(frozen=True)
class Service:
    """A mask service. url: its root. query and headers: the parameters of every request."""

    url: str
    timeout_s: float = 10.0
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    session: requests.Session = field(default_factory=requests.Session)

    def predict(self, jpeg: bytes) -> Verdicts:
        """Send one frame, a JPEG, and return its verdicts. Raises Unreachable and Refused."""
        started = time.perf_counter()
        try:
            response = self.session.post(
                f"{self.url.rstrip('/')}/predict",
                params=dict(self.query),
                data=jpeg,
                headers={
                    "Content-Type": "image/jpeg",
                    "Accept": "application/json",
                    **self.headers,
                },
                timeout=self.timeout_s,
                allow_redirects=False,  # requests would follow with a GET and lose the frame
            )
        except requests.RequestException as error:
            raise Unreachable(self._reason(error)) from error
        round_trip_ms = (time.perf_counter() - started) * 1000
        if response.status_code in TRANSIENT:
            raise Unreachable(problem(response), retry_after(response.headers.get("Retry-After")))
        if response.status_code != 200:
            raise Refused(problem(response))
        try:
            return verdicts(response.json(), round_trip_ms)
        except (ValueError, LookupError, TypeError) as error:
            kind = response.headers.get("Content-Type", "nothing that is named")
            raise Refused(
                f"{response.url} answered 200 with {kind}, which holds no verdicts. "
                "Is --url the address of a mask service?"
            ) from error

    def _reason(self, error: requests.RequestException) -> str:
        if isinstance(error, requests.Timeout):
            return f"no answer within {self.timeout_s:g} s"
        cause: BaseException = error
        while nested := cause.__cause__ or cause.__context__:  # requests wraps three times
            cause = nested
        return getattr(cause, "strerror", None) or str(cause)


def as_jpeg(pixels: Image, quality: int) -> bytes:
    """Encode a frame; raises Refused for one that no JPEG can hold (over 65,500 pixels a side)."""
    try:
        encoded, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = pixels.shape[:2]
        raise Refused(f"{width} x {height} pixels cannot be encoded as a JPEG.")
    return np.asarray(data).tobytes()


def verdicts(answer: dict[str, Any], round_trip_ms: float) -> Verdicts:
    """Read an answer; raises ValueError, LookupError or TypeError if it is not the contract's."""
    faces = tuple(
        Face(
            box=Box(**{side: int(face["box"][side]) for side in ("x", "y", "width", "height")}),
            label=str(face["label"]),
            probabilities={name: float(p) for name, p in dict(face["probabilities"]).items()},
            detection_confidence=float(face["detection_confidence"]),
            track_id=int(face["track_id"]) if "track_id" in face else None,
        )
        for face in answer["faces"]
    )
    return Verdicts(faces, round_trip_ms, str(answer["request_id"]), answer)


def problem(response: requests.Response) -> str:
    """Put an error's status, title and detail (RFC 9457) into one line."""
    try:
        body = dict(response.json())
    except (ValueError, TypeError):
        body = {}
    body = {"title": response.reason} | body | {"status": response.status_code}
    if response.is_redirect:
        body["detail"] = f"the service is at {response.headers['Location']}; give that as --url."
    elif len(body) == 2:
        body["detail"] = f"sent by {response.url}, which may not be a mask service."
    return sentence(body)


def sentence(problem: Mapping[str, Any]) -> str:
    """Put status, title and detail of a problem into one line."""
    line = f"{problem.get('status')} {problem.get('title') or 'without a reason'}"
    return line + (f": {problem['detail']}" if problem.get("detail") else "")


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; None if it is neither."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            return float(value)
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)
