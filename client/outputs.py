"""Write down what was answered: an annotated video and a line of JSON per frame."""

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np

from client.answers import Verdicts
from client.frames import Frame, Image

LONGEST_SIDE = 3840  # few players take an MPEG-4 video beyond it
LONGEST_GAP_S = 2.0


def json_line(frame: Frame, verdicts: Verdicts) -> str:
    """Return the line of one answered frame."""
    return json.dumps(
        {
            "frame": frame.index,
            "source": frame.name,
            "time": frame.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "round_trip_ms": round(verdicts.round_trip_ms, 1),
            "answer": verdicts.answer,
        }
    )


class Film:
    """An MPEG-4 video whose size is that of its first picture; playable once it is closed.

    Of a recording every picture is one frame. Of a live source, whose pictures come as they are
    answered, each is shown for as long as it was the newest, up to 2 s: time runs as it ran, but
    an outage is not filmed.
    """

    def __init__(self, path: Path, fps: float, *, live: bool) -> None:
        self._path = path
        self._fps = fps
        self._live = live
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._held: Image | None = None
        self._due = 0.0

    def add(self, picture: Image) -> None:
        """Add a uint8 BGR picture; raises OSError if the video cannot be written at all."""
        if self._writer is None:
            self._size = video_size(picture)
            self._writer = opened_writer(self._path, self._fps, self._size)
        fitted = letterboxed(picture, self._size)
        if not self._live:
            self._writer.write(fitted)
            return
        now = time.monotonic()
        self._due = max(self._due, now - LONGEST_GAP_S)
        while self._held is not None and self._due < now:
            self._writer.write(self._held)
            self._due += 1 / self._fps
        self._held = fitted

    def close(self) -> None:
        """Write what is left and make the file playable."""
        if self._writer is None:
            return
        if self._held is not None:
            self._writer.write(self._held)
        self._writer.release()


def opened_writer(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """Open a video for writing; raises OSError if that fails."""
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, size)
    if not writer.isOpened():
        raise OSError(f"{path} cannot be written as a video of {size[0]} x {size[1]} pixels.")
    return writer


def video_size(picture: Image) -> tuple[int, int]:
    """Return width and height for a video of a picture: even, as the codec wants, and bounded."""
    height, width = picture.shape[:2]
    shrink = min(1.0, LONGEST_SIDE / max(height, width))
    return max(int(width * shrink) // 2 * 2, 16), max(int(height * shrink) // 2 * 2, 16)


def letterboxed(picture: Image, size: tuple[int, int]) -> Image:
    """Fit a picture into width and height, its proportions kept and the rest black."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    if abs(width - size[0]) <= 1 and abs(height - size[1]) <= 1:
        inner = size  # an odd last row or column is not worth a black edge
    else:
        inner = (max(round(width * scale), 1), max(round(height * scale), 1))
    if inner != (width, height):
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        picture = np.asarray(cv2.resize(picture, inner, interpolation=way), np.uint8)
    across, down = size[0] - inner[0], size[1] - inner[1]
    if not (across or down):
        return picture
    left, top = across // 2, down // 2
    edges = (top, down - top, left, across - left)
    boxed = cv2.copyMakeBorder(picture, *edges, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.asarray(boxed, np.uint8)
