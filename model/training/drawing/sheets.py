"""Sheets: drawings in a face's own coordinates that are bent to its pose and lit like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model.images import Image
from model.training.drawing.poses import NOSE_DEPTH, Pose

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
Floats = npt.NDArray[np.float32]

PIXELS = (24.0, 80.0)  # range of a sheet's pixels per eye distance; more costs time, adds nothing
SUBPIXEL = 4  # fractional bits of the coordinates in OpenCV's drawing functions


@dataclass
class Sheet:
    """A drawing in a face's own coordinates, to be put on the frame.

    left, top: the coordinates of its corner. scale: pixels per unit. colour: uint8
    (height, width, 3). alpha: uint8 (height, width), 0 where the frame shows through.
    """

    left: float
    top: float
    scale: float
    colour: Image
    alpha: Image

    @classmethod
    def blank(cls, pose: Pose, left: float, top: float, right: float, bottom: float) -> Sheet:
        """Return a transparent sheet with about the resolution of the frame."""
        scale = float(np.clip(pose.span, *PIXELS))
        size = (round((bottom - top) * scale), round((right - left) * scale))
        return cls(left, top, scale, np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))

    @property
    def x(self) -> Floats:
        """The columns' coordinates, shape (1, width)."""
        columns = np.arange(self.alpha.shape[1], dtype=np.float32)
        return np.asarray(self.left + columns[None] / self.scale, np.float32)

    @property
    def y(self) -> Floats:
        """The rows' coordinates, shape (height, 1)."""
        rows = np.arange(self.alpha.shape[0], dtype=np.float32)
        return np.asarray(self.top + rows[:, None] / self.scale, np.float32)

    def pixels(self, points: Points) -> npt.NDArray[np.int32]:
        """Return points (n, 2) in OpenCV's fixed-point format with SUBPIXEL bits."""
        moved = (np.asarray(points, np.float64) - (self.left, self.top)) * self.scale
        return np.asarray(np.round(moved * 2**SUBPIXEL), np.int32)

    def width(self, width: float) -> int:
        """Return a line's width in whole pixels, at least one."""
        return max(1, round(width * self.scale))

    def fill(self, target: Image, outline: Points, value: int) -> None:
        """Fill an outline on an image (height, width) of the sheet's size."""
        cv2.fillPoly(target, [self.pixels(outline)], (value,), cv2.LINE_AA, SUBPIXEL)

    def area(self, outline: Points) -> Image:
        """Return the mask of an outline's inside: uint8 (height, width), 0..255."""
        inside = np.zeros_like(self.alpha)
        self.fill(inside, outline, 255)
        return inside

    def stroke(self, target: Image, line: Points, colour: Sequence[float], width: float) -> None:
        """Draw a line onto the sheet's colour or alpha."""
        thickness = self.width(width)
        pixels = [self.pixels(line)]
        cv2.polylines(target, pixels, False, colour, thickness, cv2.LINE_AA, SUBPIXEL)  # noqa: FBT003

    def lay(self, colour: Image | Floats, area: Image) -> None:
        """Draw a colour (height, width, 3) over the sheet within an area."""
        x, y, w, h = cv2.boundingRect(area)
        part = np.s_[y : y + h, x : x + w]
        weight = area[part][..., None].astype(np.float32) / 255
        below = self.colour[part].astype(np.float32)
        wanted = np.broadcast_to(colour, self.colour.shape)[part]
        mixed = below + (wanted.astype(np.float32) - below) * weight
        self.colour[part] = np.clip(mixed, 0, 255).astype(np.uint8)
        self.alpha = np.maximum(self.alpha, area)


def smooth(points: Points, *, closed: bool = True, rounds: int = 2) -> Points:
    """Round a line's corners by Chaikin's algorithm, which cuts each at a quarter of its sides."""
    line = np.asarray(points, np.float64)
    for _ in range(rounds):
        after = np.roll(line, -1, axis=0)
        cut = np.stack([0.75 * line + 0.25 * after, 0.25 * line + 0.75 * after], axis=1)
        cut = cut.reshape(-1, 2)
        line = cut if closed else np.concatenate([line[:1], cut[1:-3], line[-1:]])
    return [(float(x), float(y)) for x, y in line]


