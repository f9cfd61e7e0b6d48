"""Draw training frames: pictures seen as cameras see them, with their faces.

A frame is a picture turned, scaled, cut and lit in some way, or four of them side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face
from model.images import Box, Image, open_picture
from model.training import augment
from model.training.detector.pictures import STATES, Labelled, Target, weights_of
from model.training.drawing.headgear import dress
from model.training.drawing.synthesize import KINDS

Random: TypeAlias = np.random.Generator
Array: TypeAlias = npt.NDArray[np.float32]

BATCHES = {320: 16, 480: 8, 640: 6}  # frames a batch by the side of its frames, in pixels
WHOLE = 0.45  # share of frames that show the whole picture
MISTAKEN = 0.5  # share of the other frames that show a trap or a missed face, where there is one
MOSAIC = 0.2  # share of frames that are made of four
TURNED, TURN = 0.4, 8.0  # share of frames that are turned; degrees of the others, deviation
QUARTERS = 0.5  # share of the turned frames that are turned by about 90, 180 or 270 degrees
LEAST, MOST = 10.0, 0.8  # a face's size: pixels in a frame of 640, share of the frame
LARGEST_ZOOM = 2.0
LEAST_FILLED = 0.45  # of a frame's side that a picture covers
TINY, SMALL = 6.0, 8.0  # pixels: ignored below TINY, no landmarks below SMALL times two
VISIBLE = 0.4  # share of a face that the frame's edge must leave for it to be learned
DRAWN = 0.25  # share of unmasked faces that something is drawn on
DRESSED = 0.2  # share of all faces that get a hood, goggles, a cap or the like
LEAST_DRAWN, LEAST_DRESSED = 40, 16  # pixels of a face's shorter side that it is drawn on
MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror
MOST_FACES = 64
SHRUNK = 1600  # pixels of the longer side at which a large JPEG is decoded


@dataclass(frozen=True)
class View:
    """A frame and its faces.

    pixels: uint8 RGB. boxes (g, 4), exact (g,), state (g,), landmarks (g, 10), marked (g,) and
    ignored (i, 4) as in losses.Targets.
    """

    pixels: Image
    boxes: Array
    exact: Array
    state: npt.NDArray[np.int32]
    landmarks: Array
    marked: Array
    ignored: Array


def batches(
    pictures: Sequence[Labelled], seed: int, first: int, last: int
) -> Iterator[tuple[Array, tuple[npt.NDArray[np.generic], ...]]]:
    """Yield the batches numbered first to last - 1, each the same for the same seed and number.

    A batch is float32 BGR frames (n, side, side, 3) and the fields of losses.Targets.
    """
    weights = weights_of(pictures)
    ahead: deque[Future[tuple[Array, tuple[npt.NDArray[np.generic], ...]]]] = deque()
    with ThreadPoolExecutor(2) as pool:
        try:
            for number in range(first, last):
                ahead.append(pool.submit(batch, pictures, weights, (seed, number)))
                if len(ahead) > 4:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def batch(
    pictures: Sequence[Labelled], weights: npt.NDArray[np.float64], seed: tuple[int, int]
) -> tuple[Array, tuple[npt.NDArray[np.generic], ...]]:
    """Draw one batch."""
    random = np.random.default_rng(seed)
    side = int(random.choice(list(BATCHES)))
    chosen = iter(random.choice(len(pictures), size=BATCHES[side] * 4, p=weights))
    views = []
    for _ in range(BATCHES[side]):
        if random.random() < MOSAIC:
            four = [view(pictures[next(chosen)], side // 2, random) for _ in range(4)]
            views.append(photographed(mosaic(four), random))
        else:
            views.append(photographed(view(pictures[next(chosen)], side, random), random))
    frames = np.stack([v.pixels[..., ::-1] for v in views]).astype(np.float32)
    most = round_up(max(len(v.boxes) for v in views))
    areas = round_up(max(len(v.ignored) for v in views))
    fields = (
        padded([v.boxes for v in views], most),
        padded([np.ones(len(v.boxes), np.float32) for v in views], most),
        padded([v.exact for v in views], most),
        padded([v.state for v in views], most),
        padded([v.landmarks for v in views], most),
        padded([v.marked for v in views], most),
        padded([v.ignored for v in views], areas),
    )
    return frames, fields


def round_up(count: int) -> int:
    """Return the next power of two from 4 on, so that few shapes occur."""
    return max(4, 1 << (count - 1).bit_length()) if count else 4


def padded(arrays: Sequence[npt.NDArray[np.generic]], length: int) -> npt.NDArray[np.generic]:
    """Stack arrays of different lengths, filled up with zeros."""
    result = np.zeros((len(arrays), length, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: len(array)] = array
    return result


def view(picture: Labelled, side: int, random: Random) -> View:
    """Draw a square frame of one picture."""
    frame = open_picture(Path(picture.path).read_bytes()).decode(SHRUNK)
    image, scale = frame.image, 1 / frame.scale
    matrix = geometry(picture, image.shape[1], image.shape[0], scale, side, random)
    shrink = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    to_image = matrix
    if shrink < 0.5:  # warping looks at few pixels: average them first
        smaller = np.asarray(
            cv2.resize(image, None, fx=2 * shrink, fy=2 * shrink, interpolation=cv2.INTER_AREA),
            np.uint8,
        )
        ratio = np.array([image.shape[1] / smaller.shape[1], image.shape[0] / smaller.shape[0]])
        to_image = matrix * np.array([[ratio[0], ratio[1], 1.0]])
        image = smaller
    grey = int(random.integers(256)) if random.random() < 0.5 else 0
    pixels = cv2.warpAffine(image, to_image, (side, side), borderValue=(grey, grey, grey))
    matrix = matrix * np.array([[scale, scale, 1.0]])
    return seen(np.asarray(pixels, np.uint8), picture.targets, matrix, random)


def geometry(  # noqa: PLR0913, PLR0917
    picture: Labelled, width: int, height: int, scale: float, side: int, random: Random
) -> npt.NDArray[np.float64]:
    """Draw a matrix (2, 3) from the picture's pixels to the frame's.

    scale: from the pixels of the targets to those of the picture as it was decoded.
    """
    places = [t.box for t in picture.targets if not t.ignored]
    mistakes = [*picture.traps, *picture.missed]
    if mistakes and random.random() < MISTAKEN:
        places = mistakes
    if random.random() < WHOLE or not places:
        zoom = side / max(width, height) * random.uniform(0.6, 1.1)
        middle = np.array([width, height]) / 2
        room = np.abs(side - zoom * np.array([width, height])) / 2
        where = side / 2 + random.uniform(-1, 1, 2) * room
    else:
        box = np.array(places[random.integers(len(places))]) * scale
        size = float(max(box[2] - box[0], box[3] - box[1], 1.0))
        low, high = np.log(LEAST * side / 640), np.log(MOST * side)
        zoom = min(np.exp(random.uniform(low, high)) / size, LARGEST_ZOOM)
        zoom = max(zoom, LEAST_FILLED * side / max(width, height))
        middle = (box[:2] + box[2:]) / 2
        where = random.uniform(0.1, 0.9, 2) * side
    angle = np.deg2rad(random.normal(0, TURN))
    if random.random() < TURNED:
        if random.random() < QUARTERS:
            angle += random.integers(1, 4) * np.pi / 2
        else:
            angle = random.uniform(-np.pi, np.pi)
    stretch = random.uniform(0.9, 1.1)
    mirror = -1.0 if random.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([zoom * mirror * stretch, zoom / stretch])
    return np.column_stack([linear, where - linear @ middle])


def seen(
    pixels: Image, targets: Sequence[Target], matrix: npt.NDArray[np.float64], random: Random
) -> View:
    """Move a picture's faces into the frame; draw masks and other things on some of them."""
    side = pixels.shape[0]
    boxes, exact, state, landmarks, marked, ignored = [], [], [], [], [], []
    for target in targets:
        whole = moved(np.array(target.box), matrix)
        box = np.clip(whole, 0, side)
        area, left = np.prod(whole[2:] - whole[:2]), np.prod(box[2:] - box[:2])
        if left <= 0:
            continue
        small = float(np.min(box[2:] - box[:2]))
        if target.ignored or left < VISIBLE * area or small < TINY:
            ignored.append(box)
            continue
        points = moved_points(target, matrix)
        label = target.state
        if label == STATES["without_mask"] and points is not None and random.random() < DRAWN:
            pixels, label = drawn(pixels, box, points, random)
        if points is not None and random.random() < DRESSED:
            pixels = dressed(pixels, box, points, random)
        boxes.append(box)
        exact.append(float(target.exact))
        state.append(label)
        marked.append(float(points is not None and small >= 2 * SMALL))
        landmarks.append(np.zeros(10) if points is None else points.ravel())
    boxes, landmarks = boxes[:MOST_FACES], landmarks[:MOST_FACES]
    return View(
        pixels,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(exact[:MOST_FACES], np.float32),
        np.array(state[:MOST_FACES], np.int32),
        np.array(landmarks, np.float32).reshape(-1, 10),
        np.array(marked[:MOST_FACES], np.float32),
        np.array(ignored[:MOST_FACES], np.float32).reshape(-1, 4),
    )


