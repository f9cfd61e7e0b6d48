"""Make films of moving faces from a public-domain portrait, with the true boxes of the faces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from bench.frames import portrait
from model.detectors.yunet import YuNet
from model.images import Box, Image
from model.training.drawing.synthesize import COLOURS, synthesize_mask

WIDTH, HEIGHT = 640, 480
FACE = Box(178, 70, 92, 108)  # in the portrait, from brow to chin
SIDE = 512  # pixels of the portrait
GROUND = 96  # grey level of the background


def portraits() -> dict[bool, Image]:
    """Return NASA's portrait of Eileen Collins, public domain, without and with a drawn mask."""
    bare = portrait()
    return {False: bare, True: synthesize_mask(bare, YuNet().detect(bare, 0.6)[0], COLOURS["blue"])}


@dataclass(frozen=True)
class Person:
    """A person in a film.

    centre: mean position of the face, pixels. face: its height in pixels. sway: movement to each
    side, pixels, once in `period` frames. masked, present: whether the person wears a mask, and is
    in the picture, in the frame with a given number.
    """

    centre: tuple[float, float]
    face: float
    sway: float = 6.0
    period: float = 37.0
    masked: Callable[[int], bool] = field(default=lambda _: False)
    present: Callable[[int], bool] = field(default=lambda _: True)


@dataclass(frozen=True)
class Noise:
    """The noise that a camera adds.

    grain: deviation of the pixels, grey levels. light: relative deviation of the frame's
    brightness. blur: longest motion blur, pixels. quality: of the JPEG.
    """

    grain: float = 4.0
    light: float = 0.03
    blur: int = 1
    quality: int = 80


@dataclass(frozen=True)
class Shot:
    """One frame: its JPEG, and for each person the box of the face, None if absent."""

    jpeg: bytes
    boxes: list[Box | None]


def film(people: list[Person], frames: int, noise: Noise, seed: int = 0) -> Iterator[Shot]:
    """Yield the frames of a film of 640 x 480 pixels."""
    random = np.random.default_rng(seed)
    looks = portraits()
    for number in range(frames):
        canvas = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
        boxes: list[Box | None] = []
        for person in people:
            if not person.present(number):
                boxes.append(None)
                continue
            scale = person.face / FACE.height
            phase = 2 * math.pi * number / person.period
            x = person.centre[0] + person.sway * math.sin(phase)
            y = person.centre[1] + person.sway / 2 * math.cos(phase * 1.3)
            boxes.append(paste(canvas, looks[person.masked(number)], x, y, scale))
        yield Shot(spoilt(canvas, noise, random), boxes)


def paste(canvas: Image, portrait: Image, x: float, y: float, scale: float) -> Box:
    """Draw head and shoulders with the face's centre at (x, y); returns the face's box."""
    face_x, face_y = FACE.x + FACE.width / 2, FACE.y + FACE.height / 2
    matrix = np.array([[scale, 0, x - face_x * scale], [0, scale, y - face_y * scale]])
    shown = np.zeros((SIDE, SIDE), np.uint8)
    shown[: FACE.y + 2 * FACE.height, FACE.x - FACE.width : FACE.x + 2 * FACE.width] = 255
    size = (canvas.shape[1], canvas.shape[0])
    drawn = cv2.warpAffine(portrait, matrix, size, flags=cv2.INTER_AREA)
    where = cv2.warpAffine(shown, matrix, size, flags=cv2.INTER_NEAREST) > 0
    canvas[where] = drawn[where]
    width, height = FACE.width * scale, FACE.height * scale
    left, top = x - width / 2, y - height / 2
    return Box.within(canvas, left, top, left + width, top + height)


def spoilt(picture: Image, noise: Noise, random: np.random.Generator) -> bytes:
    """Return a picture with a camera's noise, as JPEG."""
    length = int(random.integers(1, noise.blur + 1))
    if length > 1:
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5,) * 2, random.uniform(0, 180), 1)
        kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
        picture = np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
    light = 1 + random.normal(0, noise.light)
    grain = random.normal(0, noise.grain, picture.shape)
    bright = np.clip(picture * light + grain, 0, 255).astype(np.uint8)
    bgr = cv2.cvtColor(bright, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, noise.quality])
    return np.asarray(data).tobytes()
