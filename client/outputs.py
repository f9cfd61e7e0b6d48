"""Write the results: an annotated video, and text files of complete lines."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from io import SEEK_END, FileIO
from pathlib import Path
from typing import Final, cast

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from client.answers import Verdicts
from client.frames import Frame, Image

LONGEST_SIDE = 3840  # few players support a larger video
LONGEST_GAP_S = 2.0
CLOCK: Final = 60_000  # ticks a second: whole ones at 24, 25, 29.97 and 30 fps
H264 = "libx264"  # in every PyAV on PyPI
# Playable while it is written; closing turns it into an ordinary, seekable file.
MP4 = {
    "movflags": "hybrid_fragmented+delay_moov",
    "frag_duration": "500000",  # microseconds: the most that a kill can lose
    "flush_packets": "1",
}
X264 = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}  # MPEG-4 ignores them


class OutputError(Exception):
    """Writing to a file failed; the message names the file and the reason."""


def failed(path: Path, error: BaseException) -> OutputError:
    """Make the error for a file that can no longer be written."""
    why = getattr(error, "strerror", None) or type(error).__name__
    return OutputError(
        f"{path} can no longer be written: {why}. What was written before is complete. "
        "Free disk space or choose another place, and start again."
    )


class Lines:
    """A text file of complete lines, even on a full disk; several threads may write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)
        self._lock = threading.Lock()

    def write(self, lines: str) -> None:
        """Write all lines at once, or none of them; raises OutputError."""
        with self._lock:
            start = self._file.tell() if self._file.seekable() else None
            try:
                write_all(self._file, lines.encode("utf-8", "backslashreplace"))
            except OSError as error:
                if start is not None:
                    with suppress(OSError):
                        self._file.truncate(start)
                        self._file.seek(start)
                raise failed(self._path, error) from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()


def json_line(frame: Frame, verdicts: Verdicts) -> str:
    """Return the JSON line for one answered frame."""
    return json.dumps(
        {
            "frame": frame.index,
            "source": frame.name,
            "time": frame.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "round_trip_ms": round(verdicts.round_trip_ms, 1),
            "answer": verdicts.answer,
        }
    )


class Disk:
    """A file for FFmpeg; after a failed write it refuses more data and keeps complete boxes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all bytes; raises OSError."""
        self._refuse()
        try:
            write_all(self._file, data)
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position and return it."""
        self._refuse()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def finish(self) -> None:
        """Close the file; after a failure, cut off the incomplete end."""
        with suppress(OSError), self._file:
            if self.error:
                self._file.truncate(whole_bytes(self._file))

    def _refuse(self) -> None:
        if self.error:
            raise self.error


class Film:
    """An H.264 video with the size of its first picture and the times of its source.

    The times of a live source may restart when it is reopened, and gaps are cut to 2 s. However
    the program ends, the video is playable except for the last half second at most.
    """

    def __init__(self, path: Path, fps: float, note: Callable[[str], None], *, live: bool) -> None:
        self._path, self._fps, self._note, self._live = path, fps, note, live
        self._opened: tuple[Disk, OutputContainer, VideoStream] | None = None
        self._size = (0, 0)
        self._held: Image | None = None
        self._held_at_s = 0.0
        self._shortest = CLOCK  # duration of the last picture, as no other picture follows
        self._tick = 0

    def add(self, picture: Image, at_s: float) -> None:
        """Add a uint8 BGR picture. at_s: its time in seconds. Raises OutputError."""
        if self._opened is None:
            self._size = video_size(picture)
            self._opened = self._open()
            self._tick = 0 if self._live else max(round(at_s * CLOCK), 0)
        if self._held is not None:
            gap_s = at_s - self._held_at_s
            if self._live:
                gap_s = min(gap_s, LONGEST_GAP_S) if gap_s > 0 else 1 / self._fps
            ticks = max(round(gap_s * CLOCK), 1)
            self._shortest = min(self._shortest, ticks)
            self._write(self._held, ticks)
        self._held, self._held_at_s = letterboxed(picture, self._size), at_s

    def close(self) -> None:
        """Write the last picture and finish the file; raises OutputError unless it was before."""
        if self._opened is None:
            return
        disk, container, _ = self._opened
        broken = disk.error is not None
        try:
            try:
                if self._held is not None and not broken:
                    self._write(self._held, min(self._shortest, round(CLOCK / self._fps)))
                    self._write(None, 0)
            finally:
                container.close()
        except (OSError, av.FFmpegError) as error:
            if not broken:
                raise failed(self._path, disk.error or error) from error
        finally:
            disk.finish()
            self._opened = None

    def _open(self) -> tuple[Disk, OutputContainer, VideoStream]:
        encoder = H264 if H264 in av.codecs_available else "mpeg4"
        if encoder != H264:
            self._note(
                f"{self._path} is MPEG-4 Part 2, which browsers do not play: the installed PyAV "
                "has no H.264 encoder. Install PyAV from PyPI: pip install --force-reinstall av"
            )
        try:
            disk = Disk(self._path)
        except OSError as error:
            raise failed(self._path, error) from error
        container = av.open(disk, "w", format="mp4", options=MP4)
        rate = Fraction(self._fps).limit_denominator(1001)
        stream = cast(VideoStream, container.add_stream(encoder, rate=rate, options=X264))
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        # The tags match swscale's conversion to YUV; without them players guess from the size.
        stream.codec_context.colorspace = Colorspace.ITU601
        stream.codec_context.color_range = ColorRange.MPEG
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        return disk, container, stream

    def _write(self, picture: Image | None, ticks: int) -> None:
        """Write a picture shown for `ticks` ticks; None flushes the encoder."""
        if self._opened is None:
            return
        disk, container, stream = self._opened
        frame = None
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = self._tick, Fraction(1, CLOCK)
            self._tick += ticks
        try:
            for packet in stream.encode(frame):
                packet.duration = ticks or packet.duration
                container.mux(packet)
        except (OSError, av.FFmpegError) as error:
            disk.error = disk.error or OSError(*error.args[:2])
            raise failed(self._path, disk.error) from error


def whole_bytes(file: FileIO) -> int:
    """Return the number of bytes of an MP4 file up to its last complete box or fragment."""
    length = file.seek(0, SEEK_END)
    whole = place = 0
    while file.seek(place) + 8 <= length:
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:  # the true size follows, in 8 bytes
            size = int.from_bytes(file.read(8))
        place += size
        if size < 8 or place > length:
            break
        if kind != b"moof":
            whole = place
    return whole


def write_all(file: FileIO, data: bytes) -> None:
    """Write all bytes to an unbuffered file."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def video_size(picture: Image) -> tuple[int, int]:
    """Return width and height for a video: even, as the codec requires, and within limits."""
    height, width = picture.shape[:2]
    shrink = min(1.0, LONGEST_SIDE / max(height, width))
    return max(int(width * shrink) // 2 * 2, 16), max(int(height * shrink) // 2 * 2, 16)


def letterboxed(picture: Image, size: tuple[int, int]) -> Image:
    """Fit a picture into width and height; keeps its proportions and fills the rest with black."""
    height, width = picture.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    if abs(width - size[0]) <= 1 and abs(height - size[1]) <= 1:
        inner = size  # no black edge for an odd last row or column
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
