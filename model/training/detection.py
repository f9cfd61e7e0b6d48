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

from model.faces import DETECTORS, DetectorUnavailable, FaceDetector, Ssd, YuNet
from model.images import Image, decode
from model.pipeline import DEFAULT_MIN_CONFIDENCE
from model.training import dataset
from model.training.dataset import SAME_FACE, Corners, corners, overlap, short_side

LEAST_CONFIDENCE = 0.05
PRECISION = 0.95


@dataclass(frozen=True)
class Curve:
    """A detector's answers over a data set, by falling confidence.

    confidences and hits: one of each a detection that counts, shape (n,). faces: how many there
    were to find. milliseconds: the median of a picture.
    """

    confidences: npt.NDArray[np.float64]
    hits: npt.NDArray[np.bool_]
    faces: int
    milliseconds: float

    @property
    def precisions(self) -> npt.NDArray[np.float64]:
        """The precision down to each detection."""
        return np.asarray(np.cumsum(self.hits) / np.arange(1, len(self.hits) + 1))

    @property
    def recalls(self) -> npt.NDArray[np.float64]:
        """The recall down to each detection."""
        return np.asarray(np.cumsum(self.hits) / self.faces)

    def average_precision(self) -> float:
        """Return the area under the interpolated precision-recall curve (PASCAL VOC 2010), 0..1."""
        envelope = np.maximum.accumulate(self.precisions[::-1])[::-1]
        return float((np.diff(self.recalls, prepend=0.0) * envelope).sum())

    def recall_at_precision(self, precision: float) -> float:
        """Return the highest recall at which the precision is still reached, 0..1."""
        return float(self.recalls[self.precisions >= precision].max(initial=0.0))

    def recall_at(self, confidence: float) -> float:
        """Return the share of faces found with at least this confidence, 0..1."""
        return float(self.hits[self.confidences >= confidence].sum() / self.faces)


def matched(
    detections: Sequence[tuple[Corners, float]], faces: Sequence[Corners], min_size: float
) -> list[tuple[float, bool]]:
    """Return (confidence, whether it is a face) of the detections that count in a picture.

    The more confident choose first; a second detection of a face is wrong. Faces smaller than
    min_size, and wrong detections that small, count neither way.
    """
    free = set(range(len(faces)))
    counted = []
    for box, confidence in sorted(detections, key=lambda detection: -detection[1]):
        shares = {i: overlap(box, faces[i]) for i in free}
        best = max(shares, key=shares.__getitem__, default=-1)
        hit = shares.get(best, 0.0) >= SAME_FACE
        if hit:
            free.remove(best)
        if short_side(faces[best] if hit else box) >= min_size:
            counted.append((confidence, hit))
    return counted


def measure(
    detector: FaceDetector, pictures: Sequence[tuple[Image, list[Corners]]], min_size: float
) -> Curve:
    """Run a detector over pictures with their annotated faces."""
    counted, times = [], []
    for image, faces in pictures:
        begin = time.perf_counter()
        found = detector.detect(image, LEAST_CONFIDENCE)
        times.append((time.perf_counter() - begin) * 1e3)
        counted += matched([(corners(f.box), f.confidence) for f in found], faces, min_size)
    counted.sort(reverse=True)
    return Curve(
        confidences=np.array([confidence for confidence, _ in counted]),
        hits=np.array([hit for _, hit in counted], bool),
        faces=sum(short_side(face) >= min_size for _, faces in pictures for face in faces),
        milliseconds=float(np.median(times)),
    )


def pictures_of(data: Path, split: str) -> list[tuple[Image, list[Corners]]]:
    """Read the pictures whose faces were boxed by people; raises DatasetError if there are none."""
    by_path: dict[str, list[Corners]] = {}
    for sample in dataset.read(data):
        if sample.human and sample.annotated and split in ("all", sample.split):
            by_path.setdefault(sample.path, []).append(sample.annotated)
    if not by_path:
        raise dataset.DatasetError(f"{data} has no faces boxed by people in '{split}'.")
    paths = track(by_path.items(), "Reading pictures")
    return [(decode(Path(path).read_bytes()), faces) for path, faces in paths]


def candidates(ssd_folder: Path | None) -> dict[str, Callable[[], FaceDetector]]:
    """Name the detectors to compare: all kinds, and YuNet at several sizes of the frame."""
    sizes = {f"yunet {side}": lambda side=side: YuNet(side) for side in (160, 320, 480, 960)}
    kinds = {**DETECTORS}
    if ssd_folder:
        kinds["ssd"] = lambda: Ssd(ssd_folder)
    return kinds | sizes


def main() -> None:
    """Parse the command line, measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.detection",
        description=__doc__,
        epilog="Example: python -m model.training.detection --data pictures --split val",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--split", choices=("train", "val", "all"), default="val")
    parser.add_argument("--min-size", type=float, default=20, help="pixels of a face's short side")
    parser.add_argument("--ssd", type=Path, metavar="FOLDER", help="weights of the res10 network")
    args = parser.parse_args()
    cv2.setNumThreads(1)  # as it is served
    try:
        pictures = pictures_of(args.data, args.split)
    except dataset.DatasetError as error:
        sys.exit(str(error))
    table = Table(title=f"Faces >= {args.min_size:g} px on {len(pictures)} pictures, {args.split}")
    at = f"recall at {DEFAULT_MIN_CONFIDENCE}"
    for column in ("detector", "AP", "recall at precision .95", at, "ms a picture"):
        table.add_column(column, justify="left" if column == "detector" else "right")
    for name, make in candidates(args.ssd).items():
        try:
            curve = measure(make(), pictures, args.min_size)
        except DetectorUnavailable as error:
            print(f"{name} left out: {error}")
            continue
        recall = curve.recall_at_precision(PRECISION)
        shares = (curve.average_precision(), recall, curve.recall_at(DEFAULT_MIN_CONFIDENCE))
        table.add_row(name, *(f"{s:.3f}" for s in shares), f"{curve.milliseconds:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
