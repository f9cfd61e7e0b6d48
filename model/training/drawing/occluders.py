"""Draw objects that could be mistaken for a mask: scarf, hand, cup, bottle, beard, paper, phone.

None of them covers the eyes, and none covers the nose as a mask would. The label stays no_mask.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from model.detectors.faces import Face
from model.images import Image
from model.training.drawing.fabrics import COLOURS, HAIRS, PATTERNS, any_colour, blobs, printed
from model.training.drawing.hands import draw_hand, skin_of
from model.training.drawing.poses import Pose, pose_of
from model.training.drawing.sheets import (
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
    turned,
)


def occlude(
    image: Image, face: Face, random: np.random.Generator, kind: str | None = None
) -> Image:
    """Return a copy of a uint8 RGB image with an object near the mouth that is not a mask.

    kind: one of OCCLUDERS; a random one if None.
    Raises ValueError for a face without landmarks.
    """
    kind = kind or str(random.choice(list(OCCLUDERS)))
    pose = pose_of(face)
    sheet = OCCLUDERS[kind](pose, skin_of(image, pose), random)
    return lay_on(image, sheet, pose, random, shadow=0.0 if kind == "beard" else 0.22)


def any_cloth(sheet: Sheet, random: np.random.Generator, patterned: float = 0.5) -> Floats:
    """Return cloth of random colours for a whole sheet."""
    pattern = str(random.choice(list(PATTERNS))) if random.random() < patterned else "plain"
    return printed(pattern, (any_colour(random), any_colour(random)), sheet.x, sheet.y, random)


def scarf(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a scarf around neck and chin, below the mouth."""
    del skin
    sheet = Sheet.blank(pose, -1.9, 0.4, 1.9, 3.2)
    top = random.uniform(1.32, 1.75)
    rise = random.uniform(0.1, 0.45)
    half = [(0.0, top), (0.45, top - 0.05), (0.95, top - rise), (1.25, top - rise - 0.05)]
    half += [(1.5, 1.9), (1.65, 2.6), (1.1, random.uniform(2.7, 3.0)), (0.0, 3.05)]
    outline = [(x + random.normal(0, 0.04), y + random.normal(0, 0.03)) for x, y in mirrored(half)]
    outline = [(x, max(y, 1.27) if abs(x) < 0.7 else y) for x, y in outline]
    area = sheet.area(smooth(outline))
    size = (sheet.alpha.shape[0], sheet.alpha.shape[1])
    # Folds follow the top edge, lower in the middle, with some irregularity.
    hang = sheet.y + 0.3 * sheet.x**2 * random.uniform(0.3, 1) + 0.12 * blobs(size, 5, random)
    folds = np.sin(hang * random.uniform(9, 16) + random.uniform(0, 6))
    weave = noise(size, random) * random.uniform(0.01, 0.05)
    light = 0.88 + 0.17 * folds - 0.09 * np.abs(sheet.x) + weave
    light *= rounded(area, 0.2 * sheet.scale, 0.7)
    sheet.lay(any_cloth(sheet, random) * light[..., None], area)
    return sheet


