"""Find the annotated faces with our detector, and cut the crops that the service would judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from model.detectors.faces import Face, FaceDetector
from model.images import LEVEL, Image, ImageError, crop, decode
from model.training.data.boxes import COVERED, HEADS, agreement, contained, encloses_head, part
from model.training.data.dataset import (
    TRAIN_DETECTION_CONFIDENCE,
    Corners,
    DatasetError,
    Sample,
    corners,
    nonempty,
)


def locate(samples: Sequence[Sample], detector: FaceDetector) -> list[Sample]:
    """Add our detector's box and roll to every sample whose face it finds.

    A sample without an annotated box gets the largest face of its picture, one with the box of a
    mask the face around it. Samples whose picture cannot be read, or that have no box of a face,
    are dropped; their number is printed.
    """
    by_path: dict[str, list[Sample]] = {}
    for sample in samples:
        by_path.setdefault(sample.path, []).append(sample)
    located: list[Sample] = []
    for path, annotated in track(by_path.items(), "Finding faces"):
        try:
            image = decode(Path(path).read_bytes())
        except (ImageError, OSError) as error:
            print(f"Skipped {path}: {error}")
            continue
        faces = detector.detect(image, TRAIN_DETECTION_CONFIDENCE)
        located += [placed(sample, faces) for sample in annotated]
    usable = [s for s in located if s.annotated or s.detected]
    if len(usable) < len(samples):
        print(f"Skipped {len(samples) - len(usable)} of {len(samples)} faces: no box or no image")
    return usable


def placed(sample: Sample, faces: Sequence[Face]) -> Sample:
    """Return a sample with the detected face that is its own, and with no other box than a face's.

    The box of a head gives way to the part where the face lies in it.
    """
    face = own(sample, faces)
    annotated = sample.annotated
    if annotated and encloses_head(sample):
        annotated = part(annotated, HEADS[sample.source, sample.cls])
    return replace(
        sample,
        annotated=None if sample.mask_only else annotated,
        detected=corners(face.box) if face else None,
        roll=face.roll if face and abs(face.roll) >= LEVEL else 0.0,
    )


def own(sample: Sample, faces: Sequence[Face]) -> Face | None:
    """Return the detected face that is the annotated one, if any."""
    box = sample.annotated
    if box is None:
        return max(faces, key=lambda face: face.box.width * face.box.height, default=None)

    def fits(face: Face, box: Corners = box) -> float:
        found = corners(face.box)
        if sample.mask_only:
            return face.confidence if contained(box, found) >= COVERED else 0.0
        return agreement(found, box, head=encloses_head(sample))

    best = max(faces, key=fits, default=None)
    return best if best is not None and fits(best) else None


def cut(sample: Sample, margin: float, size: int) -> Image:
    """Return the crop that the service would judge: of the detected, else of the annotated box."""
    image = decode(Path(sample.path).read_bytes())
    box = sample.detected or sample.annotated
    if box is None:
        raise DatasetError(f"{sample.path} has no box")
    return crop(image, nonempty(image, box), margin, size, sample.roll)
