"""What the evaluation counts is what was answered."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.classifier import WEIGHTS
from model.faces import Face
from model.images import Box, Image
from model.pipeline import Judgement
from model.training.dataset import Sample
from model.training.evaluate import calibration, evaluate, metrics_of, slices_of
from model.training.verdicts import NOT_FOUND, Verdict, matched


def sample(cls: str = "with_mask", **changes: object) -> Sample:
    values = {"path": "", "cls": cls, "source": "set", "group": "", "split": "val"} | changes
    return Sample(**values)


def found(x: int, label: str = "mask") -> Judgement:
    return Judgement(Face(Box(x, 0, 50, 50), 0.9), label, 0.9)


def at(x: int) -> Sample:
    return sample(annotated=(x, 0.0, x + 50.0, 50.0))


def test_each_detection_serves_the_face_it_overlaps_most() -> None:
    left, right = found(0), found(30)
    assert matched([left, right], [at(28), at(2)]) == [right, left]
    assert matched([left], [at(5), at(0)]) == [None, left]
    assert matched([], [at(0)]) == [None]


def test_a_picture_without_boxes_has_its_largest_face_judged() -> None:
    small, large = found(0), Judgement(Face(Box(100, 0, 80, 90), 0.5), "no_mask", 0.1)
    assert matched([small, large], [sample()]) == [large]


def test_uncertain_and_not_found_are_not_right() -> None:
    verdicts = [
        Verdict(sample(), "mask", "mask", 0.9),
        Verdict(sample(), "mask", NOT_FOUND, 0.9),
        Verdict(sample("incorrect_mask"), "no_mask", "no_mask", 0.1),
        Verdict(sample("without_mask"), "uncertain", "no_mask", 0.5),
        Verdict(sample("without_mask"), "mask", "mask", 0.8),
    ]
    part = metrics_of(verdicts)["parts"]["all"]
    assert part["on_box"]["accuracy"] == pytest.approx(3 / 5)
    assert part["on_box"]["balanced_accuracy"] == pytest.approx((2 / 2 + 1 / 3) / 2, abs=1e-4)
    assert part["end_to_end"]["accuracy"] == pytest.approx(3 / 5)
    assert part["end_to_end"]["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-4)
    assert part["end_to_end"]["confusion"]["mask"][NOT_FOUND] == 1


def test_calibration_compares_what_is_claimed_with_what_is_right() -> None:
    """Ten faces claimed at .9, eight of them right; ten at .6 for no_mask, six right."""
    verdicts = [Verdict(sample(), "mask", "mask", 0.9)] * 8
    verdicts += [Verdict(sample("without_mask"), "mask", "mask", 0.9)] * 2
    verdicts += [Verdict(sample("without_mask"), "uncertain", "uncertain", 0.4)] * 6
    verdicts += [Verdict(sample(), "uncertain", "uncertain", 0.4)] * 4
    measured = calibration(verdicts)
    assert measured["expected_calibration_error"] == pytest.approx((0.1 + 0.0) / 2)
    assert [row["faces"] for row in measured["bins"]] == [10, 10]
    assert measured["coverage"] == 0.5
    assert measured["accuracy_of_labelled"] == 0.8


def test_slices_are_counted_on_boxes_and_end_to_end() -> None:
    near, far = {"size": "60-120 px"}, {"size": "20-32 px"}
    verdicts = [
        Verdict(sample(), "mask", "mask", traits=near),
        Verdict(sample(), "mask", NOT_FOUND, traits=far),
        Verdict(sample(), "no_mask", NOT_FOUND, traits=far),
    ]
    assert slices_of(verdicts) == [
        {"trait": "size", "band": "20-32 px", "faces": 2, "on_box": 0.5, "end_to_end": 0.0},
        {"trait": "size", "band": "60-120 px", "faces": 1, "on_box": 1.0, "end_to_end": 1.0},
    ]


def test_an_evaluation_leaves_figures_and_pictures(
    tmp_path: Path, portrait: Image, masked_portrait: Image
) -> None:
    box = {"xyxy": [178, 70, 270, 178], "origin": "gt"}
    rows = []
    for cls, image in (("with_mask", masked_portrait), ("without_mask", portrait)):
        cv2.imwrite(str(tmp_path / f"{cls}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        rows.append(
            {"image": f"{cls}.png", "group": cls, "split": "val", "boxes": [box | {"cls": cls}]}
        )
    (tmp_path / "broken.png").write_bytes(b"broken")
    broken = box | {"cls": "with_mask"}
    rows.append({"image": "broken.png", "group": "b", "split": "val", "boxes": [broken]})
    nowhere = box | {"cls": "without_mask", "xyxy": [400, 400, 500, 500]}
    rows.append({"image": "with_mask.png", "group": "n", "split": "val", "boxes": [nowhere]})
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    output = tmp_path / "evaluation"

    metrics = evaluate(tmp_path, "val", WEIGHTS, output, 20)

    everything = metrics["parts"]["human boxes"]["end_to_end"]["confusion"]
    assert everything["mask"] == {"mask": 1, "no_mask": 0, "uncertain": 0, NOT_FOUND: 1}
    assert everything["no_mask"] == {"mask": 0, "no_mask": 1, "uncertain": 0, NOT_FOUND: 1}
    assert json.loads((output / "metrics.json").read_text()) == metrics
    for name in ("confusion_all.png", "confusion_human_boxes.png", "reliability.png", "slices.png"):
        assert np.asarray(cv2.imread(str(output / name))).std() > 10
    assert (output / "mistakes.jpg").exists()
