"""Calibration compares probabilities with how often they were right."""

import numpy as np
import pytest

from model.training.data.dataset import Sample
from model.training.evaluation.calibration import (
    accuracy_at_coverage,
    average_precision,
    calibration,
    interval,
    precision_recall,
)
from model.training.evaluation.cases import NOT_FOUND, WAYS, Case

ON_BOX, END_TO_END = WAYS["on_box"], WAYS["end_to_end"]


def case_of(cls: str, label: str, mask: float | None) -> Case:
    face = Sample("", cls, "set", "", "val")
    return Case(face, label, found_mask=mask, on_box=label, mask=mask)


def test_calibration_compares_what_is_claimed_with_what_is_right() -> None:
    """Ten faces at .9, eight of them right; ten at .6 for no_mask, six right."""
    cases = [case_of("with_mask", "mask", 0.9)] * 8
    cases += [case_of("without_mask", "mask", 0.9)] * 2
    cases += [case_of("without_mask", "uncertain", 0.4)] * 6
    cases += [case_of("with_mask", "uncertain", 0.4)] * 4
    measured = calibration(cases, ON_BOX)
    assert measured["expected_calibration_error"] == pytest.approx((0.1 + 0.0) / 2)
    assert [row["faces"] for row in measured["bins"]] == [10, 10]
    assert measured["coverage"] == 0.5
    assert measured["accuracy_of_labelled"] == 0.8


def test_the_most_doubtful_tenth_is_left_out() -> None:
    cases = [case_of("with_mask", "mask", 0.95)] * 17 + [case_of("without_mask", "mask", 0.9)]
    cases += [case_of("without_mask", "mask", 0.6)] * 2
    assert accuracy_at_coverage(cases, ON_BOX) == pytest.approx(17 / 18, abs=1e-4)
    assert accuracy_at_coverage([case_of("with_mask", NOT_FOUND, None)], ON_BOX) is None


def test_average_precision_of_a_known_ranking() -> None:
    """Right, wrong, right, right: precision 1, 2/3 and 3/4, at recall 1/3, 2/3 and 1."""
    cases = [
        case_of("with_mask", "mask", 0.9),
        case_of("without_mask", "mask", 0.8),
        case_of("with_mask", "mask", 0.7),
        case_of("with_mask", "mask", 0.6),
    ]
    assert average_precision(cases, ON_BOX, "mask") == pytest.approx(
        (1 + 2 / 3 + 3 / 4) / 3, abs=1e-4
    )
    assert average_precision(cases, ON_BOX, "no_mask") == pytest.approx(1 / 3, abs=1e-4)


def test_equal_probabilities_are_retrieved_together() -> None:
    cases = [case_of("with_mask", "mask", 0.9), case_of("without_mask", "mask", 0.9)]
    for ranking in (cases, cases[::-1]):
        precision, recall = precision_recall(ranking, ON_BOX, "mask")
        assert np.array_equal(precision, [0.5])
        assert np.array_equal(recall, [1.0])


def test_a_face_not_found_is_never_retrieved() -> None:
    cases = [case_of("with_mask", "mask", 0.9), case_of("with_mask", NOT_FOUND, None)]
    assert average_precision(cases, END_TO_END, "mask") == 0.5


def test_the_interval_is_wilsons() -> None:
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=2e-4)  # published values
    assert interval(10, 10) == pytest.approx((0.7225, 1.0), abs=2e-4)
    assert interval(0, 10) == pytest.approx((0.0, 0.2775), abs=2e-4)
