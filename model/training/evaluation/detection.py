"""Measure the face detectors on labelled faces: average precision, recall and time."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.choices import DEFAULT_MIN_CONFIDENCE
from model.detectors.classic import Ssd
from model.detectors.faces import DetectorUnavailable, FaceDetector
from model.detectors.kinds import DETECTORS
from model.detectors.yunet import YuNet
from model.images import Image, decode
from model.training.data import dataset
from model.training.data.boxes import agreement, encloses_head
from model.training.data.dataset import CLASSES, Corners, corners, short_side
from model.training.evaluation.rivals import UltraFace

LEAST_CONFIDENCE = 0.05
PRECISION = 0.95
SIZES = (20, 32, 60)  # pixels; recall is reported for faces with at least this short side


@dataclass(frozen=True)
class Labelled:
    """A face with a hand-drawn box, and whether it wears a mask correctly."""

    box: Corners
    masked: bool = False
    head: bool = False


@dataclass(frozen=True)
class Outcome:
    """An annotated face, found or not, or a false detection.

    confidence: of the detection, 0..1; 0 for a face that was not found. size: the short side, in
    pixels, of the face or of the false detection. face: False for a false detection. masked:
    whether the face wears a mask.
    """

    confidence: float
    size: float
    face: bool
    masked: bool = False


@dataclass(frozen=True)
class Curve:
    """A detector's outcomes over a data set.

    False detections and faces smaller than min_size are ignored. milliseconds: time of each
    picture.
    """

    outcomes: Sequence[Outcome]
    milliseconds: Sequence[float] = ()

    def average_precision(self, min_size: float) -> float:
        """Return the area under the interpolated precision-recall curve (PASCAL VOC 2010), 0..1."""
        precisions, recalls = self.precisions_and_recalls(min_size)
        envelope = np.maximum.accumulate(precisions[::-1])[::-1]
        return float((np.diff(recalls, prepend=0.0) * envelope).sum())

    def recall_at_precision(self, precision: float, min_size: float) -> float:
        """Return the highest recall, 0..1, at which at least this precision is reached."""
        precisions, recalls = self.precisions_and_recalls(min_size)
        return float(recalls[precisions >= precision].max(initial=0.0))

    def recall(self, confidence: float, min_size: float, *, masked_only: bool = False) -> float:
        """Return the share of faces found with at least this confidence, 0..1; NaN if no faces."""
        faces = [o for o in self.outcomes if o.face and o.size >= min_size]
        found = [o.confidence >= confidence for o in faces if o.masked or not masked_only]
        return sum(found) / len(found) if found else float("nan")

    def precisions_and_recalls(
        self, min_size: float
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return precision and recall after each detection, in order of falling confidence."""
        counted = [o for o in self.outcomes if o.size >= min_size]
        detections = sorted((o for o in counted if o.confidence > 0), key=lambda o: -o.confidence)
        hits = np.cumsum([o.face for o in detections], dtype=np.float64)
        faces = max(sum(o.face for o in counted), 1)
        return hits / np.arange(1, len(detections) + 1), hits / faces


def matched(
    detections: Sequence[tuple[Corners, float]], faces: Sequence[Labelled]
) -> list[Outcome]:
    """Match a picture's detections with its faces; returns the outcome of each.

    More confident detections are matched first. A second detection of the same face is false.
    """
    free = set(range(len(faces)))
    outcomes: list[Outcome] = []
    for box, confidence in sorted(detections, key=lambda detection: -detection[1]):
        shares = {i: agreement(box, faces[i].box, head=faces[i].head) for i in free}
        best = max(shares, key=shares.__getitem__, default=-1)
        if not shares.get(best):
            outcomes.append(Outcome(confidence, short_side(box), face=False))
            continue
        free.remove(best)
        outcomes.append(outcome_of(faces[best], confidence))
    return outcomes + [outcome_of(faces[i], 0.0) for i in sorted(free)]