def moved(box: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the box around the ellipse that fills a box, after the matrix.

    A face is oval: the box around the turned corners would be too large.
    """
    middle = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2]
    half = np.sqrt(((matrix[:, :2] * ((box[2:] - box[:2]) / 2)) ** 2).sum(1))
    return np.concatenate([middle - half, middle + half])


def moved_points(target: Target, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Return landmarks (5, 2) after the matrix; None of a face without them."""
    if not target.landmarks:
        return None
    points = np.array(target.landmarks).reshape(5, 2) @ matrix[:, :2].T + matrix[:, 2]
    mirrored = np.linalg.det(matrix[:, :2]) < 0
    return points[MIRRORED] if mirrored else points


def drawn(
    pixels: Image,
    box: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    random: Random,
) -> tuple[Image, int]:
    """Draw a mask, or what is none, on an unmasked face; return the pixels and the new state."""
    left, top, right, bottom = box
    place = Box.within(pixels, left, top, right, bottom)
    if place.short_side < LEAST_DRAWN:
        return pixels, STATES["without_mask"]
    names = list(augment.DRAWN)
    kind = KINDS[str(random.choice(names, p=list(augment.DRAWN.values())))]
    face = Face(place, 1.0, np.asarray(points, np.float32))
    return kind.draw(pixels, face, random), STATES[kind.cls]


def dressed(
    pixels: Image,
    box: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    random: Random,
) -> Image:
    """Draw what people wear on their heads, unless the face is too small to see it."""
    left, top, right, bottom = box
    place = Box.within(pixels, left, top, right, bottom)
    if place.short_side < LEAST_DRESSED:
        return pixels
    return dress(pixels, Face(place, 1.0, np.asarray(points, np.float32)), random)


def mosaic(four: Sequence[View]) -> View:
    """Put four square frames of one size side by side."""
    side = four[0].pixels.shape[0]
    corners = [(0, 0), (side, 0), (0, side), (side, side)]
    rows = [np.hstack([v.pixels for v in four[:2]]), np.hstack([v.pixels for v in four[2:]])]
    shifts = [np.array([x, y], np.float32) for x, y in corners]
    pairs = list(zip(four, shifts, strict=True))
    return View(
        np.vstack(rows),
        np.concatenate([v.boxes + np.tile(s, 2) for v, s in pairs])[:MOST_FACES],
        np.concatenate([v.exact for v in four])[:MOST_FACES],
        np.concatenate([v.state for v in four])[:MOST_FACES],
        np.concatenate([v.landmarks + np.tile(s, 5) for v, s in pairs])[:MOST_FACES],
        np.concatenate([v.marked for v in four])[:MOST_FACES],
        np.concatenate([v.ignored + np.tile(s, 2) for v, s in pairs])[:MOST_FACES],
    )


def photographed(frame: View, random: Random) -> View:
    """Change a frame as a camera does: light, colour, blur, noise, compression, night vision."""
    pixels = frame.pixels
    if random.random() < 0.5:
        pixels = augment.relit(pixels, random)
    if random.random() < 0.15:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.4, 2.0)), np.uint8)
    if random.random() < 0.12:
        pixels = augment.noisy(pixels, random)
    if random.random() < 0.08:
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if random.random() < 0.35:
        pixels = augment.compressed(pixels, random)
    return View(
        np.asarray(pixels, np.uint8),
        frame.boxes,
        frame.exact,
        frame.state,
        frame.landmarks,
        frame.marked,
        frame.ignored,
    )
