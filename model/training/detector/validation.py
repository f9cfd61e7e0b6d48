"""Watch a detector learn: what it finds in the validation scenes, and what it takes for a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.detectors.faces import Face, FaceDetector
from model.images import Image, decode
from model.training.data import dataset
from model.training.data.boxes import agreement, encloses_head
from model.training.data.dataset import Sample, corners, overlap, short_side
from model.training.detector.pictures import STATES

LEAST_CONFIDENCE = 0.05
CONFIDENCE = 0.5  # at which recall and false alarms are reported
SIZE = 20  # pixels of a face's shorter side from which it counts
ALARM = 32  # pixels of a false alarm's shorter side from which it counts


@dataclass(frozen=True)
class Scene:
    """A picture whose faces were boxed by people."""

    image: Image
    faces: tuple[Sample, ...]


@dataclass(frozen=True)
class Found:
    """An annotated face and the detection that matches it, if any."""

    sample: Sample
    face: Face | None


def scenes_of(
    data: Path,
    split: str = "val",
    sources: frozenset[str] | None = None,
    leave_out: frozenset[str] = frozenset(),
) -> list[Scene]:
    """Read the scenes boxed by people, of all sets or of some. Raises DatasetError."""
    by_path: dict[str, list[Sample]] = {}
    for sample in dataset.read(data):
        wanted = sample.source not in leave_out and (sources is None or sample.source in sources)
        if wanted and sample.split == split and sample.human and sample.annotated:
            by_path.setdefault(sample.path, []).append(sample)
    return [Scene(decode(Path(p).read_bytes()), tuple(faces)) for p, faces in by_path.items()]


def match(faces: Sequence[Face], scene: Scene) -> tuple[list[Found], list[Face]]:
    """Return what became of each annotated face, and the detections that match none."""
    free = dict(enumerate(scene.faces))
    found, alarms = [], []
    for face in sorted(faces, key=lambda f: -f.confidence):
        scores = {
            i: agreement(corners(face.box), sample.annotated, head=encloses_head(sample))
            for i, sample in free.items()
            if sample.annotated
        }
        best = max(scores, key=scores.__getitem__, default=-1)
        if best < 0 or not scores[best]:
            alarms.append(face)
            continue
        found.append(Found(free.pop(best), face))
    return found + [Found(sample, None) for sample in free.values()], alarms


def measure(
    detector: FaceDetector, scenes: Sequence[Scene], confidence: float = CONFIDENCE
) -> dict[str, float]:
    """Return recall by class, false alarms a picture, average precision, IoU, right states.

    False alarms count from ALARM pixels on; a share without cases is NaN.
    """
    rows: list[Found] = []
    alarms: list[Face] = []
    for scene in scenes:
        found, others = match(detector.detect(scene.image, LEAST_CONFIDENCE), scene)
        rows += [r for r in found if r.sample.annotated and short_side(r.sample.annotated) >= SIZE]
        alarms += [face for face in others if face.box.short_side >= ALARM]
    seen = [r.face is not None and r.face.confidence >= confidence for r in rows]
    masked = [r.sample.cls == "with_mask" for r in rows]
    bare = [r.sample.cls == "without_mask" for r in rows]
    both = [(r, r.face) for r, s in zip(rows, seen, strict=True) if s and r.face]
    judged = [(r, f.states) for r, f in both if f.states is not None]
    ious = [overlap(corners(f.box), r.sample.annotated or (0, 0, 0, 0)) for r, f in both]
    return {
        "masked": share(np.array(seen)[masked]),
        "bare": share(np.array(seen)[bare]),
        "alarms": sum(f.confidence >= confidence for f in alarms) / max(len(scenes), 1),
        "ap": average_precision(rows, alarms),
        "iou": float(np.mean(ious)) if ious else float("nan"),
        "right": share([int(np.argmax(s)) == STATES[r.sample.cls] for r, s in judged]),
    }


def confidences_of(detector: FaceDetector, scenes: Sequence[Scene]) -> dict[str, list[float]]:
    """Return the confidence of every masked and bare face from SIZE pixels on; 0 if not found."""
    found: dict[str, list[float]] = {"with_mask": [], "without_mask": []}
    for scene in scenes:
        rows, _ = match(detector.detect(scene.image, LEAST_CONFIDENCE), scene)
        for row in rows:
            box = row.sample.annotated
            if box and short_side(box) >= SIZE and row.sample.cls in found:
                found[row.sample.cls].append(row.face.confidence if row.face else 0.0)
    return found


def average_precision(rows: Sequence[Found], alarms: Sequence[Face]) -> float:
    """Return the area under the precision-recall curve, 0..1."""
    hits = [(r.face.confidence, 1.0) for r in rows if r.face]
    events = np.array(sorted(hits + [(f.confidence, 0.0) for f in alarms], reverse=True))
    if not len(events) or not rows:
        return 0.0
    found = np.cumsum(events[:, 1])
    precision = np.maximum.accumulate((found / np.arange(1, len(found) + 1))[::-1])[::-1]
    return float((np.diff(found / len(rows), prepend=0.0) * precision).sum())


def share(values: Sequence[bool] | np.typing.NDArray[np.bool_]) -> float:
    """Return the share of true values; NaN of none."""
    return float(np.mean(values)) if len(values) else float("nan")