def outcome_of(face: Labelled, confidence: float) -> Outcome:
    """Return the outcome of a face that was found with this confidence; 0 means not found."""
    return Outcome(confidence, short_side(face.box), face=True, masked=face.masked)


def measure(detector: FaceDetector, pictures: Sequence[tuple[Image, list[Labelled]]]) -> Curve:
    """Run a detector over pictures with their annotated faces."""
    outcomes, times = [], []
    for image, faces in pictures:
        begin = time.perf_counter()
        found = detector.detect(image, LEAST_CONFIDENCE)
        times.append((time.perf_counter() - begin) * 1e3)
        outcomes += matched([(corners(f.box), f.confidence) for f in found], faces)
    return Curve(outcomes, times)


def pictures_of(data: Path, split: str) -> list[tuple[Image, list[Labelled]]]:
    """Read the pictures with hand-drawn boxes; raises DatasetError if there are none."""
    by_path: dict[str, list[Labelled]] = {}
    for sample in dataset.read(data):
        if sample.human and sample.annotated and split in ("all", sample.split):
            face = Labelled(sample.annotated, CLASSES[sample.cls] == "mask", encloses_head(sample))
            by_path.setdefault(sample.path, []).append(face)
    if not by_path:
        raise dataset.DatasetError(f"{data} has no hand-drawn face boxes in '{split}'.")
    paths = track(by_path.items(), "Reading pictures")
    return [(decode(Path(path).read_bytes()), faces) for path, faces in paths]


def candidates(weights: Path | None) -> dict[str, Callable[[], FaceDetector]]:
    """Return the detectors to compare, by name.

    They are all kinds, YuNet at several sizes, and those whose files are in the weights folder.
    """
    sizes = (160, 320, 480, 800, 960)
    kinds = DETECTORS | {f"yunet {side}": lambda side=side: YuNet(side) for side in sizes}
    if weights:
        kinds |= {"ssd": lambda: Ssd(weights), "ultraface": lambda: UltraFace(weights)}
    return kinds


def row_of(curve: Curve, confidence: float) -> list[str]:
    """Format a detector's figures, in the order of columns()."""
    least = SIZES[0]
    shares = [
        curve.average_precision(least),
        curve.recall_at_precision(PRECISION, least),
        *(curve.recall(confidence, size) for size in SIZES),
        curve.recall(confidence, least, masked_only=True),
    ]
    times = (np.median(curve.milliseconds), np.quantile(curve.milliseconds, 0.95))
    return [f"{share:.3f}" for share in shares] + [f"{time:.1f}" for time in times]


def columns() -> list[str]:
    """Return the column names for row_of()."""
    recalls = [f">= {size} px" for size in SIZES]
    return ["AP", "recall at precision .95", *recalls, "masked", "ms", "ms of 95 %"]


def main() -> None:
    """Parse the command line, measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.evaluation.detection",
        description=__doc__,
        epilog="Example: python -m model.training.evaluation.detection --data pictures --split val",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--split", choices=("train", "val", "all"), default="val")
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=DEFAULT_MIN_CONFIDENCE,
        help="confidence at which recall by size is measured (default %(default)s)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="weights of the res10 SSD and UltraFace"
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)  # as in the service
    try:
        pictures = pictures_of(args.data, args.split)
    except dataset.DatasetError as error:
        sys.exit(str(error))
    table = Table(title=f"Faces >= {SIZES[0]} px on {len(pictures)} pictures, {args.split}")
    table.caption = f"columns by size and masked: recall at confidence {args.min_confidence:g}"
    table.add_column("detector")
    for column in columns():
        table.add_column(column, justify="right")
    for name, make in candidates(args.weights).items():
        try:
            curve = measure(make(), pictures)
        except DetectorUnavailable as error:
            print(f"Skipped {name}: {error}")
            continue
        table.add_row(name, *row_of(curve, args.min_confidence))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
