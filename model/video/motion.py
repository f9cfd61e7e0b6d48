"""Detect cheaply whether something new may have come into view."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from model.images import Box, Image

CELL = 16  # pixels in a frame of LONG_SIDE; smaller than the smallest detectable face
LONG_SIDE = 640
CHANGE = 10.0  # grey levels of a cell's mean; eight times the variation of a noisy camera
LEAST = 2  # cells
# Hair, shoulders and chest move with a followed face: the area to ignore, in sides of its box.
ABOVE, ASIDE, BELOW = 0.6, 1.2, 2.5


class Motion:
    """Changes since the last frame that was searched for faces, away from known people."""

    def __init__(self) -> None:
        self._seen: npt.NDArray[np.float32] | None = None
        self._now: npt.NDArray[np.float32] | None = None

    def advance(self, image: Image) -> None:
        """Take the next frame, uint8 RGB or grey."""
        height, width = image.shape[:2]
        scale = LONG_SIDE / max(height, width) / CELL
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        cells = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._now = np.asarray(cells, np.float32)

    def look(self) -> None:
        """Record that the last frame was searched for faces."""
        self._seen = self._now

    def news(self, shape: tuple[int, ...], known: Iterable[Box]) -> bool:
        """Return whether the image has changed away from the known faces.

        shape: the shape of the frame in which the faces' boxes are. Uniform lighting changes are
        ignored.
        """
        before, now = self._seen, self._now
        if before is None or now is None or before.shape != now.shape:
            return True
        light = (np.median(now) + 1) / (np.median(before) + 1)
        changed = np.abs(now / light - before) > CHANGE
        down, across = now.shape[0] / shape[0], now.shape[1] / shape[1]
        for box in known:
            side = box.long_side
            top, bottom = box.y - ABOVE * side, box.y + box.height + BELOW * side
            left, right = box.x - ASIDE * side, box.x + box.width + ASIDE * side
            rows = slice(max(int(top * down), 0), max(int(np.ceil(bottom * down)), 0))
            columns = slice(max(int(left * across), 0), max(int(np.ceil(right * across)), 0))
            changed[rows, columns] = False
        return int(np.count_nonzero(changed)) >= LEAST
