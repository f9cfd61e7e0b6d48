"""Evaluate the exported model as served, or another system, on labelled faces of data sets.

Writes metrics.json, report.md and its plots into a folder, and a montage of the worst mistakes,
which contains pictures from the data sets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from model.cascade import STAGES, Cascade
from model.choices import DEFAULT_DETECTOR, DEFAULT_MODEL
from model.classifier import LABELS, WEIGHTS, ModelError
from model.detectors import facemask
from model.detectors.facemask import FaceMask
from model.detectors.faces import DetectorUnavailable, FaceDetector
from model.pipeline import MaskPipeline
from model.training.data import dataset
from model.training.data.dataset import DatasetError, Sample, short_side
from model.training.evaluation import examples, figures, predictions, report
from model.training.evaluation.cases import (
    NOT_FOUND,
    Case,
    Way,
    answers_of,
    by_path,
    judge,
    ways_of,
)
from model.training.evaluation.metrics import covered_of, metrics_of
from model.training.evaluation.predictions import PredictionError

WORST = 48  # mistakes on the montage


def faces_of(data: Path, split: str, min_size: int) -> list[Sample]:
    """Return a split's faces whose annotated short side has at least min_size pixels.

    Raises DatasetError if there are none.
    """
    samples = [s for s in dataset.read(data) if split in ("all", s.split)]
    samples = [s for s in samples if s.annotated is None or short_side(s.annotated) >= min_size]
    if not samples:
        raise DatasetError(f"{data} has no face of {min_size} pixels or more in '{split}'.")
    return samples


def judge_model(
    pipeline: MaskPipeline, samples: Sequence[Sample], data: Path, written: Path | None
) -> tuple[str, list[Case]]:
    """Evaluate a model on faces; returns its name and the cases.

    written: a file for its predictions, or None.
    """
    answers = answers_of(pipeline, samples)
    if written:
        predictions.write(answers, written, data)
    return f"{pipeline.model.name} {pipeline.model.version}", judge(samples, answers, pipeline)


def covered_in(pipeline: MaskPipeline, data: Path, split: str) -> dict[str, dict[str, int]]:
    """Count the answers for covered faces, of which only the masks are boxed."""
    masks = [s for s in dataset.find(data, mask_boxes=True) if s.mask_only]
    masks = [s for s in masks if split in ("all", s.split)]
    return covered_of(judge(masks, answers_of(pipeline, masks)))


def judge_predictions(file: Path, samples: Sequence[Sample], data: Path) -> list[Case]:
    """Evaluate the predictions of another system; raises PredictionError."""
    answers = predictions.read(file, data)
    pictures = by_path(samples).keys()
    known = pictures & answers.keys()
    if not known:
        raise PredictionError(f"{file} has no faces for the evaluated pictures of {data}.")
    print(f"{file} has faces for {len(known)} of {len(pictures)} pictures")
    return judge(samples, answers)


def evaluate(
    system: str, cases: Sequence[Case], heading: dict[str, Any], output: Path, montage: Path
) -> str:
    """Measure cases; write metrics.json, the report and the montage; return the report."""
    metrics = {"system": system} | heading | metrics_of(cases)
    output.mkdir(parents=True, exist_ok=True)
    montage.parent.mkdir(parents=True, exist_ok=True)
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    way = next(iter(ways_of(cases).values()))
    wrong = [c for c in cases if c.box and way.label(c) != NOT_FOUND and not way.right(c)]
    wrong.sort(key=lambda c: wrongness(c, way), reverse=True)
    figures.montage(wrong[:WORST], way, montage)
    return report.write(metrics, cases, output, montage)


def wrongness(case: Case, way: Way) -> float:
    """Return the probability that was given to the wrong label, 0..1."""
    mask = way.mask(case)
    if mask is None:
        return 0.5
    return 1 - mask if LABELS[case.sample.label] == "mask" else mask


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.evaluation.evaluate",
        description=__doc__,
        epilog="Example: python -m model.training.evaluation.evaluate --data pictures --split val",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--split", choices=("train", "val", "all"), default="val")
    parser.add_argument("--model", choices=STAGES, default=DEFAULT_MODEL)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the networks")
    parser.add_argument(
        "--detector", type=Path, default=facemask.WEIGHTS, help="folder of the detector's networks"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--montage", type=Path, help="default: mistakes.jpg in the output's folder")
    parser.add_argument("--min-size", type=int, default=20, help="pixels of a face's short side")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--predictions",
        type=Path,
        help="evaluate another system's predictions instead; for the format see predictions.py",
    )
    other.add_argument(
        "--write-predictions", type=Path, metavar="FILE", help="write our predictions to a file"
    )
    parser.add_argument(
        "--examples", type=Path, metavar="FOLDER", help="also judge the pictures of examples.py"
    )
    args = parser.parse_args(arguments)
    heading: dict[str, Any] = {"split": args.split, "min_size": args.min_size}
    try:
        samples = faces_of(args.data, args.split, args.min_size)
        # The path of an annotations.json means its folder.
        data = args.data.parent if args.data.is_file() else args.data
        if args.predictions:
            system = args.predictions.stem
            cases = judge_predictions(args.predictions, samples, data)
        else:
            written = args.write_predictions
            detector: dict[str, FaceDetector] = {DEFAULT_DETECTOR: FaceMask.load(args.detector)}
            pipeline = MaskPipeline(detector, Cascade.load(args.model, args.weights))
            system, cases = judge_model(pipeline, samples, data, written)
            heading["covered"] = covered_in(pipeline, data, args.split)
            if args.examples:
                heading["examples"] = examples.judged(pipeline, args.examples)
    except (DatasetError, DetectorUnavailable, ModelError, PredictionError) as error:
        sys.exit(str(error))
    montage = args.montage or args.output / "mistakes.jpg"
    text = evaluate(system, cases, heading, args.output, montage)
    Console(width=140).print(Markdown(text))
    print(f"Wrote {args.output}; worst mistakes: {montage}")


if __name__ == "__main__":
    main()