def mirrored(half: Points) -> Points:
    """Complete half an outline, which runs from the top to the bottom of the middle line."""
    return [*half, *((-x, y) for x, y in reversed(half) if x)]


def turned(points: Points, angle: float, x: float, y: float) -> Points:
    """Rotate points around (0, 0) by an angle in radians and move them to (x, y)."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return [(x + c * a - s * b, y + s * a + c * b) for a, b in points]


def ellipse(x: float, y: float, a: float, b: float) -> Points:
    """Return the points of an ellipse with semi-axes a and b."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return [(x + a * float(np.cos(t)), y + b * float(np.sin(t))) for t in angles]


def depth(x: npt.NDArray[np.floating], ridge: float) -> npt.NDArray[np.floating]:
    """Return the depth of a face at x; ridge is the height of the nose above the cheeks."""
    cheeks = NOSE_DEPTH - 0.3
    return np.asarray(cheeks - 0.7 * x**2 + ridge * np.exp(-((x / 0.3) ** 2)))


def bend(sheet: Sheet, pose: Pose, ridge: float = 0.3) -> Sheet:
    """Return the sheet bent around a face of this pose, without its hidden parts."""
    x = np.linspace(sheet.left, sheet.left + sheet.alpha.shape[1] / sheet.scale, 201)
    seen = x + pose.yaw * depth(x, ridge)
    # Going outwards from the middle, a point is visible if it lies beyond all points before it.
    middle = int(np.abs(x).argmin())
    right, left = seen[middle:], -seen[middle::-1]
    shown = np.ones(len(x), bool)
    shown[middle + 1 :] = right[1:] > np.maximum.accumulate(right)[:-1] + 1e-4
    shown[:middle] = (left[1:] > np.maximum.accumulate(left)[:-1] + 1e-4)[::-1]
    x, seen = x[shown], seen[shown]
    first = float(seen[0])
    columns = first + np.arange(max(1, int((seen[-1] - first) * sheet.scale))) / sheet.scale
    source = np.interp(columns, seen, x)
    fall = pose.pitch * depth(source, ridge)
    top, rows = sheet.top - 0.5, sheet.alpha.shape[0] + round(sheet.scale)
    lines = top + np.arange(rows)[:, None] / sheet.scale
    map_y = ((lines - fall - sheet.top) * sheet.scale).astype(np.float32)
    map_x = np.broadcast_to(((source - sheet.left) * sheet.scale).astype(np.float32), map_y.shape)
    colour, alpha = (
        np.asarray(cv2.remap(part, map_x, map_y, cv2.INTER_LINEAR), np.uint8)
        for part in (sheet.colour, sheet.alpha)
    )
    return Sheet(first, top, sheet.scale, colour, alpha)


def exposure_of(image: Image, pose: Pose) -> float:
    """Return the brightness of white things around a face: near 1, or down to 0.4 in the dark."""
    window = pose.to_frame @ np.array([[0.1, 0, -1.6], [0, 0.1, -1.1], [0, 0, 1]])
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    around = cv2.warpAffine(image, window, (32, 36), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return float(np.clip(np.percentile(around.max(axis=2), 90) / 205, 0.4, 1.08))


def noise(shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """Return normal noise of mean 0 and deviation 1; it repeats, because drawing more is slow."""
    tile = random.standard_normal((128, 128), np.float32)
    rows, columns = (np.arange(size) & 127 for size in shape)
    return np.asarray(tile[np.ix_(rows, columns)], np.float32)


def light_on(grey: Image) -> Floats:
    """Return the relative light in a grey region: about 1, more in bright parts, less in dark."""
    coarse = cv2.resize(grey, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32)
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), 2), np.float32)
    relative = np.clip(0.55 + 0.45 * coarse / max(float(coarse.mean()), 1.0), 0.5, 1.25)
    height, width = grey.shape
    light = cv2.resize(relative.astype(np.float32), (width, height))
    return np.asarray(light, np.float32)


