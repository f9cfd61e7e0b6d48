"""Collect what detectors take for faces in labelled pictures, and tell which of it is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from rich.progress import track

from model.detectors.faces import Face, FaceDetector
from model.images import Image, ImageError, decode
from model.training.data.dataset import Corners, corners, overlap
from model.training.detector.pictures import Labelled, shows, touched

LEAST = 0.12  # confidence of the labeller from which a place may be a face
SMALLEST = 8  # pixels of a candidate's shorter side
DOUBLE = 0.7  # intersection over union of two candidates from which one is enough

Search: TypeAlias = Callable[[Image], list[Face]]


@dataclass(frozen=True)
class Candidate:
    """A place in a picture that a detector takes for a face, and whether it is one.

    source: the data set. box: left, top, right, bottom in pixels. confidence: the detector's; 0 for
    a face that no detector found.
    """

    path: str
    source: str
    box: Corners
    confidence: float
    is_face: bool


def collect(
    pictures: Sequence[Labelled], searches: Sequence[Search], labeller: FaceDetector
) -> list[Candidate]:
    """Return the candidates of all pictures; a place that may be a face or not is left out.

    searches: detectors, each at a size and confidence of its own. labeller: a second opinion on
    what no one annotated.
    """

    def of(picture: Labelled) -> list[Candidate]:
        return list(candidates_of(picture, searches, labeller))

    with ThreadPoolExecutor(2) as pool:
        found = pool.map(of, pictures)
        return [c for each in track(found, "Searching", total=len(pictures)) for c in each]


def candidates_of(
    picture: Labelled, searches: Sequence[Search], labeller: FaceDetector
) -> Iterator[Candidate]:
    """Yield the candidates of a picture, those of the surest detections first."""
    try:
        image = decode(Path(picture.path).read_bytes())
    except (ImageError, OSError) as error:
        print(f"Left out {picture.path}: {error}")
        return
    faces = [target for target in picture.targets if not target.ignored]
    unclear = [target.box for target in picture.targets if target.ignored]
    found = [face for search in searches for face in search(image)]
    seen: list[Corners] | None = None
    kept: list[Corners] = []
    for face in sorted(found, key=lambda f: -f.confidence):
        box = corners(face.box)
        if face.box.short_side < SMALLEST or any(overlap(box, k) > DOUBLE for k in kept):
            continue
        is_face = any(shows(box, target) for target in faces)
        if not is_face:
            if touched(face, [target.box for target in faces] + unclear):
                continue
            if seen is None:
                seen = [corners(f.box) for f in labeller.detect(image, LEAST)]
            if touched(face, seen):
                continue
        kept.append(box)
        yield Candidate(picture.path, picture.source, box, face.confidence, is_face)
    for target in faces:
        if target.exact and not any(overlap(target.box, k) > DOUBLE for k in kept):
            yield Candidate(picture.path, picture.source, target.box, 0.0, is_face=True)


def save(candidates: Sequence[Candidate], file: Path) -> None:
    """Write candidates as JSON, one a line."""
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(asdict(c)) + "\n" for c in candidates))
    temporary.replace(file)


def load(file: Path) -> list[Candidate]:
    """Read what save() wrote."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [Candidate(**(row | {"box": tuple(row["box"])})) for row in rows]
