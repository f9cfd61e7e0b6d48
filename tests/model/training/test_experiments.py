"""Recipes are judged on sets they were not trained on; finished results are kept."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.images import Image
from model.training.data.dataset import Sample
from model.training.experiments import judged, table
from tests.conftest import ROOT

BOX = {"xyxy": [178, 70, 270, 178], "origin": "gt"}


def face(cls: str, side: float, source: str = "street") -> Sample:
    return Sample("", cls, source, "", "val", (0, 0, side, side))


def test_each_set_is_judged_by_size_and_class() -> None:
    samples = [face("with_mask", 25), face("with_mask", 40), face("without_mask", 25)]
    samples += [face("incorrect_mask", 40), face("without_mask", 40)]
    samples += [replace(samples[0], source="office")]
    masks = np.array([0.4, 0.9, 0.1, 0.8, 0.2, 0.9], np.float32)
    assert judged(samples, masks) == {
        "street": {
            "faces": 5,
            ">= 20": pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-4),
            ">= 32": 0.75,
            "20-32": 0.5,
            "with_mask": 0.5,
            "without_mask": 1.0,
            "incorrect_mask": 0.0,
        },
        "office": {"faces": 1, "with_mask": 1.0},
    }


def test_the_table_has_a_line_for_each_set() -> None:
    row = {"recipe": "head", "seed": 1, "sets": judged([face("with_mask", 40)], np.array([0.9]))}
    header, rule, line = table([row]).splitlines()
    assert header.count("|") == rule.count("|") == line.count("|")
    assert line.startswith("| head | 1 | street | 1 |")


def test_experiments_are_run_once_and_then_remembered(
    tmp_path: Path, portrait: Image, masked_portrait: Image
) -> None:
    for source in ("one", "two"):
        rows = []
        (tmp_path / "data" / source).mkdir(parents=True)
        for cls, image in (("with_mask", masked_portrait), ("without_mask", portrait)):
            for split in ("train", "val"):
                name = f"{cls}_{split}.png"
                file = tmp_path / "data" / source / name
                cv2.imwrite(str(file), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
                boxes = [BOX | {"cls": cls}]
                rows.append({"image": name, "group": name, "split": split, "boxes": boxes})
        (tmp_path / "data" / source / "annotations.json").write_text(json.dumps(rows))
    backbone = ROOT.parent / "shared/weights/backbone/mobilenetv2_1.0_224_imagenet_notop.weights.h5"
    if not backbone.exists():
        pytest.skip("needs ../shared/weights, ImageNet's weights")
    command = [sys.executable, "-m", "model.training.experiments"]
    command += ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    command += ["--backbone", str(backbone), "--recipes", "head", "--draws", "32"]
    first, second = (
        subprocess.run(
            [*command, "--leave-out", "two"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    line = next(row for row in first.stdout.splitlines() if row.startswith("| head | 1 | two | 4"))
    assert line in second.stdout
    assert "Epoch" in first.stdout
    assert "Epoch" not in second.stdout
    taught = [*command[:-3], "fast", "--draws", "32", "--leave-out", "two", "--teacher"]
    early = subprocess.run([*taught, "full"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert early.returncode == 2
    assert "fast is taught by full, which is not trained yet" in early.stderr
    third = subprocess.run([*taught, "head"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "head_without_two_1, recipe 'head'" in third.stdout
    assert "| fast | 1 | two | 4" in third.stdout
