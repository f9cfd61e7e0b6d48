"""Compute the evaluation's figures from the cases; reads no files and draws nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from model.classifier import LABELS
from model.training.data.boxes import encloses_head
from model.training.data.dataset import CLASSES, short_side
from model.training.evaluation.calibration import (
    accuracy_at_coverage,
    average_precision,
    calibration,
    interval,
)
from model.training.evaluation.cases import (
    NOT_FOUND,
    UNCERTAIN,
    WAYS,
    Case,
    Way,
    share,
    ways_of,
)
from model.training.evaluation.traits import place

ANSWERS = (*LABELS, UNCERTAIN, NOT_FOUND)
MIN_SLICE = 100  # least number of faces for a meaningful accuracy
SIZES = {  # pixels of a face's short side
    ">= 20 px": (20.0, math.inf),
    ">= 32 px": (32.0, math.inf),
    ">= 60 px": (60.0, math.inf),
    "20-32 px": (20.0, 32.0),
}
STEPS = (0, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, math.inf)  # pixels, accuracy by size


def metrics_of(cases: Sequence[Case]) -> dict[str, Any]:
    """Return all metrics.

    {parts: {part: {way: summed_up()}}, average_precision: {way: {label: 0..1}}, calibration,
    by_size, slices, largest_drop: {way: a slice}}; calibration is None without probabilities. The
    ways are those of ways_of().
    """
    ways = ways_of(cases)
    first = next(iter(ways.values()))
    slices = slices_of(cases, ways)
    return {
        "parts": {
            name: {key: summed_up(part, way) for key, way in ways.items()}
            for name, part in parts_of(cases).items()
        },
        "average_precision": {
            key: {label: average_precision(cases, way, label) for label in LABELS}
            for key, way in ways.items()
            if any(way.mask(c) is not None for c in cases)
        },
        "calibration": calibration(cases, first),
        "by_size": by_size(headline(cases), ways),
        "slices": slices,
        "largest_drop": {
            key: largest_drop(slices, key, share(map(way.right, cases)))
            for key, way in ways.items()
        },
    }


def headline(cases: Sequence[Case]) -> list[Case]:
    """Return the faces with hand-drawn boxes, or all faces if there are none."""
    return [c for c in cases if c.sample.human] or list(cases)


def parts_of(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the parts to report, by name: human boxes, all, human boxes by kind, each set."""
    human = [c for c in cases if c.sample.human]
    parts = {"human boxes": human, "all": list(cases)}
    faces = [c for c in human if not encloses_head(c.sample)]
    heads = [c for c in human if encloses_head(c.sample)]
    parts |= {"human boxes of faces": faces, "human boxes of heads": heads} if heads else {}
    for cls in CLASSES:
        parts[f"human boxes, {cls}"] = [c for c in human if c.sample.cls == cls]
    for source in sorted({c.sample.source for c in cases}):
        parts[source] = [c for c in cases if c.sample.source == source]
    return {name: part for name, part in parts.items() if part}


def summed_up(part: Sequence[Case], way: Way) -> dict[str, Any]:
    """Return the metrics of a part.

    They are faces, accuracy, balanced_accuracy, confusion {truth: {answer: faces}}, called_mask
    {class: share of the faces without a correctly worn mask that get the label mask}, sizes {band:
    {faces, balanced_accuracy}} and accuracy_at_coverage.
    """
    unmasked = {
        cls: [c for c in part if c.sample.cls == cls]
        for cls, label in CLASSES.items()
        if label == "no_mask"
    }
    sizes = {
        name: [c for c in part if low <= (pixels(c) or 0.0) < high]
        for name, (low, high) in SIZES.items()
    }
    return {
        "faces": len(part),
        "accuracy": share(map(way.right, part)),
        "balanced_accuracy": balanced_accuracy(part, way),
        "confusion": {
            truth: dict(zip(ANSWERS, map(int, row), strict=True))
            for truth, row in zip(LABELS, confusion(part, way), strict=True)
        },
        "called_mask": {
            cls: share(way.label(c) == "mask" for c in faces)
            for cls, faces in unmasked.items()
            if faces
        },
        "sizes": {
            name: {"faces": len(faces), "balanced_accuracy": balanced_accuracy(faces, way)}
            for name, faces in sizes.items()
            if faces
        },
        "accuracy_at_coverage": accuracy_at_coverage(part, way),
    }


def covered_of(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    """Return how many faces of each set got each answer, {set: {answer: faces}}."""
    way = WAYS["end_to_end"]
    return {
        source: {
            answer: sum(c.sample.source == source and way.label(c) == answer for c in cases)
            for answer in ANSWERS
        }
        for source in sorted({c.sample.source for c in cases})
    }


def pixels(case: Case) -> float | None:
    """Return the short side of a face's annotated box, else of its detected box, else None."""
    if case.sample.annotated is not None:
        return short_side(case.sample.annotated)
    return case.box.short_side if case.box else None


def confusion(cases: Sequence[Case], way: Way) -> npt.NDArray[np.int64]:
    """Return the confusion matrix: truths (LABELS) in rows, answers (ANSWERS) in columns."""
    matrix = np.zeros((len(LABELS), len(ANSWERS)), np.int64)
    for case in cases:
        matrix[case.sample.label, ANSWERS.index(way.label(case))] += 1
    return matrix


def balanced_accuracy(cases: Sequence[Case], way: Way) -> float:
    """Return the mean recall over the labels that occur, rounded to four places."""
    matrix = confusion(cases, way)
    totals = matrix.sum(axis=1)
    recalls = np.diag(matrix[:, : len(LABELS)])[totals > 0] / totals[totals > 0]
    return round(float(recalls.mean()), 4)


def by_size(cases: Sequence[Case], ways: Mapping[str, Way]) -> list[dict[str, Any]]:
    """Return accuracies by face size: {pixels: their median, faces, way: {accuracy, interval}}."""
    rows = []
    for low, high in pairwise(STEPS):
        part = [(p, c) for c in cases if (p := pixels(c)) is not None and low <= p < high]
        if not part:
            continue
        row: dict[str, Any] = {"pixels": float(np.median([p for p, _ in part])), "faces": len(part)}
        for name, way in ways.items():
            right = sum(way.right(c) for _, c in part)
            accuracy = round(right / len(part), 4)
            row[name] = {"accuracy": accuracy, "interval": interval(right, len(part))}
        rows.append(row)
    return rows


def slices_of(cases: Sequence[Case], ways: Mapping[str, Way]) -> list[dict[str, Any]]:
    """Return {trait, band, faces, way: accuracy} for each band of each trait, in order."""
    bands: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        for trait, name in case.traits.items():
            bands.setdefault((trait, name), []).append(case)
    return [
        {"trait": trait, "band": name, "faces": len(part)}
        | {key: share(map(way.right, part)) for key, way in ways.items()}
        for (trait, name), part in sorted(bands.items(), key=lambda item: place(*item[0]))
    ]


def largest_drop(
    slices: Sequence[Mapping[str, Any]], way: str, overall: float
) -> dict[str, Any] | None:
    """Return the slice of at least MIN_SLICE faces that is furthest below the overall accuracy.

    {trait, band, faces, accuracy, drop}; None if every slice is smaller.
    """
    large = [row for row in slices if row["faces"] >= MIN_SLICE]
    if not large:
        return None
    worst = min(large, key=lambda row: float(row[way]))
    named = {key: worst[key] for key in ("trait", "band", "faces")}
    return named | {"accuracy": worst[way], "drop": round(overall - worst[way], 4)}
