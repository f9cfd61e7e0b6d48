"""Draw face masks on faces. Tables define the shapes and the ways of wearing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from model.detectors.faces import Face
from model.images import Image
from model.training.drawing.fabrics import COLOURS, PATTERNS, any_colour, blobs, printed
from model.training.drawing.poses import pose_of
from model.training.drawing.sheets import (
    Colour,
    Floats,
    Points,
    Sheet,
    bend,
    lay_on,
    mirrored,
    noise,
    smooth,
)

Worn = Literal["right", "under_nose", "chin", "eyes"]
WAYS: tuple[Worn, ...] = get_args(Worn)


@dataclass(frozen=True)
class Shape:
    """The right half of a kind of mask, in a face's own coordinates (see poses).

    outline: from the middle of the top to the middle of the bottom. folds: pleats and seams, from
    the middle outwards. straps: from the mask's side to the ear or around the head. patterned:
    share of masks with a pattern. valve: share of masks with a valve. colours: usual colours; empty
    means any.
    """

    outline: Points
    folds: tuple[Points, ...]
    straps: tuple[Points, ...]
    patterned: float
    valve: float = 0.0
    colours: tuple[str, ...] = ()


LOOPS: tuple[Points, ...] = (
    ((0.97, 0.62), (1.1, 0.38), (1.2, 0.2)),
    ((0.93, 1.12), (1.1, 0.86), (1.21, 0.5)),
)
BANDS: tuple[Points, ...] = (
    ((0.78, 0.8), (1.05, 0.35), (1.25, -0.1)),
    ((0.84, 1.2), (1.0, 1.08), (1.12, 0.95)),
)
SHAPES: dict[str, Shape] = {
    "surgical": Shape(
        outline=(
            *((0.0, 0.3), (0.2, 0.33), (0.42, 0.5), (0.7, 0.58), (1.02, 0.56)),
            *((1.04, 0.85), (0.98, 1.18), (0.84, 1.5), (0.52, 1.84), (0.0, 1.94)),
        ),
        folds=(
            ((0.0, 0.86), (0.5, 0.82), (1.0, 0.7)),
            ((0.0, 1.12), (0.5, 1.06), (1.0, 0.88)),
            ((0.0, 1.38), (0.5, 1.3), (0.98, 1.04)),
        ),
        straps=LOOPS,
        patterned=0.12,
        colours=("blue", "blue", "white", "white", "green", "pink", "black", "grey"),
    ),
    "n95": Shape(
        outline=(
            *((0.0, 0.24), (0.18, 0.28), (0.4, 0.52), (0.72, 0.72), (0.9, 0.92)),
            *((0.9, 1.25), (0.72, 1.62), (0.4, 1.88), (0.0, 1.94)),
        ),
        folds=(((0.0, 0.6), (0.36, 0.74), (0.66, 1.0), (0.62, 1.36), (0.34, 1.62), (0.0, 1.68)),),
        straps=BANDS,
        patterned=0.05,
        valve=0.5,
        colours=("white", "white", "white", "grey", "blue", "black"),
    ),
    "folded": Shape(  # KF94, FFP2: three panels; the middle one stands out like a boat
        outline=(
            *((0.0, 0.26), (0.22, 0.3), (0.5, 0.5), (0.86, 0.66), (1.06, 0.76)),
            *((1.04, 1.08), (0.82, 1.42), (0.52, 1.8), (0.25, 1.94), (0.0, 1.96)),
        ),
        folds=(
            ((0.0, 0.66), (0.4, 0.7), (0.75, 0.8), (1.04, 0.9)),
            ((0.0, 1.36), (0.4, 1.3), (0.75, 1.14), (1.04, 0.98)),
        ),
        straps=LOOPS,
        patterned=0.05,
        colours=("white", "white", "black", "black", "grey", "pink", "navy"),
    ),
    "cloth": Shape(
        outline=(
            *((0.0, 0.26), (0.18, 0.3), (0.42, 0.5), (0.74, 0.56), (1.06, 0.52)),
            *((1.06, 1.1), (0.88, 1.45), (0.52, 1.84), (0.0, 1.96)),
        ),
        folds=(((0.0, 0.26), (0.012, 1.0), (0.0, 1.96)), ((0.96, 0.5), (0.96, 1.2))),
        straps=LOOPS,
        patterned=0.65,
    ),
}


@dataclass(frozen=True)
class Place:
    """Where a mask is on the face: its top and bottom, and its breadth relative to the shape's.

    flat: 1 or more; larger values give a straighter upper edge. ridge: how far it stands out from
    the cheeks, at the nose a little more than the nose itself. slack: variation of the top; the
    bottom varies a little more than half as much.
    """

    top: float
    bottom: float
    breadth: float
    flat: float
    ridge: float
    slack: float


PLACES: dict[Worn, Place] = {
    "right": Place(top=0.28, bottom=1.94, breadth=1.0, flat=1.0, ridge=0.37, slack=0.04),
    "under_nose": Place(top=0.77, bottom=2.0, breadth=0.97, flat=1.6, ridge=0.12, slack=0.11),
    "chin": Place(top=1.33, bottom=2.12, breadth=0.92, flat=1.3, ridge=0.08, slack=0.15),
    "eyes": Place(top=-0.6, bottom=0.38, breadth=0.95, flat=1.0, ridge=0.1, slack=0.15),
}


def synthesize_mask(  # noqa: PLR0913
    image: Image,
    face: Face,
    colour: Colour,
    *,
    second: Colour = COLOURS["white"],
    worn: Worn = "right",
    shape: str = "surgical",
    pattern: str = "plain",
    random: np.random.Generator | None = None,
) -> Image:
    """Return a copy of a uint8 RGB image with a mask of an RGB colour drawn on the face.

    second: the colour of the pattern. random: varies creases, grain and the exact place of the
    mask; without it the result is always the same.
    Raises ValueError for a face without landmarks.
    """
    random = random or np.random.default_rng(0)
    pose = pose_of(face)
    kind = SHAPES[shape]
    place = PLACES[worn]
    top = place.top + random.uniform(-place.slack, place.slack)
    bottom = place.bottom + random.uniform(-1, 1) * (0.03 + 0.6 * place.slack)
    sheet = Sheet.blank(pose, -1.35, min(-0.3, top - 0.15), 1.35, 2.45)
    breadth = place.breadth * random.uniform(0.94, 1.02)
    start, end = kind.outline[0][1], kind.outline[-1][1]

    def put(points: Points) -> Points:
        parts = [(x, float(np.clip((y - start) / (end - start), 0, 1))) for x, y in points]
        return [(x * breadth, top + part**place.flat * (bottom - top)) for x, part in parts]

    outline = [
        (x + random.normal(0, 0.015), y + random.normal(0, 0.012))
        for x, y in mirrored(put(kind.outline))
    ]
    area = sheet.area(smooth(outline))
    strap = COLOURS["white"] if random.random() < 0.5 else colour
    for line in kind.straps:
        start_of_line, *rest = line
        # The strap's end at the ear does not move with the mask.
        points = smooth([*put([start_of_line]), *rest], closed=False)
        for side in (1, -1):
            path = [(side * x, y) for x, y in points]
            sheet.stroke(sheet.colour, path, strap, 0.05)
            sheet.stroke(sheet.alpha, path, (255,), 0.035)
    along = 0.5 * sheet.x * np.sqrt(1 + 2 * sheet.x**2) + 0.35 * np.arcsinh(1.4 * sheet.x)
    cloth = printed(pattern, (colour, second), along, sheet.y, random)
    cloth *= relief(sheet, kind, put, worn, random)[..., None]
    sheet.lay(cloth, area)
    if random.random() < kind.valve:
        draw_valve(sheet, put, random)
    sheet = bend(sheet, pose, place.ridge)
    return lay_on(image, sheet, pose, random)


def relief(
    sheet: Sheet,
    kind: Shape,
    put: Callable[[Points], Points],
    worn: Worn,
    random: np.random.Generator,
) -> Floats:
    """Return the light on the cloth from roundness, creases, folds and weave; about 1."""
    height, width = sheet.alpha.shape
    light = 1.06 - 0.24 * sheet.x**2 - 0.22 * np.clip(sheet.y - 1.2, 0, 1)
    crumpled = random.uniform(0.01, 0.04) * (1 if worn == "right" else 1.8)
    creases = blobs((height, width), random.uniform(5, 9), random)
    creases += blobs((height, 8), 14, random)[:, np.linspace(0, 7, width).astype(int)]
    light = light + crumpled * creases
    light += random.uniform(0.005, 0.025) * noise((height, width), random)
    for colour, shift, width_of_line in ((0.0, 0.0, 0.03), (255.0, 0.035, 0.025)):
        lines = np.full((height, width), 128, np.uint8)
        for fold in kind.folds:
            points = smooth(put(fold), closed=False)
            for side in (1, -1):
                path = [(side * x, y + shift) for x, y in points]
                sheet.stroke(lines, path, (colour,), width_of_line)
        soft = cv2.GaussianBlur(lines, (0, 0), 0.018 * sheet.scale)
        light += random.uniform(0.16, 0.3) * (soft.astype(np.float32) - 128) / 128
    hem = np.full((height, width), 128, np.uint8)
    rim = smooth(mirrored(put(kind.outline)))
    sheet.stroke(hem, [*rim, rim[0]], (40.0,), 0.07)
    soft = cv2.GaussianBlur(hem, (0, 0), 0.02 * sheet.scale)
    light += random.uniform(0.03, 0.15) * (soft.astype(np.float32) - 128) / 128
    return np.asarray(light, np.float32)


def draw_valve(sheet: Sheet, put: Callable[[Points], Points], random: np.random.Generator) -> None:
    """Draw an exhalation valve on one side of the mask."""
    ((x, y),) = put([(random.choice([-0.4, 0.4]), 1.15)])
    radius = random.uniform(0.15, 0.2)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    grey = random.uniform(120, 225)
    for size, light in ((1.0, 0.75), (0.88, 1.0), (0.55, 0.85), (0.47, 1.0)):
        ring = [
            (x + float(radius * size * np.cos(a)), y + float(radius * size * np.sin(a)))
            for a in angles
        ]
        sheet.lay(np.full((1, 1, 3), grey * light, np.float32), sheet.area(ring))


def synthesize_any_mask(
    image: Image, face: Face, random: np.random.Generator, worn: Worn = "right"
) -> Image:
    """Return a copy of a uint8 RGB image with a mask of random shape, colour and pattern.

    Raises ValueError for a face without landmarks.
    """
    shape = str(random.choice(list(SHAPES)))
    kind = SHAPES[shape]
    colour, second = any_colour(random), any_colour(random)
    if kind.colours and random.random() < 0.8:
        usual = COLOURS[str(random.choice(kind.colours))]
        red, green, blue = np.clip(np.array(usual) + random.normal(0, 7, 3), 8, 250)
        colour = (int(red), int(green), int(blue))
    patterned = random.random() < kind.patterned
    pattern = str(random.choice(list(PATTERNS))) if patterned else "plain"
    return synthesize_mask(
        image,
        face,
        colour,
        second=second,
        worn=worn,
        shape=shape,
        pattern=pattern,
        random=random,
    )
