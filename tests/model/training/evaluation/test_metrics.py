"""Metrics count the answers."""

import pytest

from model.training.data.dataset import Sample
from model.training.evaluation.calibration import interval
from model.training.evaluation.cases import NOT_FOUND, Case, ways_of
from model.training.evaluation.metrics import (
    MIN_SLICE,
    by_size,
    covered_of,
    largest_drop,
    metrics_of,
    slices_of,
)


def sample(cls: str = "with_mask", size: float | None = None, **changes: object) -> Sample:
    box = None if size is None else (0.0, 0.0, size, size + 10)
    values = {"path": "", "source": "set", "group": "", "split": "val", "annotated": box} | changes
    return Sample(cls=cls, **values)


def case_of(face: Sample, on_box: str, end_to_end: str, **changes: object) -> Case:
    return Case(face, end_to_end, on_box=on_box, **changes)


MIXED = [
    case_of(sample(), "mask", "mask"),
    case_of(sample(), "mask", NOT_FOUND),
    case_of(sample("incorrect_mask"), "no_mask", "no_mask"),
    case_of(sample("without_mask"), "uncertain", "no_mask"),
    case_of(sample("without_mask"), "mask", "mask"),
]


def test_uncertain_and_not_found_are_not_right() -> None:
    part = metrics_of(MIXED)["parts"]["all"]
    assert part["on_box"]["accuracy"] == pytest.approx(3 / 5)
    assert part["on_box"]["balanced_accuracy"] == pytest.approx((2 / 2 + 1 / 3) / 2, abs=1e-4)
    assert part["end_to_end"]["accuracy"] == pytest.approx(3 / 5)
    assert part["end_to_end"]["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-4)
    assert part["end_to_end"]["confusion"]["mask"][NOT_FOUND] == 1


def test_shares_called_masked_are_given_by_how_the_mask_was_worn() -> None:
    cases = [*MIXED, case_of(sample("incorrect_mask"), "mask", "uncertain")]
    part = metrics_of(cases)["parts"]["all"]
    assert part["on_box"]["called_mask"] == {"without_mask": 0.5, "incorrect_mask": 0.5}
    assert part["end_to_end"]["called_mask"] == {"without_mask": 0.5, "incorrect_mask": 0.0}


def test_faces_are_counted_by_size() -> None:
    sizes = (12, 20, 31.5, 32, 60)
    cases = [
        case_of(sample(size=size), "mask", "mask" if size >= 32 else NOT_FOUND) for size in sizes
    ]
    counted = metrics_of(cases)["parts"]["all"]["end_to_end"]["sizes"]
    assert {name: tuple(row.values()) for name, row in counted.items()} == {
        ">= 20 px": (4, 0.5),
        ">= 32 px": (2, 1.0),
        ">= 60 px": (1, 1.0),
        "20-32 px": (2, 0.0),
    }


def test_parts_are_human_boxes_classes_and_sets() -> None:
    cases = [
        case_of(sample(human=True), "mask", "mask"),
        case_of(sample("without_mask", source="other"), "mask", "mask"),
    ]
    parts = metrics_of(cases)["parts"]
    assert list(parts) == ["human boxes", "all", "human boxes, with_mask", "other", "set"]
    assert parts["human boxes"]["on_box"]["accuracy"] == 1
    assert parts["other"]["on_box"]["accuracy"] == 0


def test_accuracy_by_size_is_that_of_human_boxes_where_there_are_some() -> None:
    human = case_of(sample(size=25, human=True), "mask", "mask")
    other = case_of(sample(size=80), "mask", "mask")
    assert [row["pixels"] for row in metrics_of([human, other])["by_size"]] == [25]
    assert [row["pixels"] for row in metrics_of([other])["by_size"]] == [80]


def test_another_system_has_no_figures_on_boxes() -> None:
    measured = metrics_of([Case(sample(), "mask"), Case(sample("without_mask"), "mask")])
    assert measured["parts"]["all"].keys() == {"end_to_end"}
    assert measured["parts"]["all"]["end_to_end"]["accuracy"] == 0.5
    assert measured["calibration"] is None
    assert measured["average_precision"] == {}


def test_slices_are_counted_on_boxes_and_end_to_end() -> None:
    near, far = {"size": "60-120 px"}, {"size": "20-32 px"}
    cases = [
        case_of(sample(), "mask", "mask", traits=near),
        case_of(sample(), "mask", NOT_FOUND, traits=far),
        case_of(sample(), "no_mask", NOT_FOUND, traits=far),
    ]
    assert slices_of(cases, ways_of(cases)) == [
        {"trait": "size", "band": "20-32 px", "faces": 2, "on_box": 0.5, "end_to_end": 0.0},
        {"trait": "size", "band": "60-120 px", "faces": 1, "on_box": 1.0, "end_to_end": 1.0},
    ]


def test_the_largest_drop_is_that_of_a_large_slice() -> None:
    names = {"a": (MIN_SLICE, 0.9), "b": (MIN_SLICE, 0.8), "few": (MIN_SLICE - 1, 0.1)}
    rows = [
        {"trait": "mask", "band": band, "faces": faces, "on_box": accuracy}
        for band, (faces, accuracy) in names.items()
    ]
    worst = {"trait": "mask", "band": "b", "faces": MIN_SLICE, "accuracy": 0.8, "drop": 0.15}
    assert largest_drop(rows, "on_box", 0.95) == worst
    assert largest_drop(rows[2:], "on_box", 0.95) is None


def test_accuracy_by_size_skips_sizes_that_do_not_occur() -> None:
    cases = [case_of(sample(size=size), "mask", NOT_FOUND) for size in (21, 25, 100)]
    rows = by_size(cases, ways_of(cases))
    assert [(row["pixels"], row["faces"]) for row in rows] == [(23, 2), (100, 1)]
    assert rows[0]["on_box"]["accuracy"] == 1
    assert rows[0]["end_to_end"] == {"accuracy": 0, "interval": interval(0, 2)}


def test_answers_for_covered_faces_are_counted_by_set() -> None:
    cases = [Case(sample(source="ppe"), label) for label in ("mask", "mask", NOT_FOUND)]
    counted = covered_of([*cases, Case(sample(source="other"), "uncertain")])
    assert counted["ppe"] == {"mask": 2, "no_mask": 0, "uncertain": 0, NOT_FOUND: 1}
    assert counted["other"]["uncertain"] == 1
