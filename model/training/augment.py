"""Augment face crops: vary camera, distance, box, and how a mask is worn."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from model.images import Image
from model.training.data.dataset import CLASSES, Sample, sampling_weights
from model.training.data.windows import Window
from model.training.drawing.occluders import OCCLUDERS
from model.training.drawing.synthesize import KINDS
from model.training.recipes import Recipe

LEAST = 24  # pixels of the smallest crop: a face of 18 to 20 and its margin
SHIFT, SCALE, TURN = 0.08, 0.12, 12.0  # relative to the box, relative to the box, degrees
JPEG_QUALITY = (25, 95)

# What is drawn on an unmasked face, as shares of the faces that are drawn on.
DRAWN = {
    "mask": 0.26,
    "under_nose": 0.28,
    "chin": 0.14,
    "eyes": 0.04,
    **dict.fromkeys(OCCLUDERS, 0.28 / len(OCCLUDERS)),
}


def weights_of(
    samples: Sequence[Sample], windows: Sequence[Window], recipe: Recipe
) -> npt.NDArray[np.float64]:
    """Return each sample's sampling probability, so that labels are equal after masks are drawn.

    For the balance of sets and classes within a label see dataset.sampling_weights.
    Shape (len(samples),), sum 1.
    """
    weights = sampling_weights(samples)
    masked = np.array([CLASSES[sample.cls] == "mask" for sample in samples])
    drawn_on = np.array([window.face is not None for window in windows])
    if not masked.any() or not (~masked).any():
        return weights
    rate = recipe.synthetic * DRAWN["mask"] * weights[drawn_on].sum() / weights[~masked].sum()
    share = (0.5 - rate) / (1 - rate)  # of real masks; with the drawn ones it is half
    weights[masked] *= share / weights[masked].sum()
    weights[~masked] *= (1 - share) / weights[~masked].sum()
    return weights


def view(
    cls: str, window: Window, recipe: Recipe, size: int, random: np.random.Generator
) -> tuple[Image, str]:
    """Return an augmented crop (size, size, 3) and its class.

    Takes one of the face's boxes, shifts it by up to 8 % and scales it by up to 12 % of its size,
    turns it upright if the face is turned, rotates it by up to 12 degrees, mirrors it, and applies
    camera(). On a share of the unmasked faces a mask or another object is drawn first, and the
    returned class is that of the drawing.
    """
    pixels = window.pixels
    if window.face is not None and random.random() < recipe.synthetic:
        kind = KINDS[str(random.choice(list(DRAWN), p=list(DRAWN.values())))]
        pixels, cls = kind.draw(pixels, window.face, random), kind.cls
    left, top, right, bottom = window.boxes[random.integers(len(window.boxes))]
    side = max(right - left, bottom - top)
    x = (left + right) / 2 + side * random.uniform(-SHIFT, SHIFT)
    y = (top + bottom) / 2 + side * random.uniform(-SHIFT, SHIFT)
    side *= (1 + 2 * recipe.margin) * random.uniform(1 - SCALE, 1 + SCALE)
    mirror = -1.0 if random.random() < 0.5 else 1.0
    far = random.random() < 0.6
    seen = int(np.exp(random.uniform(np.log(LEAST), np.log(size)))) if far else size
    turn = float(np.deg2rad(window.roll))
    if not recipe.camera:
        return plain_camera(cut(pixels, (x, y), side, seen, turn, mirror), size, random), cls
    if random.random() < 0.5:
        turn += float(np.deg2rad(random.uniform(-TURN, TURN)))
    return camera(cut(pixels, (x, y), side, seen, turn, mirror), size, random), cls


def plain_camera(crop: Image, size: int, random: np.random.Generator) -> Image:
    """Vary the light of a crop, compress it as JPEG, and enlarge it to size."""
    if random.random() < 0.5:
        crop = relit(crop, random)
    if random.random() < 0.5:
        crop = compressed(crop, random)
    return enlarged(crop, size)


def cut(  # noqa: PLR0913, PLR0917
    pixels: Image, centre: tuple[float, float], side: float, size: int, turn: float, mirror: float
) -> Image:
    """Cut a rotated square; pixels outside repeat the edge pixels, as in model.images.crop."""
    shrink = side / size
    if shrink > 2:  # warping samples few pixels, so reduce first to avoid aliasing
        pixels = np.asarray(
            cv2.resize(pixels, None, fx=2 / shrink, fy=2 / shrink, interpolation=cv2.INTER_AREA),
            np.uint8,
        )
        centre, side = (centre[0] * 2 / shrink, centre[1] * 2 / shrink), side * 2 / shrink
    scale = side / size
    c, s = np.cos(turn) * scale, np.sin(turn) * scale
    half = (size - 1) / 2
    to_pixels = np.array(
        [
            [c * mirror, -s, centre[0] - 0.5 - (c * mirror - s) * half],
            [s * mirror, c, centre[1] - 0.5 - (s * mirror + c) * half],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        pixels, to_pixels, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)


def camera(crop: Image, size: int, random: np.random.Generator) -> Image:
    """Vary light, colour, blur, noise and JPEG quality of a crop, and enlarge it to size.

    The effects are applied before enlarging, at the camera's resolution.
    """
    if random.random() < 0.6:
        crop = relit(crop, random)
    if random.random() < 0.3:
        crop = blurred(crop, random)
    if random.random() < 0.3:
        crop = noisy(crop, random)
    if random.random() < 0.05:
        crop = np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if random.random() < 0.5:
        crop = compressed(crop, random)
    return enlarged(crop, size)


def compressed(crop: Image, random: np.random.Generator) -> Image:
    """Compress a crop as JPEG of random quality."""
    quality = int(random.integers(*JPEG_QUALITY))
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def enlarged(crop: Image, size: int) -> Image:
    """Enlarge a crop to size, as model.images.crop enlarges a small face."""
    return np.asarray(cv2.resize(crop, (size, size)), np.uint8)


def relit(crop: Image, random: np.random.Generator) -> Image:
    """Vary gamma by up to a factor of 2, contrast by up to 25 %, each colour by up to 15 %."""
    gamma = np.exp(random.uniform(-np.log(2), np.log(2)))
    gains = random.uniform(0.85, 1.15, 3) * random.uniform(0.8, 1.15)
    contrast = random.uniform(0.75, 1.25)
    levels = (np.arange(256)[:, None] / 255) ** gamma
    levels = ((levels - 0.5) * contrast + 0.5) * gains * 255
    table = np.clip(levels, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(np.ascontiguousarray(crop), table), np.uint8)


def blurred(crop: Image, random: np.random.Generator) -> Image:
    """Blur a crop by defocus or motion, by up to a fortieth of its side."""
    reach = random.uniform(0.004, 0.025) * crop.shape[0]
    if random.random() < 0.6:
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), max(reach, 0.3)), np.uint8)
    length = max(3, round(reach * 4) | 1)
    kernel = np.zeros((length, length), np.float32)
    angle = random.uniform(0, np.pi)
    middle, arm = length // 2, length / 2
    across, down = round(arm * np.cos(angle)), round(arm * np.sin(angle))
    cv2.line(kernel, (middle - across, middle - down), (middle + across, middle + down), (1.0,))
    return np.asarray(cv2.filter2D(crop, -1, kernel / kernel.sum()), np.uint8)


def noisy(crop: Image, random: np.random.Generator) -> Image:
    """Darken a crop by up to half and add sensor noise as in low light."""
    light = random.uniform(0.5, 1.0)
    grain = random.standard_normal(crop.shape, np.float32) * random.uniform(2, 13)
    return np.clip(crop * np.float32(light) + grain, 0, 255).astype(np.uint8)
