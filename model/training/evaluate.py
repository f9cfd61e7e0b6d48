"""Judge the exported model as it is served, on the labelled faces of data sets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from model.classifier import LABELS, WEIGHTS, ModelError
from model.pipeline import MaskPipeline
from model.training import dataset, figures
from model.training.dataset import short_side
from model.training.verdicts import NOT_FOUND, Verdict, judge

ANSWERS = (*LABELS, "uncertain", NOT_FOUND)
BINS = 10  # of the reliability diagram
MIN_SLICE = 100  # faces from which a slice's accuracy says something
WORST = 48  # mistakes on the montage


def right_on_box(verdict: Verdict) -> bool:
    """Tell whether the label on the annotated box is the face's; uncertain is not."""
    return verdict.on_box == LABELS[verdict.sample.label]


def right_end_to_end(verdict: Verdict) -> bool:
    """Tell whether the face was found and given its label."""
    return verdict.end_to_end == LABELS[verdict.sample.label]


def share(values: Iterable[bool]) -> float:
    """Return the share of true values, rounded to four places; 0 of none."""
    counted = list(values)
    return round(sum(counted) / max(len(counted), 1), 4)


def confusion(
    verdicts: Sequence[Verdict], answer: Callable[[Verdict], str]
) -> npt.NDArray[np.int64]:
    """Count answers (columns, ANSWERS) by truth (rows, LABELS)."""
    matrix = np.zeros((len(LABELS), len(ANSWERS)), np.int64)
    for verdict in verdicts:
        matrix[verdict.sample.label, ANSWERS.index(answer(verdict))] += 1
    return matrix


