"""Read pictures and cut faces out of them: the one place for it, in serving and in training.

ImageError(ValueError)
 +-- ImageTooLarge      more pixels than the caller allows; found in the header, before decoding
 +-- UndecodableImage   empty, damaged, or not a JPEG, PNG or WebP
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

Image: TypeAlias = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP")
EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}

# decode() has its own, stricter limit, and Pillow's would only warn.
PillowImage.MAX_IMAGE_PIXELS = None


class ImageError(ValueError):
    """The picture cannot be used; the message says why."""


class ImageTooLarge(ImageError):
    """The picture has more pixels than allowed."""


class UndecodableImage(ImageError):
    """The bytes are not a whole JPEG, PNG or WebP."""


@dataclass(frozen=True)
class Box:
    """A rectangle in whole pixels; x and y are its left upper corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def within(cls, image: Image, left: float, top: float, right: float, bottom: float) -> Box:
        """Round corners to whole pixels and clip them to the image; what lies outside is empty."""
        height, width = image.shape[:2]
        x0, x1 = (round(min(max(v, 0), width)) for v in (left, right))
        y0, y1 = (round(min(max(v, 0), height)) for v in (top, bottom))
        return cls(x0, y0, max(x1 - x0, 0), max(y1 - y0, 0))

    @property
    def short_side(self) -> int:
        """The shorter side in pixels."""
        return min(self.width, self.height)

    @property
    def long_side(self) -> int:
        """The longer side in pixels."""
        return max(self.width, self.height)


def decode(data: bytes, max_pixels: int = 50_000_000) -> Image:
    """Decode a JPEG, PNG or WebP, turned upright as its EXIF orientation says.

    Any colour model and bit depth comes back as uint8 RGB of shape (height, width, 3), read-only;
    transparency is dropped and of an animation the first picture is taken.

    Raises ImageTooLarge and UndecodableImage.
    """
    if not data:
        raise UndecodableImage("The picture is empty (0 bytes).")
    try:
        picture: PillowImage.Image = PillowImage.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow's parsers raise nearly anything on a damaged header
        raise UndecodableImage("The bytes are not a JPEG, PNG or WebP picture.") from error
    if picture.width * picture.height > max_pixels:
        raise ImageTooLarge(
            f"The picture has {picture.width} x {picture.height} pixels; "
            f"at most {max_pixels / 1e6:g} megapixels are taken. Send a smaller one."
        )
    try:
        upright = UPRIGHT.get(picture.getexif().get(EXIF_ORIENTATION, 1))
        if picture.mode.startswith("I"):  # 16 bits of grey, which convert() would clip at 255
            picture = PillowImage.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture = picture.convert("RGB")
        if upright is not None:
            picture = picture.transpose(upright)
    except Exception as error:  # as above: on damaged data nearly anything
        raise UndecodableImage(f"The picture is damaged or incomplete: {error}") from error
    return np.asarray(picture)


def crop(image: Image, box: Box, margin: float, size: int) -> Image:
    """Cut the square around a box, widened by a margin, and resize it.

    The square's side is the box's longer side times 1 + 2 * margin, so that a face keeps its
    proportions; beyond the image's edge the edge pixels are repeated.

    Returns uint8 RGB of shape (size, size, 3). Raises ValueError for an empty box.
    """
    if box.short_side < 1:
        raise ValueError(f"{box} is empty")
    side = max(1, round(box.long_side * (1 + 2 * margin)))
    left = box.x + (box.width - side) // 2
    top = box.y + (box.height - side) // 2
    height, width = image.shape[:2]
    x0, x1 = max(left, 0), min(left + side, width)
    y0, y1 = max(top, 0), min(top + side, height)
    square = image[y0:y1, x0:x1]
    if square.shape[:2] != (side, side):
        edges = (y0 - top, top + side - y1, x0 - left, left + side - x1)
        square = np.asarray(cv2.copyMakeBorder(square, *edges, cv2.BORDER_REPLICATE), np.uint8)
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=interpolation), np.uint8)
