"""What every source of frames gives, whatever it reads from."""

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


@dataclass(frozen=True, eq=False)  # two pictures have no one truth value
class Frame:
    """One picture of a source.

    index: counts from 0, with the dropped and the unreadable. name: the file or address that it
    is from, as it may be shown. pixels: uint8 BGR (height, width, 3). at_s: seconds on the
    source's own clock; of a video file, from its start. time: when it was read, UTC.
    """

    index: int
    name: str
    pixels: Image
    at_s: float
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


class Source(Protocol):
    """A camera, a stream, a video file or a folder of pictures.

    live: only the newest frame counts; else every frame does. stills: pictures, each shown for
    longer than a frame of a film. fps: frames per second that it tells or usually has. total:
    how many frames there will be, 0 if unknown. dropped: frames not taken before a newer one
    came. lost: it went away and is being reopened. newest: the last frame read, taken or not.
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
        """Yield the next frame, or None after a moment in which none came; ends with the source.

        Raises SourceError when not one frame could be read.
        """
