"""Films for the imitated camera, made from the free portrait: where the face is, is known."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from model.images import Image

WIDTH, HEIGHT = 640, 480
FPS = 30  # at which Chromium plays a Motion JPEG
SECONDS = 8  # of which the mask is on for the first half
# Where a person sees the face in the portrait of 512 x 512 pixels: left, top, width, height.
FACE = (178, 70, 92, 108)
BACKGROUND = (90, 80, 70)
BITS, BIT_SIDE = 9, 16  # the frame's number, in squares along the lower edge, lowest bit first

Rectangle = tuple[float, float, float, float]


def placing(index: int) -> tuple[float, float, float]:
    """Return scale, left and top of the portrait in a frame: it goes round, nearer and farther."""
    turn = 2 * np.pi * index / (FPS * SECONDS)
    scale = 0.85 + 0.15 * np.sin(3 * turn)
    return scale, 110 + 90 * np.sin(2 * turn), 20 + 20 * np.cos(2 * turn)


def face_in(index: int) -> Rectangle:
    """Return left, top, width and height of the face in a frame, in its pixels."""
    scale, left, top = placing(index)
    x, y, width, height = FACE
    return left + x * scale, top + y * scale, width * scale, height * scale


def frames(portrait: Image, masked: Image) -> Iterator[Image]:
    """Draw the frames, each with its number in its lower edge."""
    for index in range(FPS * SECONDS):
        scale, left, top = placing(index)
        shown = masked if index < FPS * SECONDS / 2 else portrait
        matrix = np.array([[scale, 0, left], [0, scale, top]])
        frame = cv2.warpAffine(shown, matrix, (WIDTH, HEIGHT), borderValue=BACKGROUND)
        for bit in range(BITS):
            squares = slice(bit * BIT_SIDE, (bit + 1) * BIT_SIDE)
            frame[-BIT_SIDE:, squares] = 255 if index >> bit & 1 else 0
        yield frame


def write_mjpeg(path: Path, images: Iterable[Image]) -> None:
    """Write pictures as Chromium's imitated camera plays them, over and over."""
    with path.open("wb") as film:
        for image in images:
            film.write(cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())


def write_video(path: Path, images: Iterable[Image]) -> None:
    """Write pictures as a video file that Chromium plays: VP8 in WebM."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), FPS, (WIDTH, HEIGHT))
    assert film.isOpened()
    for image in images:
        film.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    film.release()


# In the page: the number of the frame that the camera or the film shows now.
NUMBER = f"""() => {{
  const video = document.querySelector("#video");
  const canvas = new OffscreenCanvas({WIDTH}, {BIT_SIDE});
  const context = canvas.getContext("2d", {{ willReadFrequently: true }});
  context.drawImage(video, 0, {BIT_SIDE - HEIGHT});
  let number = 0;
  for (let bit = 0; bit < {BITS}; bit += 1) {{
    const at = bit * {BIT_SIDE} + {BIT_SIDE // 2};
    if (context.getImageData(at, {BIT_SIDE // 2}, 1, 1).data[0] > 127) number |= 1 << bit;
  }}
  return number;
}}"""
