"""Which of the faces that were found are judged: the largest ones, in no ignored zone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from model.detectors.faces import Face, largest
from model.detectors.yunet import MOST_FACES
from model.images import Box, Image


@dataclass(frozen=True)
class Zone:
    """A rectangle in fractions of the frame, 0..1; x and y are its left upper corner."""

    x: float
    y: float
    width: float
    height: float

    def holds(self, x: float, y: float) -> bool:
        """Tell whether a point, in fractions of the frame, lies in the zone."""
        return 0 <= x - self.x <= self.width and 0 <= y - self.y <= self.height


@dataclass(frozen=True)
class Selection:
    """Says how many faces are judged at most, and which are left out.

    most: the number, of which the largest are kept. smallest: pixels of the whole picture that the
    shorter side of a face must have. ignored: zones
    in which the centre of a face must not lie, such as a poster or a mirror.
    """

    most: int = MOST_FACES
    smallest: int = 0
    ignored: tuple[Zone, ...] = ()

    def takes(self, box: Box, image: Image, scale: float = 1.0) -> bool:
        """Tell whether a face is large enough and in no ignored zone.

        scale: how many times larger the whole picture is than the image that the box is in.
        """
        height, width = image.shape[:2]
        x = (box.x + box.width / 2) / width
        y = (box.y + box.height / 2) / height
        return box.short_side * scale >= self.smallest and not any(
            zone.holds(x, y) for zone in self.ignored
        )

    def of(self, faces: Iterable[Face], image: Image, scale: float = 1.0) -> list[Face]:
        """Return the faces that are judged."""
        return largest([f for f in faces if self.takes(f.box, image, scale)], self.most)


ALL = Selection()
