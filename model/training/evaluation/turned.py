"""Measure labels of faces in turned pictures, as a camera mounted sideways gives them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.cascade import STAGES
from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE, DEFAULT_MODEL
from model.classifier import LABELS
from model.detectors.kinds import DETECTORS
from model.images import Image
from model.pipeline import MaskPipeline
from model.training.data import dataset
from model.training.data.dataset import SAME_FACE, Corners, corners, overlap, short_side
from model.training.detector.validation import Scene, scenes_of

ROLLS = (0, 45, 90, 180, 270)  # degrees clockwise
SIZE = 20  # pixels of a face's shorter side from which it counts
SETS = frozenset({"jolignier", "macwinwin"})  # box faces, not heads
OUTCOMES = ("right", "opposite", "uncertain", "not found")


def turned(image: Image, boxes: list[Corners], roll: float) -> tuple[Image, list[Corners]]:
    """Turn a picture clockwise around its middle, onto a frame that holds all of it.

    A turned box is the box around the turned oval of the face.
    """
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -roll, 1.0)
    turn = np.abs(matrix[:, :2])
    size = turn @ np.array([width, height])
    matrix[:, 2] += (size - np.array([width, height])) / 2
    pixels = cv2.warpAffine(image, matrix, (round(size[0]), round(size[1])))
    moved: list[Corners] = []
    for left, top, right, bottom in boxes:
        x, y = matrix @ np.array([(left + right) / 2, (top + bottom) / 2, 1])
        axes = matrix[:, :2] * np.array([(right - left) / 2, (bottom - top) / 2])
        wide, high = np.sqrt((axes**2).sum(axis=1))
        moved.append((float(x - wide), float(y - high), float(x + wide), float(y + high)))
    return np.asarray(pixels, np.uint8), moved


def outcomes(pipeline: MaskPipeline, detector: str, scene: Scene, roll: float) -> Counter[str]:
    """Count the labels of the correctly worn masks in a turned scene, by OUTCOMES."""
    masked = [s.annotated for s in scene.faces if s.cls == "with_mask" and s.annotated]
    boxes = [box for box in masked if short_side(box) >= SIZE]
    image, moved = turned(scene.image, boxes, roll)
    verdicts = pipeline.judge(image, pipeline.find(image, detector, DEFAULT_MIN_CONFIDENCE))
    names = {LABELS[0]: "right", LABELS[1]: "opposite", "uncertain": "uncertain"}
    counts: Counter[str] = Counter()
    for box in moved:
        best = max(verdicts, key=lambda v: overlap(corners(v.face.box), box), default=None)
        found = best is not None and overlap(corners(best.face.box), box) >= SAME_FACE
        counts[names[best.label] if best is not None and found else "not found"] += 1
    return counts


def main() -> None:
    """Parse the command line, measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.evaluation.turned",
        description=__doc__,
        epilog="Example: python -m model.training.evaluation.turned --data pictures",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--detector", choices=DETECTORS, default=DEFAULT_DETECTOR)
    parser.add_argument("--model", choices=STAGES, default=DEFAULT_MODEL)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        scenes = scenes_of(args.data, sources=SETS)
    except dataset.DatasetError as error:
        sys.exit(str(error))
    if not scenes:
        sys.exit(f"{args.data} has no validation pictures of {', '.join(sorted(SETS))}.")
    pipeline = MaskPipeline.load(args.model, [args.detector])
    table = Table("turned by", *OUTCOMES, title=f"Masked faces >= {SIZE} px, {args.detector}")
    for roll in ROLLS:
        counts: Counter[str] = Counter()
        for scene in track(scenes, f"{roll} degrees"):
            counts += outcomes(pipeline, args.detector, scene, roll)
        total = max(sum(counts.values()), 1)
        table.add_row(str(roll), *(f"{counts[name] / total:.3f}" for name in OUTCOMES))
    Console().print(table)


if __name__ == "__main__":
    main()
