"""Draw what people wear on their heads: caps, helmets, hoods, goggles, face shields, sunglasses.

None of it covers the mouth but a face shield, which is transparent. So the label of the face stays
what it was: a mask is drawn first, what belongs above it after it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.detectors.faces import Face
from model.images import Image
from model.training.drawing.fabrics import any_colour, blobs, varied
from model.training.drawing.poses import Pose, pose_of
from model.training.drawing.sheets import (
    Colour,
    Floats,
    Points,
    Sheet,
    bend,
    ellipse,
    lay_on,
    mirrored,
    noise,
    rounded,
    smooth,
)

SUITS: tuple[Colour, ...] = (  # mostly white and light blue
    (240, 240, 240),
    (236, 240, 244),
    (225, 232, 240),
    (190, 212, 232),
    (150, 190, 225),
    (70, 125, 190),
    (40, 60, 110),
    (225, 205, 90),
    (90, 160, 130),
)
HELMETS: tuple[Colour, ...] = ((240, 240, 240), (235, 190, 40), (220, 90, 30), (40, 90, 170))

# What is worn together, and how often relative to the others.
OUTFITS: dict[tuple[str, ...], float] = {
    ("hood",): 3,
    ("hood", "goggles"): 4,
    ("goggles", "hood"): 2,
    ("hood", "shield"): 3,
    ("cap",): 3,
    ("cap", "shield"): 2,
    ("cap", "sunglasses"): 1,
    ("helmet",): 2,
    ("helmet", "goggles"): 1,
    ("goggles",): 2,
    ("shield",): 2,
    ("sunglasses",): 2,
}


def dress(
    image: Image, face: Face, random: np.random.Generator, outfit: tuple[str, ...] | None = None
) -> Image:
    """Return a copy of a uint8 RGB image with things on a head.

    outfit: names in HEADGEAR, the lowest first; one of OUTFITS by chance if None.
    Raises ValueError for a face without landmarks.
    """
    if outfit is None:
        outfits, weights = list(OUTFITS), np.array(list(OUTFITS.values()))
        outfit = outfits[random.choice(len(outfits), p=weights / weights.sum())]
    pose = pose_of(face)
    for name in outfit:
        shadow = 0.0 if name == "shield" else 0.2
        image = lay_on(image, HEADGEAR[name](pose, random), pose, random, shadow)
    return image


def fabric(sheet: Sheet, colour: Colour, random: np.random.Generator, folds: float) -> Floats:
    """Return creased cloth for a whole sheet: float32 (height, width, 3)."""
    size = (sheet.alpha.shape[0], sheet.alpha.shape[1])
    creases = blobs(size, random.uniform(4, 9), random) + 0.5 * blobs(size, 18, random)
    light = 1 - 0.05 * sheet.x**2 + folds * creases + 0.02 * noise(size, random)
    cloth = np.array(colour, np.float32) * np.clip(light, 0.3, 1.2)[..., None]
    return np.asarray(cloth, np.float32)


def chosen(colours: tuple[Colour, ...], random: np.random.Generator) -> Colour:
    """Return one of some colours, varied a little."""
    return varied(colours[random.integers(len(colours))], random)


def hood(pose: Pose, random: np.random.Generator) -> Sheet:
    """Draw the hood and the shoulders of protective clothing, with an opening for the face."""
    sheet = Sheet.blank(pose, -3.4, -2.3, 3.4, 4.2)
    wide, top = random.uniform(1.4, 1.75), random.uniform(-2.1, -1.6)
    neck, shoulder = random.uniform(1.2, 1.6), random.uniform(2.6, 3.3)
    half: Points = [(0.0, top), (wide * 0.75, top + 0.25), (wide, -0.5), (wide, 1.0)]
    half = [
        *half,
        (neck, 2.0),
        (neck + 0.2, 2.3),
        (shoulder, 3.0),
        (shoulder + 0.2, 4.2),
        (0.0, 4.2),
    ]
    area = sheet.area(smooth(mirrored(half)))
    # The opening turns with the face, while the hood behind it stays.
    middle, low = 0.2 * pose.yaw, random.uniform(1.1, 1.85)
    high = random.uniform(-0.95, -0.4)
    opening = ellipse(middle, (high + low) / 2, random.uniform(0.85, 1.15), (low - high) / 2)
    sheet.fill(area, opening, 0)
    light = rounded(area, 0.25 * sheet.scale, 0.6)
    cloth = fabric(sheet, chosen(SUITS, random), random, random.uniform(0.03, 0.1))
    sheet.lay(cloth * light[..., None], area)
    return sheet


def cap(pose: Pose, random: np.random.Generator) -> Sheet:
    """Draw a cap: with a visor, or round and soft as in an operating room."""
    sheet = Sheet.blank(pose, -2.0, -2.4, 2.0, 0.4)
    soft = random.random() < 0.5
    wide, top = random.uniform(1.1, 1.35), random.uniform(-2.1, -1.6)
    low = random.uniform(-0.85, -0.5)
    half: Points = [
        (0.0, top),
        (wide * 0.8, top + 0.2),
        (wide, -0.9),
        (wide, low + 0.25),
        (0.0, low),
    ]
    area = sheet.area(smooth(mirrored(half)))
    colour = chosen(SUITS, random) if soft else any_colour(random)
    light = rounded(area, 0.3 * sheet.scale, 0.65)
    sheet.lay(fabric(sheet, colour, random, 0.1 if soft else 0.03) * light[..., None], area)
    if not soft:
        visor = sheet.area(ellipse(0, low + 0.08, wide * 0.9, random.uniform(0.14, 0.3)))
        dark = np.array(colour, np.float32)[None, None] * np.float32(random.uniform(0.5, 0.9))
        sheet.lay(np.asarray(dark, np.float32), visor)
    return bend(sheet, pose, 0.0)


def helmet(pose: Pose, random: np.random.Generator) -> Sheet:
    """Draw a safety helmet, hard and shiny."""
    sheet = Sheet.blank(pose, -2.0, -2.6, 2.0, 0.4)
    wide, top, low = (
        random.uniform(1.2, 1.5),
        random.uniform(-2.3, -1.9),
        random.uniform(-0.9, -0.6),
    )
    half: Points = [(0.0, top), (wide * 0.75, top + 0.25), (wide, -1.1), (wide, low), (0.0, low)]
    area = sheet.area(smooth(mirrored(half)))
    colour = np.array(chosen(HELMETS, random), np.float32)
    shine = np.exp(
        -(((sheet.x - random.uniform(-0.5, 0.5)) / 0.3) ** 2 + ((sheet.y + 1.6) / 0.3) ** 2)
    )
    light = (0.85 - 0.15 * sheet.x**2) * rounded(area, 0.4 * sheet.scale, 0.7) + 0.3 * shine
    sheet.lay(np.asarray(colour * light[..., None], np.float32), area)
    rim = sheet.area(ellipse(0, low, wide * 1.08, random.uniform(0.08, 0.2)))
    sheet.lay(colour[None, None] * np.float32(0.75), rim)
    return bend(sheet, pose, 0.0)


def goggles(pose: Pose, random: np.random.Generator) -> Sheet:
    """Draw safety goggles: a frame around clear, tinted or fogged glass, and a strap."""
    sheet = Sheet.blank(pose, -2.0, -1.2, 2.0, 1.2)
    wide, high = random.uniform(0.85, 1.05), random.uniform(0.32, 0.5)
    low = random.uniform(0.3, 0.5)
    half: Points = [(0.0, -high), (wide * 0.8, -high), (wide, -high * 0.5), (wide, low * 0.6)]
    half = [*half, (wide * 0.7, low), (0.25, low * 0.85), (0.0, low * 0.5)]
    outline = smooth(mirrored(half))
    frame = np.array(any_colour(random), np.float32)[None, None]
    strap = [(-1.3, -high * 0.7), (1.3, -high * 0.7), (1.3, high * 0.5), (-1.3, high * 0.5)]
    sheet.lay(frame * np.float32(0.7), sheet.area(strap))
    sheet.alpha[:, (np.abs(sheet.x[0]) < wide * 0.97)] = 0
    glass = sheet.area(outline)
    shine = np.clip(blobs((glass.shape[0], glass.shape[1]), 3, random), 0, 2)
    tint = np.array(any_colour(random), np.float32) * 0.4 + 90 + 60 * shine[..., None]
    opaque = random.choice([random.uniform(0.1, 0.35), random.uniform(0.35, 0.75)])
    sheet.lay(np.asarray(tint, np.float32), np.asarray(glass * opaque, np.uint8))
    rim = np.zeros_like(sheet.alpha)
    sheet.stroke(rim, [*outline, outline[0]], (255,), random.uniform(0.06, 0.14))
    sheet.lay(frame, rim)
    return bend(sheet, pose, 0.2)


def shield(pose: Pose, random: np.random.Generator) -> Sheet:
    """Draw a face shield: a band on the forehead and clear plastic down to the neck."""
    sheet = Sheet.blank(pose, -1.9, -1.6, 1.9, 3.0)
    wide, top, low = random.uniform(1.15, 1.5), random.uniform(-1.2, -0.7), random.uniform(1.7, 2.7)
    half: Points = [(0.0, top), (wide, top + 0.1), (wide * 1.05, low - 0.5), (0.6, low), (0.0, low)]
    outline = smooth(mirrored(half))
    pane = sheet.area(outline)
    size = (pane.shape[0], pane.shape[1])
    slope = sheet.x + random.uniform(-0.3, 0.3) * sheet.y
    glare = np.exp(-(((slope - random.uniform(-0.9, 0.9)) / random.uniform(0.08, 0.3)) ** 2))
    opaque = random.uniform(0.04, 0.18) + random.uniform(0.1, 0.6) * glare
    opaque = opaque + 0.05 * np.clip(blobs(size, 3, random), 0, 2)
    sheet.lay(
        np.full((1, 1, 3), 235, np.float32), np.asarray(pane * np.clip(opaque, 0, 0.9), np.uint8)
    )
    sheet.stroke(sheet.alpha, [*outline, outline[0]], (150,), 0.03)
    band = [(-wide, top - 0.1), (wide, top - 0.1), (wide, top + 0.2), (-wide, top + 0.2)]
    sheet.lay(np.array(any_colour(random), np.float32)[None, None], sheet.area(smooth(band)))
    return bend(sheet, pose, 0.0)


def sunglasses(pose: Pose, random: np.random.Generator) -> Sheet:
    """Draw sunglasses, dark or mirrored, round or square."""
    sheet = Sheet.blank(pose, -1.6, -0.9, 1.6, 0.9)
    wide, high = random.uniform(0.34, 0.46), random.uniform(0.24, 0.38)
    tone = np.array(any_colour(random), np.float32) * random.uniform(0.05, 0.5)
    lens = np.asarray(tone * (1.3 - 0.8 * (sheet.y[..., None] + 0.4)), np.float32)
    for side in (-1, 1):
        shape: Points = ellipse(side * 0.5, 0.05, wide, high)
        if random.random() < 0.5:
            x, y = side * 0.5, 0.05
            shape = smooth(
                [
                    (x - wide, y - high),
                    (x + wide, y - high),
                    (x + wide, y + high),
                    (x - wide, y + high),
                ]
            )
        sheet.lay(lens, np.asarray(sheet.area(shape) * random.uniform(0.75, 1.0), np.uint8))
    line = np.zeros_like(sheet.alpha)
    sheet.stroke(
        line, [(-1.4, -0.05), (-0.5 - wide, -0.1), (0.5 + wide, -0.1), (1.4, -0.05)], (255,), 0.07
    )
    sheet.lay(np.full((1, 1, 3), random.uniform(10, 90), np.float32), line)
    return bend(sheet, pose, 0.3)


HEADGEAR: dict[str, Callable[[Pose, np.random.Generator], Sheet]] = {
    "hood": hood,
    "cap": cap,
    "helmet": helmet,
    "goggles": goggles,
    "shield": shield,
    "sunglasses": sunglasses,
}
