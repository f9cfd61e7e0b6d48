"""Choose from which probability on each stage of the cascade decides, on validation scenes.

The cascade may be wrong on no more faces than the full network alone; in a data set and class, on
one more at most. Among the thresholds that allow this it takes those that cost least.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.progress import track

from model.cascade import DETECTOR, STAGES, THRESHOLDS, Cascade
from model.choices import DEFAULT_MIN_CONFIDENCE
from model.classifier import LABELS, WEIGHTS, ModelCard
from model.detectors.facemask import FaceMask
from model.detectors.faces import Face
from model.pipeline import incorrectly_worn
from model.training.data.dataset import DatasetError, short_side
from model.training.detector.validation import SIZE, Scene, match, scenes_of

CANDIDATES = (0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.993, 0.996, 1.0)
SLACK = 1  # face of a set and class: single faces are chance
COST = {"fast": 0.5, "mobilenetv2-224": 2.1}  # CPU milliseconds a face, docs/performance.md


@dataclass(frozen=True)
class Reading:
    """The probabilities of mask that each stage gives a face, its group, and its true label."""

    face: Face
    masks: dict[str, float]
    group: tuple[str, str]
    label: str


def readings_of(scenes: Sequence[Scene]) -> list[Reading]:
    """Let every stage judge the annotated faces that the detector finds."""
    detector = FaceMask.load()
    networks = {name: Cascade.load(name) for name in STAGES if len(STAGES[name]) == 1}
    networks["fast"] = Cascade("fast", {"fast": Cascade.load("fast").networks["fast"]})
    readings = []
    for scene in track(scenes, "Judging"):
        found, _ = match(detector.detect(scene.image, DEFAULT_MIN_CONFIDENCE), scene)
        for row in found:
            face, box = row.face, row.sample.annotated
            if face is None or face.states is None or box is None or short_side(box) < SIZE:
                continue
            masks = {DETECTOR: face.states[0]} | {
                name: network.read(scene.image, [face])[0].mask
                for name, network in networks.items()
            }
            group = (row.sample.source, row.sample.cls)
            readings.append(Reading(face, masks, group, LABELS[row.sample.label]))
    return readings


def decided_by(reading: Reading, sure: dict[str, float]) -> str:
    """Return the stage that decides; sure: the thresholds, in the order of the stages."""
    for stage, least in sure.items():
        if max(reading.masks[stage], 1 - reading.masks[stage]) >= least:
            return stage
    return STAGES["cascade"][-1]


def cost_of(stage: str) -> float:
    """Return the CPU milliseconds of a face that a stage decides."""
    run = STAGES["cascade"][: STAGES["cascade"].index(stage) + 1]
    return sum(COST.get(each, 0.0) for each in run)


def wrong(card: ModelCard, readings: Sequence[Reading], sure: dict[str, float]) -> Counter[str]:
    """Count the faces whose label is wrong or uncertain, by set and class."""
    counts: Counter[str] = Counter()
    low, high = card.abstain
    for reading in readings:
        mask = reading.masks[decided_by(reading, sure)]
        label = "uncertain" if low < mask < high else LABELS[mask < card.threshold]
        counts[" ".join(reading.group)] += label != reading.label
    return counts


def chosen(card: ModelCard, readings: Sequence[Reading]) -> dict[str, float]:
    """Return the cheapest thresholds that keep the number of wrong faces, by set and in all."""
    early = STAGES["cascade"][:-1]
    alone = wrong(card, readings, {})
    best, least = dict.fromkeys(early, 1.0), float("inf")
    for values in itertools.product(CANDIDATES, repeat=len(early)):
        sure = dict(zip(early, values, strict=True))
        cost = sum(cost_of(decided_by(reading, sure)) for reading in readings)
        counts = wrong(card, readings, sure)
        right = counts.total() <= alone.total() and all(
            counts[group] <= alone[group] + SLACK for group in counts
        )
        if cost < least and right:
            best, least = sure, cost
    return best


def flagged(readings: Sequence[Reading], sure: dict[str, float], cls: str, least: float) -> float:
    """Return the share of a class's faces whose `incorrectly_worn` is at least `least`."""
    worn = [
        incorrectly_worn(reading.face, reading.masks[decided_by(reading, sure)]) or 0.0
        for reading in readings
        if reading.group[1] == cls
    ]
    return sum(each >= least for each in worn) / max(len(worn), 1)


def main() -> None:
    """Parse the command line, choose, and write the thresholds."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.thresholds",
        description=__doc__,
        epilog="Example: python -m model.training.thresholds --data pictures",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--output", type=Path, default=WEIGHTS / THRESHOLDS, help="%(default)s")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        scenes = scenes_of(args.data)
    except DatasetError as error:
        sys.exit(str(error))
    if not scenes:
        sys.exit(f"{args.data} has no validation pictures whose faces were boxed by people.")
    card = Cascade.load("mobilenetv2-224").card
    readings = readings_of(scenes)
    sure = chosen(card, readings)
    stages = Counter(decided_by(reading, sure) for reading in readings)
    before, after = wrong(card, readings, {}), wrong(card, readings, sure)
    for group in before:
        print(f"{group}: {before[group]} wrong by the full network, {after[group]} by the cascade")
    for stage in STAGES["cascade"]:
        print(f"{stage} decides {stages[stage] / len(readings):.1%} of {len(readings)} faces")
    for least in (0.1, 0.15, 0.2, 0.3, 0.5):
        wrongly, rightly = (
            flagged(readings, sure, cls, least) for cls in ("incorrect_mask", "with_mask")
        )
        print(f"incorrectly_worn >= {least}: {wrongly:.1%} of the wrongly worn masks, ", end="")
        print(f"{rightly:.1%} of the right ones")
    args.output.write_text(json.dumps(sure, indent=2) + "\n")
    print(f"Wrote {args.output}: {sure}")


if __name__ == "__main__":
    main()
