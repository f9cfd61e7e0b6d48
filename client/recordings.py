"""Video files and pictures: every frame, in order, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from client.frames import Frame, Image, SourceError

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
PICTURES_PER_SECOND = 1.5
USUAL_FPS = 25.0  # for the few containers that tell no frame rate
MOST_FPS = 240.0  # some tell their clock's ticks instead
TEXT = cv2.VideoWriter.fourcc(*"ansi")


@dataclass
class Recording:
    """A source that waits: nothing is dropped, nothing goes away.

    total: how many frames there are, as far as the file tells; 0 if it does not.
    """

    name: str
    fps: float
    pictures: Iterator[Frame]
    stills: bool
    total: int = 0
    live: bool = False
    dropped: int = 0
    lost: bool = False
    newest: Frame | None = None

    def frames(self) -> Iterator[Frame]:
        """Yield every frame; raises SourceError when not one could be read."""
        for frame in self.pictures:
            self.newest = frame
            yield frame
        if self.newest is None:
            raise SourceError(f"{self.name} holds no readable picture.")


def video(path: Path) -> Recording:
    """Open a video file; raises SourceError if it is not one."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    # FFmpeg renders plain text as a film of letters, which nobody means.
    if not capture.isOpened() or int(capture.get(cv2.CAP_PROP_FOURCC)) == TEXT:
        capture.release()
        raise SourceError(
            f"{path} is neither a picture ({', '.join(sorted(PICTURES))}) nor a video that "
            "can be read. If it is a video, convert it: ffmpeg -i FILE film.mp4"
        )
    fps = capture.get(cv2.CAP_PROP_FPS)
    total = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    if not 0 < fps <= MOST_FPS:
        fps = USUAL_FPS
    return Recording(str(path), fps, film(path, capture), stills=False, total=total)


def film(path: Path, capture: cv2.VideoCapture) -> Iterator[Frame]:
    """Yield the frames of an open video file and close it."""
    try:
        index = 0
        while True:
            read, pixels = capture.read()
            if not read:
                return
            yield Frame(index, str(path), np.asarray(pixels, np.uint8))
            index += 1
    finally:
        capture.release()


def folder(path: Path, note: Callable[[str], None]) -> Recording:
    """Open the pictures of a folder, sorted by name; raises SourceError if there are none."""
    files = sorted(file for file in path.iterdir() if is_picture(file))
    if not files:
        raise SourceError(f"{path} holds no picture ({', '.join(sorted(PICTURES))}).")
    return pictures(str(path), files, note)


def is_picture(path: Path) -> bool:
    """Tell whether a path names a picture; hidden files, which macOS leaves about, do not count."""
    return path.suffix.lower() in PICTURES and path.name[0] != "." and path.is_file()


def pictures(name: str, files: list[Path], note: Callable[[str], None]) -> Recording:
    """Make a source of picture files; one that cannot be read is noted and skipped."""

    def readable() -> Iterator[Frame]:
        for index, file in enumerate(files):
            pixels = read_picture(file)
            if pixels is None:
                note(f"{file} cannot be read as a picture and is skipped.")
            else:
                yield Frame(index, str(file), pixels)

    return Recording(name, PICTURES_PER_SECOND, readable(), stills=True, total=len(files))


def read_picture(path: Path) -> Image | None:
    """Read a picture upright as its EXIF orientation says; None if that cannot be done."""
    try:
        # Not cv2.imread, which takes no path beyond ASCII on Windows.
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)
