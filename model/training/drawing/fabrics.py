"""Colours and patterns for masks, scarves and cups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from model.training.drawing.sheets import Colour, Floats

COLOURS: dict[str, Colour] = {
    "blue": (158, 196, 218),
    "white": (232, 233, 230),
    "green": (156, 199, 178),
    "pink": (226, 176, 186),
    "grey": (128, 130, 133),
    "black": (38, 38, 42),
    "navy": (36, 48, 84),
    "red": (150, 42, 46),
}
SKINS: tuple[Colour, ...] = (
    (246, 220, 198),
    (231, 190, 160),
    (208, 160, 125),
    (176, 125, 90),
    (134, 88, 60),
    (92, 58, 40),
    (60, 38, 28),
)
HAIRS: tuple[Colour, ...] = (
    (24, 20, 18),
    (48, 34, 26),
    (82, 56, 38),
    (128, 88, 54),
    (132, 66, 36),
    (150, 146, 140),
    (205, 202, 196),
)


def any_colour(random: np.random.Generator) -> Colour:
    """Return a random colour: mostly a usual one, sometimes a skin colour or any other."""
    kind = random.random()
    if kind < 0.65:
        colour = np.array(list(COLOURS.values())[random.integers(len(COLOURS))])
    elif kind < 0.8:
        colour = np.array(SKINS[random.integers(len(SKINS))])
    else:
        hue = random.integers([0, 40, 40], [180, 230, 240]).astype(np.uint8)
        colour = cv2.cvtColor(hue[None, None], cv2.COLOR_HSV2RGB)[0, 0].astype(np.int64)
    return varied(colour, random)


def varied(colour: npt.ArrayLike, random: np.random.Generator) -> Colour:
    """Return a colour changed a little."""
    red, green, blue = np.clip(np.asarray(colour) + random.normal(0, 8, 3), 8, 250)
    return int(red), int(green), int(blue)


def blobs(shape: tuple[int, int], cells: float, random: np.random.Generator) -> Floats:
    """Return smooth noise of mean 0 and deviation near 1; cells: number along the longer side."""
    step = cells / max(shape)
    coarse = random.standard_normal((int(shape[0] * step) + 2, int(shape[1] * step) + 2))
    fine = cv2.resize(
        coarse.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC
    )
    return np.asarray(fine, np.float32)


def share(values: npt.NDArray[Any]) -> Floats:
    """Clip values to 0..1."""
    return np.asarray(np.clip(values, 0, 1), np.float32)


def plain(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return no pattern."""
    del random
    return np.zeros((v.shape[0], u.shape[1]), np.float32)


def stripes(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return stripes in a random direction."""
    angle, waves = random.uniform(0, np.pi), random.uniform(3, 9)
    phase = 2 * np.pi * waves * (np.cos(angle) * u + np.sin(angle) * v)
    return share(0.5 + 3 * np.sin(phase))


def checks(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return gingham: two bands of stripes, darkest where they cross."""
    waves = 2 * np.pi * random.uniform(3, 8)
    across, down = (share(0.5 + 4 * np.sin(waves * t)) for t in (u, v))
    return share((across + down) / 2)


def dots(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return dots, with every other row shifted."""
    waves, size = random.uniform(4, 9), random.uniform(0.22, 0.36)
    row = np.floor(v * waves)
    a = (u * waves + 0.5 * (row % 2)) % 1 - 0.5
    b = v * waves - row - 0.5
    return share((size - np.hypot(a, b)) * 8)


def flowers(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return flowers of five or six petals, with every other row shifted."""
    waves, petals = random.uniform(2.5, 5), random.integers(5, 7)
    row = np.floor(v * waves)
    column = np.floor(u * waves + 0.5 * (row % 2))
    a = u * waves + 0.5 * (row % 2) - column - 0.5
    b = v * waves - row - 0.5
    turn = column * 1.7 + row * 2.3
    radius = 0.26 + 0.1 * np.cos(petals * (np.arctan2(b, a) + turn))
    distance = np.hypot(a, b)
    return share((radius - distance) * 9) * share((distance - 0.07) * 20)


def camouflage(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return blots in three tones."""
    noise = blobs((v.shape[0], u.shape[1]), random.uniform(7, 16), random)
    return share(np.floor(noise * 1.5 + 1.5) / 2)


def logo(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return a mark like a club's or brand's, somewhere on the cloth."""
    a = (u - random.uniform(-0.7, 0.7)) / random.uniform(0.15, 0.4)
    b = (v - random.uniform(0.8, 1.4)) / random.uniform(0.1, 0.25)
    edge = np.maximum(np.abs(a), np.abs(b)) if random.random() < 0.4 else np.hypot(a, b)
    inner = blobs((v.shape[0], u.shape[1]), 24, random) > 0.3
    return share((1 - edge) * 6 * ~(inner & (edge < 0.75)))


def gradient(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Return a gradient from one colour to the other."""
    angle = random.uniform(0, 2 * np.pi)
    return share(0.5 + 0.5 * (np.cos(angle) * u + np.sin(angle) * (v - 1.1)))


# A pattern returns the share of the second colour, 0..1, for each point of the cloth: (height,
# width). The coordinates are u (1, width) across the cloth and v (height, 1) down it.
PATTERNS: dict[str, Callable[[Floats, Floats, np.random.Generator], Floats]] = {
    "plain": plain,
    "stripes": stripes,
    "checks": checks,
    "dots": dots,
    "flowers": flowers,
    "camouflage": camouflage,
    "logo": logo,
    "gradient": gradient,
}


def printed(
    pattern: str, colours: tuple[Colour, Colour], u: Floats, v: Floats, random: np.random.Generator
) -> Floats:
    """Return cloth of two colours with a pattern: float32 (height, width, 3), 0..255."""
    second = np.asarray(PATTERNS[pattern](u, v, random), np.float32)[..., None]
    ground, ink = (np.array(colour, np.float32) for colour in colours)
    return np.asarray(ground + (ink - ground) * second, np.float32)
