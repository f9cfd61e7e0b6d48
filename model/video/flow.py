"""Follow boxes from one frame to the next with optical flow."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face
from model.images import Box, Image

Points: TypeAlias = npt.NDArray[np.float32]

LONG_SIDE = 320  # pixels of the grey frame in which points are followed
GRID = 5  # points along each side of a box
INNER = 0.8  # share of the box that the points cover: the face without the background
WINDOW, LEVELS = (11, 11), 3
MAX_ERROR = 1.0  # pixels of the grey frame between a point and where tracking it back ends
LEAST = 0.4  # share of the points that must be followed


class Flow:
    """The median flow tracker (Kalal et al. 2010) over one video.

    It follows a grid of points in each box to the next frame and back, and keeps the points that
    return to where they started. Their median motion moves the box; the median change of their
    distances scales it.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._scale = 1.0
        self._before: Image | None = None
        self._after: Image | None = None

    def advance(self, image: Image) -> None:
        """Take the next frame, uint8 RGB; if its size differs, nothing can be followed into it."""
        height, width = image.shape[:2]
        self._scale = min(1.0, LONG_SIDE / max(height, width))
        size = (max(1, round(width * self._scale)), max(1, round(height * self._scale)))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        self._before = self._after if image.shape == self._shape else None
        self._shape = image.shape
        self._after = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)

    @property
    def grey(self) -> Image:
        """The last frame, grey and reduced in size."""
        if self._after is None:
            raise ValueError("no frame yet; call advance() first")
        return self._after

    def follow(self, image: Image, faces: list[Face]) -> list[Face | None]:
        """Return where the previous frame's faces are in the last frame; None for a lost face."""
        if not faces or self._before is None or self._after is None:
            return [None] * len(faces)
        points = np.concatenate([grid(face.box) for face in faces]) * np.float32(self._scale)
        there, found = follow(self._before, self._after, points)
        back, returned = follow(self._after, self._before, there)
        kept = found & returned & (np.linalg.norm(back - points, axis=1) <= MAX_ERROR)
        before = np.split(points / self._scale, len(faces))
        after = np.split(there / self._scale, len(faces))
        kepts = np.split(kept, len(faces))
        return [
            moved(image, face, a[k], b[k]) if k.mean() >= LEAST else None
            for face, a, b, k in zip(faces, before, after, kepts, strict=True)
        ]


def follow(before: Image, after: Image, points: Points) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Return where points (n, 2) of a grey image are in another, and which ones were found.

    Uses the optical flow of Lucas and Kanade (1981).
    """
    start = points.copy()
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, start, winSize=WINDOW, maxLevel=LEVELS
    )
    return np.asarray(there, np.float32), found.ravel().astype(bool)


def grid(box: Box) -> Points:
    """Return GRID * GRID points (n, 2) inside a box."""
    shares = np.linspace(0.5 - INNER / 2, 0.5 + INNER / 2, GRID)
    xs, ys = np.meshgrid(box.x + box.width * shares, box.y + box.height * shares)
    return np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)


def moved(image: Image, face: Face, before: Points, after: Points) -> Face:
    """Move and scale a face as the points (n, 2) on it moved, within the image."""
    shift = np.median(after - before, axis=0)
    pairs = np.triu_indices(len(before), 1)
    was, now = (np.linalg.norm(p[pairs[0]] - p[pairs[1]], axis=1) for p in (before, after))
    growth = float(np.median(now / was))
    box = face.box
    centre = np.array([box.x + box.width / 2, box.y + box.height / 2])
    half = np.array([box.width, box.height]) / 2 * growth
    (left, top), (right, bottom) = centre + shift - half, centre + shift + half
    landmarks = face.landmarks
    if landmarks is not None:
        landmarks = np.asarray((landmarks - centre) * growth + centre + shift, np.float32)
    return replace(face, box=Box.within(image, left, top, right, bottom), landmarks=landmarks)
