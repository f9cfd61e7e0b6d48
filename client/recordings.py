"""Video files and pictures: every frame in order, read when it is needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
from av.container import InputContainer
from PIL import ImageOps
from pillow_heif import register_heif_opener

from client import shown, video
from client.frames import Frame, Image, SourceError

register_heif_opener()
PICTURES = {
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif"),
}
KINDS = ", ".join(sorted(PICTURES))
PICTURES_PER_SECOND = 1.5
NAMED = 10  # skipped files named in a note
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Cameras of 8 to 14 bits write into 16, which would be nearly black, as the service knows too.
SENSORS, DARK = (8, 10, 12, 14, 16), 1 << 14 >> 8


@dataclass
class Recording:
    """A source that waits, so no frame is dropped.

    total: the number of frames that the file reports, 0 if unknown.
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
        """Yield every frame; raises SourceError if none could be read."""
        for frame in self.pictures:
            self.newest = frame
            yield frame
        if self.newest is None:
            raise SourceError(f"{self.name} holds no readable picture.")


def file(path: Path, note: Callable[[str], None]) -> Recording:
    """Open a picture or video by its content; raises SourceError if it is neither."""
    if is_picture(path):
        return pictures(str(path), [path], note)
    try:
        container = video.opened(str(path))
    except (av.FFmpegError, OSError, ValueError):
        container = None
    kind = container.format.name if container else ""
    if container and (kind.endswith("_pipe") or kind == "image2"):  # a picture by its content
        container.close()
        return pictures(str(path), [path], note)
    if container is None or kind == "tty":  # FFmpeg renders plain text as a video
        raise SourceError(
            f"{path} is neither a picture ({KINDS}) nor a readable video. "
            "If it is a video, convert it: ffmpeg -i FILE film.mp4"
        )
    fps, total = video.rate(container), video.count(container)
    return Recording(str(path), fps, film(path, container, note), stills=False, total=total)


def film(path: Path, container: InputContainer, note: Callable[[str], None]) -> Iterator[Frame]:
    """Yield the frames of an open video file and close it."""
    step_s = 1 / video.rate(container)
    start_s = video.start_s(container)
    at_s = -step_s
    with container:
        try:
            for index, (pixels, time_s) in enumerate(video.pictures(container)):
                at_s = at_s + step_s if time_s is None else time_s - start_s
                yield Frame(index, str(path), pixels, at_s)
        except (av.FFmpegError, OSError, ValueError) as error:
            note(f"{path} is damaged and ends early: {video.reason(error)}")


def folder(path: Path, note: Callable[[str], None]) -> Recording:
    """Open the pictures of a folder, sorted by name; raises SourceError if there are none."""
    there = sorted(file for file in path.iterdir() if file.name[0] != "." and file.is_file())
    files = [file for file in there if is_picture(file)]
    others = [shown.plain(file.name, 80) for file in there if not is_picture(file)]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        note(
            f"Skipped in {path}, as the names are not of pictures: "
            f"{', '.join(others[:NAMED])}{more}"
        )
    if not files:
        raise SourceError(f"{path} holds no picture ({KINDS}).")
    return pictures(str(path), files, note)


def is_picture(path: Path) -> bool:
    """Return whether a path names a picture; hidden files, such as macOS creates, do not count."""
    return path.suffix.lower() in PICTURES and path.name[0] != "." and path.is_file()


def pictures(name: str, files: list[Path], note: Callable[[str], None]) -> Recording:
    """Make a source of picture files; one that cannot be read is noted and skipped."""

    def readable() -> Iterator[Frame]:
        read = 0
        for index, path in enumerate(files):
            try:
                data = path.read_bytes()
                if data.startswith(JPEG) and not data.endswith(JPEG_END):
                    data += JPEG_END  # some cameras leave these two bytes out
                    note(f"{path} is cut short; the part that exists is used.")
                pixels = decoded(data)
            except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
                why = getattr(error, "strerror", None) or "it is damaged, too large or no picture"
                note(f"{path} cannot be read as a picture and is skipped: {why}.")
            else:
                yield Frame(index, str(path), pixels, read / PICTURES_PER_SECOND)
                read += 1

    return Recording(name, PICTURES_PER_SECOND, readable(), stills=True, total=len(files))


def decoded(data: bytes) -> Image:
    """Decode a picture, or the first of several, and turn it upright by its EXIF orientation.

    Returns uint8 BGR. Raises OSError, ValueError, SyntaxError or DecompressionBombError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about large pictures and odd EXIF data
        with PIL.Image.open(BytesIO(data)) as picture:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode == "I;16":  # Pillow's own conversion would clip all values over 255
                upright = upright.point(lambda value: value / 256).convert("L")
            pixels = np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
    return pixels if pixels.max() >= DARK else brightened(data, pixels)


def brightened(data: bytes, pixels: Image) -> Image:
    """Return nearly black BGR pixels; those of a 16-bit file scaled from its sensor's depth."""
    mode = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if deep is None or deep.dtype != np.uint16:
        return pixels
    bits = next(bits for bits in SENSORS if int(deep.max()) < 1 << bits)
    return np.asarray(np.asarray(deep, np.uint16) >> (bits - 8), np.uint8)