def rounded(area: Image, radius: float, darkest: float = 0.62) -> Floats:
    """Return the light, darkest..1, on an area with edges as round as a finger's."""
    depth = cv2.distanceTransform((area > 127).astype(np.uint8), cv2.DIST_L2, 3)
    height = np.clip(depth / radius, 0, 1)
    return np.asarray(darkest + (1 - darkest) * np.sqrt(height * (2 - height)), np.float32)


def grain_of(grey: Image) -> float:
    """Return the standard deviation of a grey region's noise, 0.5..5 levels."""
    fine = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), 1.0))
    return float(np.clip(1.5 * np.mean(np.minimum(fine, 8)), 0.5, 5))


def soft_box(alpha: Image, radius: float) -> Floats:
    """Return alpha, 0..255, with edges blurred by a radius in pixels."""
    size = 2 * round(radius) + 1
    twice = cv2.blur(cv2.blur(alpha, (size, size)), (size, size))
    return np.asarray(twice, np.float32)


def lay_on(
    image: Image, sheet: Sheet, pose: Pose, random: np.random.Generator, shadow: float = 0.22
) -> Image:
    """Return a copy of a uint8 RGB image with the sheet on it, matched in light, blur and grain.

    shadow: share of the light that is lost next to the sheet, 0..1.
    """
    result = image.copy()
    height, width = image.shape[:2]
    x, y, w, h = cv2.boundingRect(sheet.alpha)
    to_face = np.array([[1 / sheet.scale, 0, sheet.left], [0, 1 / sheet.scale, sheet.top]])
    matrix = pose.to_frame @ np.vstack([to_face, [0, 0, 1]])
    corners = np.array([(x, y, 1), (x + w, y, 1), (x, y + h, 1), (x + w, y + h, 1)]) @ matrix.T
    pad = 2 + 0.12 * pose.span
    x0, y0 = np.clip(np.floor(corners.min(axis=0) - pad), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0) + pad), 0, (width, height)).astype(int)
    if not w or x1 <= x0 or y1 <= y0:
        return result
    region = result[y0:y1, x0:x1]
    matrix[:, 2] -= (x0, y0)
    shrink = sheet.scale / pose.span
    parts = [sheet.colour, sheet.alpha]
    if shrink > 1.3:  # otherwise thin lines would alias in small faces
        parts = [np.asarray(cv2.GaussianBlur(p, (0, 0), 0.4 * shrink), np.uint8) for p in parts]
    size = (int(x1 - x0), int(y1 - y0))
    softness = random.uniform(0.35, 0.8) * max(1.0, pose.span / 90)
    colour, alpha = (
        np.asarray(cv2.GaussianBlur(cv2.warpAffine(part, matrix, size), (0, 0), softness), np.uint8)
        for part in parts
    )
    grey = np.asarray(cv2.cvtColor(region, cv2.COLOR_RGB2GRAY), np.uint8)
    if np.ptp(region[::4, ::4], axis=2).mean() < 4:  # a grey picture
        pale = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        colour = np.asarray(cv2.cvtColor(pale, cv2.COLOR_GRAY2RGB), np.uint8)
    grain = noise((size[1], size[0]), random) * np.float32(grain_of(grey))
    light = exposure_of(result, pose) * light_on(grey)
    near = soft_box(alpha, 1 + 0.07 * pose.span)
    over = alpha.astype(np.float32) / np.float32(255)
    under = (1 - over) * (1 - np.float32(shadow / 255) * near)
    mixed = added([(colour, over * light), (region, under)], over * grain)
    # Pixels with nothing drawn on them stay exactly as they were.
    kept = cv2.merge([(near > 0).astype(np.uint8)] * 3)
    cv2.copyTo(mixed, kept, region)
    return result


def added(parts: Sequence[tuple[Image, Floats]], noise: Floats) -> Image:
    """Return the weighted sum of images (height, width, 3) plus noise; weights: (height, width)."""
    # OpenCV does this on merged channels several times faster than NumPy with broadcasting.
    total = np.asarray(cv2.merge([noise + np.float32(0.5)] * 3), np.float32)
    for image, weight in parts:
        weights = cv2.merge([weight.astype(np.float32)] * 3)
        total += np.asarray(cv2.multiply(image, weights, dtype=cv2.CV_32F), np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)