def beard(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a beard along the jaw, around the mouth."""
    del skin
    sheet = Sheet.blank(pose, -1.35, 0.0, 1.35, 2.7)
    length = random.uniform(1.8, 2.35)
    chin_only = random.random() < 0.3
    half: Points = [(0.0, 0.76), (0.3, 0.8), (0.5, 0.98), (0.85, 0.9), (1.06, 0.35)]
    half = [*half, (1.12, 0.6), (1.05, 1.2), (0.72, 1.65), (0.4, length - 0.05), (0.0, length)]
    if chin_only:
        half = [(0.0, 0.77), (0.34, 0.84), (0.52, 1.1), (0.5, 1.5)]
        half = [*half, (0.3, length - 0.1), (0.0, length)]
    inside = sheet.area(smooth(mirrored(half)))
    sheet.fill(inside, ellipse(0, 1.0, 0.34, 0.1), 0)
    size = (inside.shape[0], inside.shape[1])
    hair = noise(size, random)
    cv2.GaussianBlur(hair, (0, 0), 0.7, dst=hair, sigmaY=0.04 * sheet.scale)
    hair /= max(float(hair.std()), 1e-6)
    hair += 0.5 * blobs(size, 10, random)
    soft = cv2.GaussianBlur(inside, (0, 0), 0.05 * sheet.scale).astype(np.float32) / 255
    thickness = random.uniform(0.5, 1.0)
    cover = np.clip((soft - 0.35) * 3 + 0.35 * hair * (1.6 - soft), 0, 1) * thickness
    cover *= soft > 0.03
    tone = np.array(HAIRS[random.integers(len(HAIRS))], np.float32) + random.normal(0, 5, 3)
    light = np.clip(1 + 0.11 * hair - 0.15 * sheet.x**2, 0.3, 1.9)
    sheet.colour = np.clip(tone * light[..., None] + 5 * hair[..., None], 0, 255).astype(np.uint8)
    sheet.alpha = (cover * 255).astype(np.uint8)
    return bend(sheet, pose, 0.1)


def hand(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a hand in front of the mouth, its fingers pointing up or across."""
    sheet = Sheet.blank(pose, -2.2, 0.3, 2.2, 3.2)
    side = random.choice([-1, 1])
    angle = side * random.uniform(0.1, 1.35)
    # The hand comes from one side; the fingertips point up and away from it, past the mouth.
    beyond = random.uniform(0.25, 0.65)
    x, y = float(np.sin(angle)) * beyond, 1.08 - float(np.cos(angle)) * 0.3
    y = max(y, 0.82 + 0.55 * abs(float(np.sin(angle))))
    draw_hand(sheet, skin, random, angle, (x, y))
    sheet.alpha[(sheet.y < 0.76)[:, 0]] = 0
    return sheet


def draw_vessel(sheet: Sheet, half: Points, random: np.random.Generator) -> None:
    """Draw a round vessel, given as its right half, in random colours."""
    area = sheet.area(mirrored(half))
    across = sheet.x / max(x for x, _ in half)
    shine = random.uniform(-0.6, 0.2)
    light = 1.0 - 0.4 * across**2 + 0.25 * np.exp(-(((across - shine) / 0.12) ** 2))
    light = np.broadcast_to(light, sheet.alpha.shape)
    sheet.lay(any_cloth(sheet, random, 0.4) * light[..., None], area)


def cup(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a cup or a mug at the mouth, sometimes with a hand."""
    sheet = Sheet.blank(pose, -2.0, 0.5, 2.0, 3.2)
    top, bottom = random.uniform(0.84, 1.0), random.uniform(1.9, 2.5)
    wide = random.uniform(0.42, 0.68)
    foot = wide * random.uniform(0.7, 1.0)
    half = [(0.0, top), (wide, top), (foot, bottom), (foot * 0.6, bottom + 0.06)]
    draw_vessel(sheet, [*half, (0.0, bottom + 0.08)], random)
    rim = np.full((1, 1, 3), random.uniform(90, 240), np.float32)
    sheet.lay(rim, sheet.area(ellipse(0, top, wide, random.uniform(0.03, 0.07))))
    if random.random() < 0.6:
        side = random.choice([-1, 1])
        middle = (top + bottom) / 2 + 0.2
        draw_hand(sheet, skin, random, -side * 1.45, (-side * wide * 0.7, middle))
    return tilted(sheet, random)


def bottle(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a bottle at the mouth."""
    del skin
    sheet = Sheet.blank(pose, -1.4, 0.5, 1.4, 3.2)
    top, neck = random.uniform(0.88, 1.02), random.uniform(0.13, 0.22)
    wide, shoulder = random.uniform(0.3, 0.5), top + random.uniform(0.4, 0.7)
    half = [(0.0, top), (neck, top), (neck, shoulder)]
    half += [(wide, shoulder + 0.3), (wide, 3.1), (0.0, 3.1)]
    draw_vessel(sheet, half, random)
    return tilted(sheet, random)


def tilted(sheet: Sheet, random: np.random.Generator) -> Sheet:
    """Rotate a sheet slightly around the mouth."""
    centre = ((0 - sheet.left) * sheet.scale, (1.0 - sheet.top) * sheet.scale)
    matrix = cv2.getRotationMatrix2D(centre, random.uniform(-18, 18), 1.0)
    size = (sheet.alpha.shape[1], sheet.alpha.shape[0])
    colour, alpha = (
        np.asarray(cv2.warpAffine(part, matrix, size), np.uint8)
        for part in (sheet.colour, sheet.alpha)
    )
    return Sheet(sheet.left, sheet.top, sheet.scale, colour, alpha)


def paper(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a sheet of paper with writing on it, held below the nose or below the chin."""
    del skin
    sheet = Sheet.blank(pose, -2.2, 0.5, 2.2, 3.2)
    top, wide = random.uniform(0.95, 1.8), random.uniform(0.9, 1.8)
    tone = random.uniform(190, 250) + random.normal(0, 4, 3)
    lines = np.full_like(sheet.colour, 255)
    for y in np.arange(top + 0.25, 3.2, random.uniform(0.14, 0.25)):
        end = wide * random.uniform(0.2, 0.85)
        sheet.stroke(lines, [(-wide * 0.85, y), (end, y)], (90, 90, 100), 0.03)
    size = (sheet.alpha.shape[0], sheet.alpha.shape[1])
    light = 1 + 0.04 * blobs(size, 3, random)
    written = lines / 255 if random.random() < 0.7 else 1.0
    page = np.asarray(tone * light[..., None] * written, np.float32)
    sheet.lay(page, sheet.area([(-wide, top), (wide, top), (wide, 3.15), (-wide, 3.15)]))
    return tilted(sheet, random)


def phone(pose: Pose, skin: Floats, random: np.random.Generator) -> Sheet:
    """Draw a phone, held to the cheek or in front of the mouth, and the hand that holds it."""
    sheet = Sheet.blank(pose, -2.2, -0.6, 2.2, 3.2)
    side = float(random.choice([-1, 1]))
    at_ear = random.random() < 0.5
    x, y = (side * random.uniform(1.05, 1.3), 0.95) if at_ear else (side * 0.2, 1.5)
    angle = side * (random.uniform(0.0, 0.35) if at_ear else random.uniform(1.0, 1.5))
    wide, high = random.uniform(0.3, 0.4), random.uniform(0.7, 0.85)
    draw_hand(sheet, skin, random, angle * 0.6, (x + side * 0.15, y + 0.25))
    corners = [(-wide, -high), (wide, -high), (wide, high), (-wide, high)]
    for size, light in ((1.0, 1.0), (0.9, 0.8)):
        part = [(a * size, b * (size + 0.04)) for a, b in corners]
        tone = np.array(COLOURS["black"] if random.random() < 0.6 else any_colour(random))
        sheet.lay(
            (tone * light)[None, None].astype(np.float32), sheet.area(turned(part, angle, x, y))
        )
    if not at_ear:
        sheet.alpha[(sheet.y < 0.8)[:, 0]] = 0
    return sheet


OCCLUDERS: dict[str, Callable[[Pose, Floats, np.random.Generator], Sheet]] = {
    "scarf": scarf,
    "hand": hand,
    "cup": cup,
    "bottle": bottle,
    "beard": beard,
    "paper": paper,
    "phone": phone,
}
