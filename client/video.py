"""Read video with PyAV: upright BGR pictures with their times in the container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.format import Flags

from client import web
from client.frames import Image

MOST_PIXELS = 70_000_000  # twice 8K; a header of a few bytes can claim four billion
USUAL_FPS = 25.0  # for the few containers that report no frame rate
MOST_FPS = 240.0  # some report their clock's ticks instead
UNTIMED = {"mpjpeg"}  # has no times; FFmpeg invents them at 25 pictures a second
QUARTERS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


def opened(
    file: Any,
    options: dict[str, str] | None = None,
    kind: str | None = None,
    timeout_s: tuple[float, float] | None = None,
) -> InputContainer:
    """Open a file, an address or a readable object; raises av.FFmpegError, OSError, ValueError.

    kind: FFmpeg's name of the format, None to detect it. timeout_s: to open and to read.
    The text of an error may hold the address with its password: show only its `reason`.
    """
    bounds = {"max_pixels": str(MOST_PIXELS)}
    container: InputContainer = av.open(
        file,
        format=kind,
        options=bounds | (options or {}),
        timeout=timeout_s,
        metadata_errors="replace",
    )
    if not container.streams.video:
        container.close()
        raise ValueError("it holds no video")
    return container


def rate(container: InputContainer) -> float:
    """Return the frames per second that a container reports, or USUAL_FPS."""
    stream = container.streams.video[0]
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    return fps if 0 < fps <= MOST_FPS else USUAL_FPS


def start_s(container: InputContainer) -> float:
    """Return the seconds at which a container's clock starts: not 0 for recorded broadcasts."""
    anywhere = Flags.ts_discont in Flags(container.format.flags)
    return (container.start_time or 0) / av.time_base if anywhere else 0.0


def count(container: InputContainer) -> int:
    """Return the number of frames that a file reports, or an estimate; 0 if unknown."""
    stream = container.streams.video[0]
    if stream.frames:
        return int(stream.frames)
    return round((container.duration or 0) / av.time_base * rate(container))


def pictures(container: InputContainer) -> Iterator[tuple[Image, float | None]]:
    """Yield each picture and its time in seconds, None if the container has no times.

    Damaged frames are skipped. Raises av.FFmpegError and OSError if reading fails.
    """
    stream = container.streams.video[0]
    timed = container.format.name not in UNTIMED
    for packet in container.demux(stream):
        try:
            frames = stream.decode(packet)
        except av.InvalidDataError:
            continue
        for frame in frames:
            pixels = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            turn = QUARTERS.get(frame.rotation % 360)
            if turn is not None:
                pixels = np.asarray(cv2.rotate(pixels, turn), np.uint8)
            yield pixels, frame.time if timed else None


def reason(error: BaseException) -> str:
    """Return why a video does not open or ended, without the address that FFmpeg adds."""
    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    if isinstance(error, av.FFmpegError):
        return error.strerror or type(error).__name__
    return str(error) if isinstance(error, ValueError) else web.reason(error)
