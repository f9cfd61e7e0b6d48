"""Decode pictures and crop faces, the same way in serving and in training.

ImageError(ValueError)
 +-- ImageTooLarge      more pixels than the caller allows; raised before decoding
 +-- UndecodableImage   empty, damaged, or not a JPEG, PNG, WebP or AVIF
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import AvifImagePlugin
from PIL import Image as PillowImage

from model import formats
from model.headers import (
    JPEG_END,
    JPEG_START,
    PNG_START,
    TooCostly,
    TooManyPixels,
    bare,
    nearly_sharp,
    orientation,
)

Image: TypeAlias = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")
# While they are decoded, AVIFs and 16-bit PNGs take up to 22 bytes of memory per pixel, others 11.
HEAVY = 2
LONGEST_SIDE = 65_500  # pixels, JPEG's limit; also limits the row pointers of a PNG decoder
FAST_SHRINKING = (8, 4, 2)  # libjpeg-turbo takes twice as long to decode at 3/4 as at full size
LEVEL = 25.0  # degrees of roll from which a crop is turned upright; the network was trained on 12
BAND = 256  # rows copied at a time
# Cameras such as the ESP32-CAM cut off the last bytes of a JPEG, and libjpeg fills the missing rows
# with this grey. In a picture of 240 rows, one row of blocks is 7 %.
MISSING, LEAST_ROWS = 128, 0.9
# A 16-bit PNG with values under 14 bits comes from a sensor with fewer bits. Its values are scaled
# from one of these depths; read as 16 bits they would be nearly black.
SENSORS, DARK = (8, 10, 12, 14, 16), 1 << 14 >> 8
# EXIF orientations 1 to 8: those with rows and columns swapped, those that are mirrored, and the
# quarter turns to the left that each needs after mirroring.
SIDEWAYS = {5, 6, 7, 8}
MIRRORED = {2, 4, 5, 7}
TURNED = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}

NO_PICTURE = (
    "The bytes are not a JPEG, PNG, WebP or AVIF picture, or its header is damaged. Send the "
    "unchanged bytes of such a file; raw pixels must be encoded first."
)

# decode() has its own stricter limit; Pillow's would only warn.
PillowImage.MAX_IMAGE_PIXELS = None
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # not of each damaged picture
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the service's slots are the parallelism


class ImageError(ValueError):
    """The picture cannot be used; the message says why."""


class ImageTooLarge(ImageError):
    """The picture has more pixels than allowed."""


class UndecodableImage(ImageError):
    """The bytes are not a complete JPEG, PNG, WebP or AVIF."""


@dataclass(frozen=True)
class Box:
    """A rectangle in whole pixels; x and y are its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def within(cls, image: Image, left: float, top: float, right: float, bottom: float) -> Box:
        """Round the corners to whole pixels and clip to the image; a box outside becomes empty."""
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

    @property
    def area(self) -> int:
        """The number of pixels."""
        return self.width * self.height

    def common(self, other: Box) -> int:
        """Return the number of pixels that both boxes have."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(across, 0) * max(down, 0)

    def touches(self, other: Box) -> bool:
        """Return whether the boxes have pixels in common."""
        return self.common(other) > 0

    def iou(self, other: Box) -> float:
        """Return the intersection over union of both boxes, 0..1."""
        common = self.common(other)
        return common / max(self.area + other.area - common, 1)

    def nested(self, other: Box) -> float:
        """Return the share of the smaller box that lies in the larger one, 0..1."""
        return self.common(other) / max(min(self.area, other.area), 1)


@dataclass(frozen=True)
class Frame:
    """A decoded picture, possibly at a reduced size.

    image: upright uint8 RGB (height, width, 3). size: width and height of the full picture.
    """

    image: Image
    size: tuple[int, int]

    @property
    def scale(self) -> float:
        """The full picture's side divided by the image's side; 1 if it was not reduced."""
        return float(max(self.size) / max(self.image.shape[:2]))


@dataclass(frozen=True)
class Picture:
    """An encoded picture whose header was read but whose pixels were not decoded.

    size: width and height of the upright picture.
    """

    size: tuple[int, int]
    _data: bytes
    _header: PillowImage.Image
    _turn: int

    @property
    def pixels(self) -> int:
        """How many pixels the decoded picture has."""
        return self.size[0] * self.size[1]

    @property
    def weight(self) -> int:
        """The number of pixels that counts against limits on memory."""
        return self.pixels * weight_of(self._data, self._header)

    def decode(self, least_side: int | None = None) -> Frame:
        """Decode the picture and turn it upright.

        Returns uint8 RGB for any colour model and bit depth. Transparency is dropped; an animation
        gives its first picture. A JPEG without its last rows is accepted, with grey in their place,
        if LEAST_ROWS of the rows are present. least_side: allows a JPEG to be decoded at a reduced
        size, with a longer side of at least this many pixels.

        Raises UndecodableImage.
        """
        try:
            image = native_pixels(self._data, self._header, least_side)
            image = pixels(self._header) if image is None else image
            if is_deep(self._data):
                image = brightened(self._data, image)
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
            raise UndecodableImage(f"The picture is damaged or incomplete: {error}") from error
        return Frame(upright(image, self._turn), self.size)


def open_picture(data: bytes, max_pixels: int = 50_000_000) -> Picture:
    """Read and check the header of a JPEG, PNG, WebP or AVIF without decoding its pixels.

    Raises ImageTooLarge and UndecodableImage.
    """
    if not data:
        raise UndecodableImage("The picture is empty (0 bytes). Send the bytes of a picture.")
    if reason := formats.unread(data):
        raise UndecodableImage(reason)
    try:
        data, exif = bare(data)
        header = PillowImage.open(io.BytesIO(data), formats=FORMATS)
        turn = orientation(exif)
    except TooManyPixels as error:
        raise ImageTooLarge(str(error)) from error
    except TooCostly as error:
        raise UndecodableImage(str(error)) from error
    except Exception as error:  # Pillow's parsers raise nearly anything on a damaged header
        raise UndecodableImage(NO_PICTURE) from error
    width, height = header.size
    if max(width, height) > LONGEST_SIDE:
        raise ImageTooLarge(
            f"The picture has {width} x {height} pixels; "
            f"at most {LONGEST_SIDE} are accepted along a side. Send a smaller one."
        )
    weight = weight_of(data, header)
    if width * height * weight > max_pixels:
        kind = "" if weight == 1 else " of an AVIF or a 16-bit PNG"
        raise ImageTooLarge(
            f"The picture has {width} x {height} pixels; at most {max_pixels / weight / 1e6:g} "
            f"megapixels{kind} are accepted. Send a smaller one."
        )
    size = (height, width) if turn in SIDEWAYS else (width, height)
    return Picture(size, data, header, turn)


def weight_of(data: bytes, header: PillowImage.Image) -> int:
    """Return as how many pixels each one counts against limits on memory."""
    return HEAVY if header.format == "AVIF" or is_deep(data) else 1


def is_deep(data: bytes) -> bool:
    """Tell whether a picture is a PNG of 16 bits per channel."""
    return data.startswith(PNG_START) and data[24:25] == b"\x10"


def decode(data: bytes, max_pixels: int = 50_000_000) -> Image:
    """Decode a picture at full size to upright uint8 RGB of shape (height, width, 3).

    Raises ImageTooLarge and UndecodableImage.
    """
    return open_picture(data, max_pixels).decode().image


def native_pixels(data: bytes, picture: PillowImage.Image, least_side: int | None) -> Image | None:
    """Decode a JPEG or WebP faster or in less memory than Pillow; None if Pillow must decode it.

    A JPEG with a few extra bytes, as many cameras send it, is decoded here, because a second try in
    Pillow would double the cost. So is a JPEG without an end marker. Raises ValueError if too many
    of its rows are missing.
    """
    if picture.format == "WEBP":
        mode = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
        if decoded is None:
            raise ValueError("its pixels cannot be read")
        return np.asarray(decoded, np.uint8)
    if not data.startswith(JPEG_START) or picture.mode not in {"RGB", "L"}:
        return None
    longest = max(picture.size)
    times = next((t for t in FAST_SHRINKING if least_side and longest >= t * least_side), 1)
    least = [math.ceil(side / times) if times > 1 else 0 for side in picture.size]
    whole = data.endswith(JPEG_END)
    # A progressive JPEG that is cut has all rows, but blurred ones until its last scans.
    strict = not whole and "progressive" in picture.info and not nearly_sharp(data)
    given = data if whole else data + JPEG_END
    try:
        decoded = simplejpeg.decode_jpeg(
            given, "RGB", min_width=least[0], min_height=least[1], strict=strict
        )
    except ValueError:
        if not whole:
            raise
        return None
    image = np.asarray(decoded, np.uint8)
    if not whole:
        check_rows(image)
    return image


def check_rows(image: Image) -> None:
    """Raise ValueError if a decoder filled in too many of the last rows as missing."""
    last = next((row for row in range(len(image), 0, -1) if (image[row - 1] != MISSING).any()), 0)
    share = last / len(image)
    if share < LEAST_ROWS:
        raise ValueError(
            f"its end is cut off; {share:.0%} of its rows are there, at least {LEAST_ROWS:.0%} "
            "are needed. Send the whole file."
        )


def pixels(picture: PillowImage.Image) -> Image:
    """Decode a picture with Pillow, in bands, because Pillow's own pixels take four bytes each."""
    picture.load()
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, BAND):
        band = picture.crop((0, top, picture.width, min(top + BAND, picture.height)))
        if band.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
            band = PillowImage.fromarray((np.asarray(band) >> 8).astype(np.uint8))
        image[top : top + BAND] = np.asarray(band.convert("RGB"))
    return image


