"""Show what confirms a person: python -m bench.confirm (2 minutes).

For each confidence, the share of faces that have it, and of what is no face: on validation scenes,
whose boxes people drew, and in the tracks of the clips that bench.stream plays.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from bench import clips
from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE
from model.images import Box, open_picture
from model.pipeline import MaskPipeline
from model.video.tracking import CERTAIN, SIGHTINGS, TrackedVerdict

SETS = ("jolignier", "macwinwin", "haonanshi")  # scenes; of these people boxed nearly every face
SMALLEST, FOUND = 20, 0.3  # pixels of a face; IoU with its box
CONFIDENCES = (0.6, 0.75, 0.9, 0.95, 0.98)
COUNTS = (2, 3, 5)


def scenes(pipeline: MaskPipeline, data: Path) -> tuple[list[float], list[float], int]:
    """Return the confidences of true and of false detections, and the number of true faces."""
    true, false, there = [], [], 0
    for name in SETS:
        for row in json.loads((data / name / "annotations.json").read_text()):
            if row["split"] != "val":
                continue
            picture = (data / name / row["image"]).read_bytes()
            boxes = [
                Box(round(left), round(top), round(right - left), round(bottom - top))
                for left, top, right, bottom in (box["xyxy"] for box in row["boxes"])
            ]
            there += sum(box.short_side >= SMALLEST for box in boxes)
            image = open_picture(picture).decode().image
            for face in pipeline.find(image, DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE):
                if face.box.short_side < SMALLEST:
                    continue
                hit = any(box.touches(face.box) for box in boxes)
                if any(face.box.iou(box) >= FOUND for box in boxes):
                    true.append(face.confidence)
                elif not hit:
                    false.append(face.confidence)
    return true, false, there


def sightings(
    pipeline: MaskPipeline, files: Iterable[Path]
) -> tuple[dict[tuple[str, int], list[float]], dict[tuple[str, int], list[float]], int]:
    """Return the confidences of each person's detections and of each track of no one.

    And how many people there are.
    """
    people: dict[tuple[str, int], list[float]] = defaultdict(list)
    no_person: dict[tuple[str, int], list[float]] = defaultdict(list)
    known = clips.truths()
    for file in files:
        if file.name not in known:
            continue
        truth = known[file.name]
        before: list[TrackedVerdict] = []
        for frame, verdicts in enumerate(clips.tracked(pipeline, clips.read(file))):
            whose = truth.whose([verdict.face.box for verdict in verdicts], frame)
            for verdict, who in zip(verdicts, whose, strict=True):
                # Of a frame that was skipped, or of a face that was missed.
                if any(verdict.face is other.face for other in before):
                    continue
                if isinstance(who, int):
                    people[file.name, who].append(verdict.face.confidence)
                elif who == clips.NO_PERSON:
                    no_person[file.name, verdict.track_id].append(verdict.face.confidence)
            before = verdicts
    return people, no_person, sum(len(known[f.name].persons) for f in files if f.name in known)


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.confirm", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="(%(default)s)")
    parser.add_argument("--folder", type=Path, default=clips.FOLDER, help="of clips (%(default)s)")
    options = parser.parse_args()
    pipeline = MaskPipeline.load(detectors=[DEFAULT_DETECTOR])
    print(f"A person is confirmed by {SIGHTINGS} detections of at least {CERTAIN}.\n")
    if options.data.is_dir():
        true, false, there = scenes(pipeline, options.data)
        print("| confidence | faces found on validation scenes | false detections |\n|---|---|---|")
        for least in (DEFAULT_MIN_CONFIDENCE, *CONFIDENCES):
            found = sum(confidence >= least for confidence in true)
            wrong = sum(confidence >= least for confidence in false)
            print(f"| {least} | {found / there:.3f} | {wrong} |")
    else:
        print(f"Skipped the scenes: {options.data} is missing. Name a folder with --data.")
    files = clips.files(options.folder)
    if not files:
        print(f"Skipped the clips: {options.folder} holds none. Name a folder with --folder.")
        return
    people, no_person, there = sightings(pipeline, files)
    print("\n| confidence | detections | people confirmed | after, detections | tracks of no one |")
    print("|---|---|---|---|---|")
    for least in CONFIDENCES:
        for most in COUNTS:
            after = [at for row in people.values() if (at := confirmed(row, least, most))]
            wrong = sum(confirmed(row, least, most) is not None for row in no_person.values())
            cells = (least, most, f"{len(after)}/{there}", f"{mean(after):.1f}", wrong)
            print(f"| {' | '.join(map(str, cells))} |")


def confirmed(confidences: list[float], least: float, most: int) -> int | None:
    """Return after how many detections a track is confirmed; None if it never is."""
    certain = [at for at, confidence in enumerate(confidences, 1) if confidence >= least]
    return certain[most - 1] if len(certain) >= most else None


if __name__ == "__main__":
    main()
