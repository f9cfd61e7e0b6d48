"""Cut out each face with its surroundings once, so that epochs need not decode whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from model.detectors.faces import Face
from model.detectors.yunet import YuNet
from model.images import Box, Image, decode
from model.training.data.dataset import Corners, Sample, corners, overlap

REACH = 1.0  # from the face's centre, in longer sides of its box: room to rotate, shift and widen
MAX_SIDE = 344  # pixels; a crop of such a window has the network's 224
SAME_FACE = 0.3  # intersection over union


@dataclass(frozen=True)
class Window:
    """A face and its surroundings.

    pixels: uint8 RGB. boxes: one or two boxes of the face, in pixels of the window. face: our
    detector's face in the window, with landmarks; None if nothing can be drawn on it. roll: degrees
    by which the face is turned clockwise; a crop is turned back by as much.
    """

    pixels: Image
    boxes: tuple[Corners, ...]
    face: Face | None = None
    roll: float = 0.0


def cut_windows(samples: Sequence[Sample]) -> list[Window]:
    """Cut a window for each sample, in the same order; needs about 150 KB of memory per face."""
    windows: dict[int, Window] = {}
    detector = YuNet(glance=False)
    by_path: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        by_path.setdefault(sample.path, []).append(index)
    for path, indices in track(by_path.items(), "Cutting faces out"):
        image = decode(Path(path).read_bytes())
        for index in indices:
            windows[index] = window_of(image, samples[index], detector)
    return [windows[index] for index in range(len(samples))]


def window_of(image: Image, sample: Sample, detector: YuNet) -> Window:
    """Cut one face's window; if the face is unmasked, detect it in the window to draw on it."""
    boxes = [box for box in (sample.detected, sample.annotated) if box is not None]
    left, top, right, bottom = boxes[0]
    reach = REACH * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    place = Box.within(image, x - reach, y - reach, x + reach, y + reach)
    pixels = image[place.y : place.y + place.height, place.x : place.x + place.width]
    scale = min(1.0, MAX_SIDE / max(place.long_side, 1))
    if scale < 1:
        pixels = np.asarray(
            cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    moved = tuple(moved_into(box, place, scale) for box in boxes)
    face = find(pixels, moved[0], detector) if sample.cls == "without_mask" else None
    return Window(np.ascontiguousarray(pixels), moved, face, sample.roll)


def moved_into(box: Corners, place: Box, scale: float) -> Corners:
    """Convert a box from the frame's pixels to those of a window."""
    left, top, right, bottom = box
    return (
        (left - place.x) * scale,
        (top - place.y) * scale,
        (right - place.x) * scale,
        (bottom - place.y) * scale,
    )


def find(pixels: Image, box: Corners, detector: YuNet) -> Face | None:
    """Return the face that our detector finds at a box of the window; None if there is none."""
    faces = detector.detect(pixels, 0.5)
    best = max(faces, key=lambda face: overlap(corners(face.box), box), default=None)
    return best if best and overlap(corners(best.box), box) >= SAME_FACE else None
