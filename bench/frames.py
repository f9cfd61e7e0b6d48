"""Choose or make the frames for the benchmarks: JPEGs with a given number of faces."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut

from model.images import Image, decode
from model.training.data import dataset

PICTURE = Path(__file__).parent.parent / "docs" / "faces.jpg"
# The squares around the picture's two faces, unmasked and masked: left, top, side.
FACES = ((60, 20, 250), (400, 20, 250))
WALL = (96, 110, 120)
JPEG_QUALITY = 85
MOST_SCENES = 5


def portrait() -> Image:
    """Return NASA's portrait of Eileen Collins, public domain: one unmasked face, 512 x 512."""
    return np.array(astronaut())  # type: ignore[no-untyped-call]


def frame(width: int, height: int, faces: int) -> bytes:
    """Return a JPEG with a number of faces in a grid, alternately unmasked and masked."""
    picture = decode(PICTURE.read_bytes())
    columns = max(1, math.ceil(math.sqrt(faces * width / height)))
    rows = max(1, math.ceil(faces / columns))
    side = min(width // columns, height // rows)
    canvas: Image = np.full((height, width, 3), WALL, np.uint8)
    for index in range(faces):
        left, top, size = FACES[index % 2]
        tile = cv2.resize(picture[top : top + size, left : left + size], (side, side))
        x = (index % columns) * width // columns
        y = (index // columns) * height // rows
        canvas[y : y + side, x : x + side] = tile
    bgr = cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(data).tobytes()


def scenes(data: Path, faces: range) -> list[bytes]:
    """Return JPEGs in which people annotated that many faces, MOST_SCENES at most.

    They are spread evenly over the validation scenes in the folder `data`; none if it is missing.
    """
    if not data.is_dir():
        return []
    counts = Counter(
        sample.path
        for sample in dataset.read(data)
        if sample.split == "val" and sample.human and sample.annotated
    )
    paths = sorted(p for p, count in counts.items() if count in faces and p.endswith(".jpg"))
    chosen = paths[:: max(1, len(paths) // MOST_SCENES)][:MOST_SCENES]
    return [Path(path).read_bytes() for path in chosen]
