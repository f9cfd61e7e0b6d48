"""The report shows the figures and no faces."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.training.data.dataset import Sample
from model.training.evaluation import report
from model.training.evaluation.cases import NOT_FOUND, Case
from model.training.evaluation.metrics import metrics_of

HEADING = {"system": "ours", "split": "val", "min_size": 20}
PICTURES = {"confusion", "precision_recall", "reliability", "by_size", "slices"}


def sample(cls: str, size: float) -> Sample:
    box = (0.0, 0.0, size, size)
    return Sample("", cls, "set", "", "val", annotated=box, human=True)


def cases() -> list[Case]:
    """A hundred masks, ten not found; fifty wrongly worn masks, five accepted."""
    traits = {"size": "20-32 px", "mask": "black"}
    rows = [Case(sample("with_mask", 25), NOT_FOUND, None, "mask", 0.8, traits=traits)] * 10
    rows += [Case(sample("with_mask", 80), "mask", 0.9, "mask", 0.9, traits=traits)] * 90
    rows += [Case(sample("incorrect_mask", 80), "mask", 0.7, "mask", 0.7)] * 5
    rows += [Case(sample("incorrect_mask", 80), "no_mask", 0.1, "no_mask", 0.1)] * 45
    return rows


def written(rows: list[Case], folder: Path, montage: Path | None = None) -> str:
    metrics = HEADING | metrics_of(rows)
    text = report.write(metrics, rows, folder, montage or Path("elsewhere/mistakes.jpg"))
    assert (folder / "report.md").read_text() == text
    return text


def row(text: str, begin: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {begin} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_tables_hold_what_was_measured(tmp_path: Path) -> None:
    text = written(cases(), tmp_path)
    assert "# Evaluation of ours" in text
    assert row(text, "balanced accuracy, human boxes") == ["0.9500 / 0.9000"]
    assert row(text, "incorrectly worn masks labelled `mask`, human boxes") == ["0.1000 / 0.1000"]
    assert row(text, "unmasked faces labelled `mask`, human boxes") == ["-"]
    assert row(text, "set")[:3] == ["150", "0.9667 / 0.9000", "0.9500 / 0.9000"]
    assert row(text, "set")[-2:] == ["-", "0.1000 / 0.1000"]
    assert "1.0000 / 0.0000 (10)" in text  # faces of 20-32 pixels
    assert row(text, "mask") == ["black", "100", "1.0000 / 0.9000"]
    drop = row(text, "largest drop of a slice, end to end")
    assert drop == ["0.0000 (mask black, 100 faces)"]


def test_a_share_of_nought_is_not_an_unknown_one(tmp_path: Path) -> None:
    rows = [Case(sample("without_mask", 80), "no_mask", 0.1, "no_mask", 0.1)] * 3
    shown = row(written(rows, tmp_path), "unmasked faces labelled `mask`, human boxes")
    assert shown == ["0.0000 / 0.0000"]


def test_every_picture_is_there_and_drawn(tmp_path: Path) -> None:
    text = written(cases(), tmp_path)
    assert {file.stem for file in tmp_path.glob("*.png")} == PICTURES
    for name in PICTURES:
        assert f"]({name}.png)" in text
        assert np.asarray(cv2.imread(str(tmp_path / f"{name}.png"))).std() > 10
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000


def test_the_montage_is_linked_only_where_it_lies_beside(tmp_path: Path) -> None:
    assert "mistakes" not in written(cases(), tmp_path)
    assert "(mistakes.jpg)" in written(cases(), tmp_path, tmp_path / "mistakes.jpg")


@pytest.mark.parametrize("mask", [None, 0.9])
def test_another_system_is_reported_end_to_end(tmp_path: Path, mask: float | None) -> None:
    rows = [Case(sample("with_mask", 80), "mask", mask)] * 3
    text = written(rows, tmp_path)
    assert row(text, "balanced accuracy, human boxes") == ["1.0000"]
    assert "on boxes" not in text.replace("On boxes", "").replace("*On boxes*", "")
    drawn = {file.stem for file in tmp_path.glob("*.png")}
    assert drawn == (PICTURES if mask else PICTURES - {"precision_recall", "reliability"})


def test_covered_faces_examples_and_few_rolls_are_shown(tmp_path: Path) -> None:
    turned = Case(sample("with_mask", 80), "mask", 0.9, "mask", 0.9, traits={"roll": "25-60"})
    covered = {"ppe": {"mask": 3, "no_mask": 0, "uncertain": 0, NOT_FOUND: 1}}
    example = {"picture": "a.jpg", "expected": "`mask`", "answer": "mask 0.98", "right": True}
    metrics = HEADING | metrics_of([*cases(), turned]) | {"covered": covered}
    metrics |= {"examples": {"pictures": [example, example | {"right": False}]}}
    text = report.write(metrics, [*cases(), turned], tmp_path, Path("elsewhere/mistakes.jpg"))
    assert row(text, "roll") == ["25-60", "1", "1.0000 / 1.0000"]
    assert row(text, "ppe") == ["4", "0.7500", "0.0000", "0.0000", "0.2500"]
    assert "### pictures: 1 of 2 as expected" in text
    assert row(text, "a.jpg") == ["`mask`", "mask 0.98", "yes"]


def test_both_rules_of_matching_are_shown(tmp_path: Path) -> None:
    head = replace(sample("with_mask", 80), source="leoring")
    rows = [Case(head, "mask", 0.9, "mask", 0.9, overlaps=n > 0) for n in range(4)]
    text = written(rows, tmp_path)
    assert row(text, "leoring")[:2] == ["4", "1.0000 / 1.0000 / 0.7500"]
    assert "on boxes / end to end / by overlap alone" in text
