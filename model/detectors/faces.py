"""The interface of the face detectors, and the faces that they return."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.images import Box, Image


class DetectorUnavailable(RuntimeError):
    """A detector's weights are missing, or their hash is wrong."""


@dataclass(frozen=True)
class Face:
    """One detected face.

    box: inside the image. confidence: 0..1. landmarks: float32 (5, 2) pixels in the order
    right eye, left eye, nose tip, right and left corner of the mouth (the person's right, which
    is left in the picture); None if the detector gives none. states: the probabilities of a
    correctly worn mask, no mask and an incorrectly worn mask; None if the detector gives none.
    roll: by how many degrees the face is turned clockwise, -180..180; 0 if the detector gives none.
    """

    box: Box
    confidence: float
    landmarks: npt.NDArray[np.float32] | None = None
    states: tuple[float, ...] | None = None
    roll: float = 0.0

    def scaled(self, factor: float, size: tuple[int, int]) -> Face:
        """Return the face in the same picture enlarged by a factor; size: its (width, height)."""
        left, top = round(self.box.x * factor), round(self.box.y * factor)
        right = min(round((self.box.x + self.box.width) * factor), size[0])
        bottom = min(round((self.box.y + self.box.height) * factor), size[1])
        landmarks = None if self.landmarks is None else self.landmarks * np.float32(factor)
        box = Box(left, top, right - left, bottom - top)
        return replace(self, box=box, landmarks=landmarks)


class FaceDetector(Protocol):
    """Finds faces; threads may share an instance."""

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first."""


def verified(path: Path, sha256: str) -> bytes:
    """Read a weights file; raises DetectorUnavailable if it is missing or its SHA-256 differs."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DetectorUnavailable(f"{path.name} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DetectorUnavailable(f"{path.name} has sha256 {found}, expected {sha256}.")
    return data


def largest(faces: list[Face], most: int) -> list[Face]:
    """Return the largest faces, at most `most` of them, in their given order."""
    sizes = [face.box.width * face.box.height for face in faces]
    kept = sorted(range(len(faces)), key=lambda index: -sizes[index])[:most]
    return [faces[index] for index in sorted(kept)]


def ordered(faces: list[Face]) -> list[Face]:
    """Drop faces with an empty box and sort the rest by falling confidence."""
    return sorted((f for f in faces if f.box.short_side > 0), key=lambda f: -f.confidence)
