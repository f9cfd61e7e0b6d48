"""The detectors' figures are what their definitions say."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.images import Image
from model.training.detection import Curve, matched
from tests.conftest import ROOT

FACE = (100.0, 100.0, 150.0, 150.0)
ELSEWHERE = (300.0, 300.0, 350.0, 350.0)
SPECK = (10.0, 10.0, 20.0, 20.0)


def test_each_face_is_found_once_by_the_most_confident() -> None:
    found = [(FACE, 0.7), (FACE, 0.9), (ELSEWHERE, 0.8)]
    assert matched(found, [FACE], 20) == [(0.9, True), (0.8, False), (0.7, False)]


def test_small_faces_count_neither_way() -> None:
    assert matched([(SPECK, 0.9), (FACE, 0.8)], [SPECK, FACE], 20) == [(0.8, True)]
    assert matched([(SPECK, 0.9)], [FACE], 20) == []


def test_average_precision_and_recalls() -> None:
    """Four faces; hit, hit, miss, hit: precision 1, 1, 2/3, 3/4 at recall 1/4, 2/4, 2/4, 3/4."""
    confidences = np.array([0.9, 0.8, 0.7, 0.6])
    curve = Curve(confidences, np.array([True, True, False, True]), faces=4, milliseconds=1.0)
    assert curve.average_precision() == pytest.approx(0.25 + 0.25 + 0.25 * 0.75)
    assert curve.recall_at_precision(0.95) == 0.5
    assert curve.recall_at_precision(0.7) == 0.75
    assert curve.recall_at(0.75) == 0.5


def test_a_detector_that_finds_nothing_scores_nothing() -> None:
    curve = Curve(np.array([]), np.array([], bool), faces=4, milliseconds=1.0)
    assert curve.average_precision() == curve.recall_at_precision(0.95) == curve.recall_at(0.5) == 0


def test_the_command_compares_the_detectors(tmp_path: Path, portrait: Image) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    box = {"xyxy": [178, 70, 270, 178], "cls": "without_mask", "origin": "gt"}
    row = {"image": "face.png", "group": "g", "split": "val", "boxes": [box]}
    (tmp_path / "annotations.json").write_text(json.dumps([row]))
    command = [sys.executable, "-m", "model.training.detection", "--data", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {line.split("│")[1].strip(): line for line in process.stdout.splitlines() if "│" in line}
    assert rows["yunet"].count("1.000") == 3
    assert {"haar", "yunet 160", "yunet 320"} <= rows.keys()