def brightened(data: bytes, image: Image) -> Image:
    """Return the image of a 16-bit PNG; if it is nearly black, scaled from its sensor's depth."""
    if image.max() >= DARK:
        return image
    mode = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if decoded is None:
        raise ValueError("its pixels cannot be read")
    deep = np.asarray(decoded, np.uint16)
    bits = next(bits for bits in SENSORS if int(deep.max()) < 1 << bits)
    for top in range(0, len(image), BAND):
        image[top : top + BAND] = deep[top : top + BAND] >> (bits - 8)
    return image


def upright(image: Image, orientation: int) -> Image:
    """Turn an image upright according to its EXIF orientation."""
    if orientation in MIRRORED:
        image = image[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, TURNED.get(orientation, 0)))


def crop(image: Image, box: Box, margin: float, size: int, roll: float = 0.0) -> Image:
    """Crop the square around a box, widened by a margin, and resize it.

    The square's side is the box's longer side times 1 + 2 * margin, so that the face keeps its
    proportions. Pixels outside the image repeat the edge pixels. roll: degrees by which the face is
    turned clockwise; from LEVEL on, the crop is turned back upright.

    Returns uint8 RGB of shape (size, size, 3). Raises ValueError for an empty box.
    """
    if box.short_side < 1:
        raise ValueError(f"{box} is empty")
    if abs(roll) >= LEVEL:
        around = ((1 + 2 * margin) * 2**0.5 - 1) / 2  # the square that holds it at any angle
        larger = crop(image, box, around, round(size * 2**0.5))
        return level(larger, roll, size)
    side = max(1, round(box.long_side * (1 + 2 * margin)))
    left = box.x + (box.width - side) // 2
    top = box.y + (box.height - side) // 2
    height, width = image.shape[:2]
    x0, x1 = max(left, 0), min(left + side, width)
    y0, y1 = max(top, 0), min(top + side, height)
    # A large face is shrunk first, because with padding it could exceed the image.
    square = averaged(image[y0:y1, x0:x1], side // (4 * size))
    down, across = square.shape[0] / (y1 - y0), square.shape[1] / (x1 - x0)
    edges = (
        round((y0 - top) * down),
        round((top + side - y1) * down),
        round((x0 - left) * across),
        round((left + side - x1) * across),
    )
    if any(edges):
        square = np.asarray(cv2.copyMakeBorder(square, *edges, cv2.BORDER_REPLICATE), np.uint8)
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=interpolation), np.uint8)


def averaged(image: Image, most: int) -> Image:
    """Reduce an image by at most a whole factor, and by more than half of it.

    Each pixel is the mean of a block. Rows and columns that do not fill a block are left out: with
    them, OpenCV takes ten times as long.
    """
    while most > 1:
        step = 3 if most == 3 else 2
        height, width = (max(side // step, 1) for side in image.shape[:2])
        image = np.asarray(image[: height * step, : width * step], np.uint8)
        if step == 3:  # first the mean of the block that begins at each pixel: OpenCV is faster so
            image = np.asarray(cv2.blur(image, (3, 3), anchor=(0, 0)), np.uint8)
        kind = cv2.INTER_AREA if step == 2 else cv2.INTER_NEAREST
        image = np.asarray(cv2.resize(image, (width, height), interpolation=kind), np.uint8)
        most //= step
    return image


def level(image: Image, roll: float, size: int) -> Image:
    """Turn a square image anticlockwise by roll degrees; return its middle (size, size, 3)."""
    middle = (image.shape[1] - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), roll, 1.0)
    matrix[:, 2] -= middle - (size - 1) / 2
    turned = cv2.warpAffine(image, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)