def summed_up(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Sum a confusion matrix up; uncertain and not found are not right.

    Balanced accuracy is the mean recall over the labels that occur.
    """
    right = np.diag(matrix[:, : len(LABELS)])
    totals = matrix.sum(axis=1)
    occurs = totals > 0
    return {
        "faces": int(totals.sum()),
        "accuracy": round(float(right.sum() / totals.sum()), 4),
        "balanced_accuracy": round(float((right[occurs] / totals[occurs]).mean()), 4),
        "confusion": {
            label: dict(zip(ANSWERS, map(int, row), strict=True))
            for label, row in zip(LABELS, matrix, strict=True)
        },
    }


def parts_of(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Name the parts that are reported: human boxes, those by class, and each set."""
    human = [v for v in verdicts if v.sample.human]
    parts = {"human boxes": human, "all": list(verdicts)}
    for cls in dataset.CLASSES:
        parts[f"human boxes, {cls}"] = [v for v in human if v.sample.cls == cls]
    for source in sorted({v.sample.source for v in verdicts}):
        parts[source] = [v for v in verdicts if v.sample.source == source]
    return {name: part for name, part in parts.items() if part}


def calibration(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Compare the probability of the more probable label with how often that label is right.

    Returns the expected calibration error (Guo et al. 2017, BINS bins of equal width from .5 to
    1), the bins {confidence, accuracy, faces}, the share of faces that get a label (coverage) and
    the accuracy of these labels; all on annotated boxes.
    """
    judged = [v for v in verdicts if v.mask is not None]
    masks = np.array([v.mask for v in judged], np.float64)
    truths = np.array([v.sample.label for v in judged])
    confidences = np.maximum(masks, 1 - masks)
    rights = (masks >= 0.5) == (truths == LABELS.index("mask"))
    indices = np.minimum(((confidences - 0.5) * 2 * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        inside = indices == index
        if inside.any():
            confidence, accuracy = confidences[inside].mean(), rights[inside].mean()
            row = {"confidence": round(float(confidence), 4), "accuracy": round(float(accuracy), 4)}
            bins.append({**row, "faces": int(inside.sum())})
    error = sum(b["faces"] * abs(b["confidence"] - b["accuracy"]) for b in bins)
    labelled = [v for v in judged if v.on_box in LABELS]
    return {
        "expected_calibration_error": round(error / max(len(judged), 1), 4),
        "bins": bins,
        "coverage": round(len(labelled) / max(len(judged), 1), 4),
        "accuracy_of_labelled": share(map(right_on_box, labelled)),
    }


def slices_of(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return faces and accuracies for each band of each trait."""
    bands: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        for trait, name in verdict.traits.items():
            bands.setdefault((trait, name), []).append(verdict)
    return [
        {
            "trait": trait,
            "band": name,
            "faces": len(part),
            "on_box": share(map(right_on_box, part)),
            "end_to_end": share(map(right_end_to_end, part)),
        }
        for (trait, name), part in sorted(bands.items())
    ]


def metrics_of(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return everything that is measured: {parts, calibration, slices}."""
    parts = parts_of(verdicts)
    return {
        "parts": {
            name: {
                "on_box": summed_up(confusion(part, lambda v: v.on_box)),
                "end_to_end": summed_up(confusion(part, lambda v: v.end_to_end)),
            }
            for name, part in parts.items()
        },
        "calibration": calibration(verdicts),
        "slices": slices_of(verdicts),
    }


def evaluate(data: Path, split: str, weights: Path, output: Path, min_size: int) -> dict[str, Any]:
    """Judge a split's faces whose annotated short side has at least min_size pixels.

    Writes metrics.json and pictures into output: confusion matrices, reliability, accuracy by
    trait, and a montage of the mistakes. Prints the tables and returns the metrics: {model, split,
    min_size, parts, calibration, slices}. Raises DatasetError and ModelError.
    """
    samples = [s for s in dataset.read(data) if split in ("all", s.split)]
    samples = [s for s in samples if s.annotated is None or short_side(s.annotated) >= min_size]
    if not samples:
        raise dataset.DatasetError(f"{data} has no face of {min_size} pixels or more in '{split}'.")
    pipeline = MaskPipeline.load(weights)
    verdicts = judge(pipeline, samples)
    heading: dict[str, Any] = {
        "model": f"{pipeline.card.name} {pipeline.card.version}",
        "split": split,
        "min_size": min_size,
    }
    metrics = heading | metrics_of(verdicts)
    output.mkdir(parents=True, exist_ok=True)
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    for name, part in parts_of(verdicts).items():
        if name in {"human boxes", "all"}:
            file = output / f"confusion_{name.replace(' ', '_')}.png"
            matrix = confusion(part, lambda v: v.end_to_end)
            figures.confusion(matrix, LABELS, ANSWERS, f"End to end, {name}", file)
    figures.reliability(metrics["calibration"], output / "reliability.png")
    figures.slices(metrics["slices"], MIN_SLICE, output / "slices.png")
    wrong = [v for v in verdicts if v.box is not None and not right_on_box(v)]
    figures.montage(sorted(wrong, key=wrongness, reverse=True)[:WORST], output / "mistakes.jpg")
    print_tables(metrics)
    return metrics


def wrongness(verdict: Verdict) -> float:
    """Return the probability given to the label that is not the face's, 0..1."""
    mask = 0.5 if verdict.mask is None else verdict.mask
    return 1 - mask if LABELS[verdict.sample.label] == "mask" else mask


def print_tables(metrics: dict[str, Any]) -> None:
    """Print the parts' accuracies, the slices' and the calibration."""
    console = Console(width=120)
    parts = Table(
        title=f"{metrics['model']}, {metrics['split']}, faces >= {metrics['min_size']} px"
    )
    parts.add_column("part")
    for column in ("faces", "accuracy", "balanced", "called mask", "accuracy e2e", "balanced e2e"):
        parts.add_column(column, justify="right")
    for name, part in metrics["parts"].items():
        on_box, end = part["on_box"], part["end_to_end"]
        wrong = on_box["confusion"]["no_mask"]
        called = f"{wrong['mask'] / sum(wrong.values()):.1%}" if sum(wrong.values()) else ""
        shown = [
            [f"{of[key]:.4f}" for key in ("accuracy", "balanced_accuracy")] for of in (on_box, end)
        ]
        parts.add_row(name, str(on_box["faces"]), *shown[0], called, *shown[1])
    parts.caption = (
        "accuracy: on annotated boxes; e2e: found by our detector and right; "
        "called mask: unmasked faces said to wear one"
    )
    console.print(parts)
    slices = Table(title=f"Slices of at least {MIN_SLICE} faces")
    for column in ("trait", "band", "faces", "accuracy", "accuracy e2e"):
        slices.add_column(column, justify="left" if column in {"trait", "band"} else "right")
    for row in metrics["slices"]:
        if row["faces"] >= MIN_SLICE:
            shares = (f"{row['on_box']:.4f}", f"{row['end_to_end']:.4f}")
            slices.add_row(row["trait"], row["band"], str(row["faces"]), *shares)
    console.print(slices)
    found = metrics["calibration"]
    console.print(
        f"Expected calibration error {found['expected_calibration_error']:.4f}; "
        f"{found['coverage']:.1%} of faces get a label, {found['accuracy_of_labelled']:.4f} of "
        "these are right."
    )


def main() -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.evaluate",
        description=__doc__,
        epilog="Example: python -m model.training.evaluate --data pictures --split val",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--split", choices=("train", "val", "all"), default="val")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of an exported model")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--min-size", type=int, default=20, help="pixels of a face's short side")
    args = parser.parse_args()
    try:
        evaluate(args.data, args.split, args.weights, args.output, args.min_size)
    except (dataset.DatasetError, ModelError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
