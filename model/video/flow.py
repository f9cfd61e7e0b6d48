"""Follow boxes from one frame to the next by optical flow."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face
from model.images import Box, Image

Points: TypeAlias = npt.NDArray[np.float32]

LONG_SIDE = 320  # of the grey frame that is looked at
GRID = 5  # points along each side of a box
INNER = 0.8  # the part of a box with the points: the face without the background
WINDOW, LEVELS = (11, 11), 3
MAX_ERROR = 1.0  # pixels of the grey frame between a point and its way there and back
LEAST = 0.4  # of the points must be followed


class Flow:
    """The median flow tracker (Kalal et al. 2010) over one video.

    Of a grid of points in each box it keeps those that, followed to the next frame and back, come
    back to where they were; their median motion and change of distance are the box's.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()
        self._scale = 1.0
        self._before: Image | None = None
        self._after: Image | None = None

    def advance(self, image: Image) -> None:
        """Take the next frame, uint8 RGB; after one of another size nothing can be followed."""
        height, width = image.shape[:2]
        self._scale = min(1.0, LONG_SIDE / max(height, width))
        size = (max(1, round(width * self._scale)), max(1, round(height * self._scale)))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        self._before = self._after if image.shape == self._shape else None
        self._shape = image.shape
        self._after = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)

    @property
    def grey(self) -> Image:
        """The frame last taken as it is looked at: grey and small."""
        if self._after is None:
            raise ValueError("no frame was taken yet")
        return self._after

    def follow(self, image: Image, faces: list[Face]) -> list[Face | None]:
        """Return where faces of the frame before are in the one last taken, None for those lost."""
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
    """Find points (n, 2) of one grey image in another (Lucas and Kanade 1981), and which are."""
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
    """Move a face inside an image as points (n, 2) on it moved."""
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
