"""Measure how reliable the probabilities are: calibration, coverage, precision and recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model.classifier import LABELS
from model.training.evaluation.cases import Case, Way, share

BINS = 10  # of the reliability diagram
COVERAGE = 0.9  # share of faces that remain when the least certain ones are left out
NORMAL_95 = 1.96  # standard deviations to either side that hold 95 % of a normal distribution

Floats = npt.NDArray[np.float64]


def probabilities(cases: Sequence[Case], way: Way) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the known probabilities of mask, and whether each of these faces wears one."""
    known = [(m, c.sample.label) for c in cases if (m := way.mask(c)) is not None]
    masked = np.array([label == LABELS.index("mask") for _, label in known], np.bool_)
    return np.array([mask for mask, _ in known], np.float64), masked


def accuracy_at_coverage(cases: Sequence[Case], way: Way) -> float | None:
    """Return the accuracy of the more probable label on the COVERAGE most certain faces.

    Ignores faces without a probability, such as those not found. Returns None if none remain.
    """
    masks, masked = probabilities(cases, way)
    surest = np.argsort(-np.abs(masks - 0.5), kind="stable")[: math.ceil(COVERAGE * len(masks))]
    return share((masks >= 0.5)[surest] == masked[surest]) if len(masks) else None


def calibration(cases: Sequence[Case], way: Way) -> dict[str, Any] | None:
    """Compare the probability of the more probable label with how often that label is right.

    Returns the expected calibration error (Guo et al. 2017, BINS bins of equal width from .5 to
    1), the bins {confidence, accuracy, faces, interval}, the share of faces that get a label
    (coverage), the accuracy of these labels, and the accuracy_at_coverage. Returns None if there
    are no probabilities.
    """
    masks, masked = probabilities(cases, way)
    if not len(masks):
        return None
    confidences, rights = np.maximum(masks, 1 - masks), (masks >= 0.5) == masked
    indices = np.minimum(((confidences - 0.5) * 2 * BINS).astype(int), BINS - 1)
    bins: list[dict[str, Any]] = []
    for inside in (indices == index for index in range(BINS)):
        if inside.any():
            right, faces = int(rights[inside].sum()), int(inside.sum())
            confidence = round(float(confidences[inside].mean()), 4)
            row = {"confidence": confidence, "accuracy": round(right / faces, 4), "faces": faces}
            bins.append(row | {"interval": interval(right, faces)})
    error = sum(b["faces"] * abs(b["confidence"] - b["accuracy"]) for b in bins)
    labelled = [c for c in cases if way.mask(c) is not None and way.label(c) in LABELS]
    return {
        "expected_calibration_error": round(error / len(masks), 4),
        "bins": bins,
        "coverage": round(len(labelled) / len(masks), 4),
        "accuracy_of_labelled": share(map(way.right, labelled)),
        "accuracy_at_coverage": accuracy_at_coverage(cases, way),
    }


def interval(right: int, faces: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson 1927)."""
    spread = NORMAL_95**2 / faces
    middle = (right / faces + spread / 2) / (1 + spread)
    half = NORMAL_95 * math.sqrt(right * (faces - right) / faces + NORMAL_95**2 / 4) / faces
    half /= 1 + spread
    return round(max(middle - half, 0.0), 4), round(min(middle + half, 1.0), 4)


def precision_recall(cases: Sequence[Case], way: Way, label: str) -> tuple[Floats, Floats]:
    """Return precision and recall of a label at each probability, in falling order.

    Faces without a probability, such as those not found, are never retrieved and limit the recall.
    """
    masks, masked = probabilities(cases, way)
    scores, positive = (masks, masked) if label == "mask" else (1 - masks, ~masked)
    order = np.argsort(-scores, kind="stable")
    # Faces of equal probability are retrieved together.
    last = np.append(np.diff(scores[order]) != 0, True)[: len(order)]
    retrieved = np.arange(1, len(order) + 1)[last]
    hits = np.cumsum(positive[order])[last]
    total = sum(LABELS[c.sample.label] == label for c in cases)
    return hits / retrieved, hits / max(total, 1)


def average_precision(cases: Sequence[Case], way: Way, label: str) -> float:
    """Return the area under the precision-recall steps, rounded to four places."""
    precision, recall = precision_recall(cases, way, label)
    return round(float((np.diff(recall, prepend=0) * precision).sum()), 4)
