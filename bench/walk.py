"""Make films for a browser's fake camera; the frame's number gives the true place of the face."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from bench.films import FACE, GROUND, HEIGHT, WIDTH, paste, portraits
from model.images import Image

FPS = 30  # Chromium's rate for a Motion JPEG
SECONDS = 8  # the mask is on in the first half
BITS, BIT_SIDE = 9, 16  # the frame's number as squares along the lower edge, lowest bit first

Rectangle = tuple[float, float, float, float]  # left, top, width, height

# JavaScript that returns the number of the frame that the page's video shows now.
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


def placing(number: int) -> tuple[float, float, float]:
    """Return x and y of the face's centre, and its scale; the face circles and comes nearer."""
    turn = 2 * math.pi * number / (FPS * SECONDS)
    x, y = WIDTH / 2 + 90 * math.sin(2 * turn), 170 + 20 * math.cos(2 * turn)
    return x, y, 1 + 0.2 * math.sin(3 * turn)


def face_in(number: int) -> Rectangle:
    """Return the box of the face in a frame."""
    x, y, scale = placing(number)
    width, height = FACE.width * scale, FACE.height * scale
    return x - width / 2, y - height / 2, width, height


def walk() -> Iterator[Image]:
    """Yield frames of a person who moves and puts a mask on and off, marked with their number."""
    looks = portraits()
    for number in range(FPS * SECONDS):
        frame = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
        paste(frame, looks[number < FPS * SECONDS / 2], *placing(number))
        for bit in range(BITS):
            squares = slice(bit * BIT_SIDE, (bit + 1) * BIT_SIDE)
            frame[-BIT_SIDE:, squares] = 255 * (number >> bit & 1)
        yield frame


def write_mjpeg(path: Path, pictures: Iterable[Image]) -> None:
    """Write a film as Motion JPEG, which Chromium's fake camera plays in a loop."""
    with path.open("wb") as file:
        for picture in pictures:
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            file.write(np.asarray(cv2.imencode(".jpg", bgr)[1]).tobytes())


def write_video(path: Path, pictures: Iterable[Image]) -> None:
    """Write a film as a video file that every Chromium plays: VP8 in WebM."""
    file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), FPS, (WIDTH, HEIGHT))
    for picture in pictures:
        file.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    file.release()
