"""The interface of all sources of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]


class SourceError(Exception):
    """The source gives no frames; the message says what to do about it."""


@dataclass(frozen=True, eq=False)  # comparing two arrays gives no single truth value
class Frame:
    """One picture of a source.

    index: counts from 0, dropped and unreadable ones included. name: its file or address, without
    secrets. pixels: uint8 BGR (height, width, 3). at_s: seconds on the source's own clock; for a
    video file, from its start. time: when it was read, UTC.
    """

    index: int
    name: str
    pixels: Image
    at_s: float
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


class Source(Protocol):
    """A camera, a stream, a video file or a folder of pictures.

    live: only the newest frame is used; otherwise every frame is. stills: unrelated pictures, each
    shown for longer than a video frame. fps: frames per second, reported or typical. total: number
    of frames, 0 if unknown. dropped: frames replaced by a newer one before they were taken. lost:
    the source is gone and is being reopened. newest: the last frame read, taken or not.
    """

    name: str
    live: bool
    stills: bool
    fps: float
    total: int
    dropped: int
    lost: bool
    newest: Frame | None

    def frames(self) -> Iterator[Frame | None]:
        """Yield the next frame, or None if none came for a moment; ends with the source.

        Raises SourceError if no frame at all could be read.
        """
