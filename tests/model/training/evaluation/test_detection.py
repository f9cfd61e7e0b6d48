"""The detectors' figures match their definitions."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from model.detectors.faces import DetectorUnavailable
from model.images import Image
from model.training.data.dataset import corners, overlap
from model.training.evaluation.detection import Curve, Labelled, Outcome, matched
from model.training.evaluation.rivals import UltraFace
from tests.conftest import ROOT

FACE = (100.0, 100.0, 150.0, 150.0)
ELSEWHERE = (300.0, 300.0, 350.0, 350.0)
SPECK = (10.0, 10.0, 20.0, 20.0)


def test_each_face_is_found_once_by_the_most_confident() -> None:
    found = [(FACE, 0.7), (FACE, 0.9), (ELSEWHERE, 0.8)]
    assert matched(found, [Labelled(FACE, masked=True)]) == [
        Outcome(0.9, 50, face=True, masked=True),
        Outcome(0.8, 50, face=False),
        Outcome(0.7, 50, face=False),
    ]


def test_a_face_that_is_not_found_has_no_confidence() -> None:
    missed = Outcome(0.0, 50, face=True, masked=True)
    assert missed in matched([(ELSEWHERE, 0.8)], [Labelled(FACE, masked=True)])


def test_small_faces_and_small_wrong_detections_count_neither_way() -> None:
    small = Curve(matched([(SPECK, 0.9), (FACE, 0.8)], [Labelled(FACE)]))
    assert small.average_precision(20) == 1
    assert small.average_precision(10) == 0.5
    assert Curve(matched([], [Labelled(SPECK), Labelled(FACE)])).recall(0.5, 20) == 0
    assert Curve(matched([(FACE, 0.8)], [Labelled(SPECK), Labelled(FACE)])).recall(0.5, 20) == 1


def test_average_precision_and_recalls() -> None:
    """Four faces; hit, hit, miss, hit: precision 1, 1, 2/3, 3/4 at recall 1/4, 2/4, 2/4, 3/4."""
    outcomes = [
        Outcome(0.8, 30, face=True, masked=True),
        Outcome(0.9, 70, face=True),
        Outcome(0.7, 30, face=False),
        Outcome(0.6, 30, face=True),
        Outcome(0.0, 30, face=True, masked=True),
    ]
    curve = Curve(outcomes)
    assert curve.average_precision(20) == pytest.approx(0.25 + 0.25 + 0.25 * 0.75)
    assert curve.recall_at_precision(0.95, 20) == 0.5
    assert curve.recall_at_precision(0.7, 20) == 0.75
    assert curve.recall(0.75, 20) == 0.5
    assert curve.recall(0.75, 60) == 1
    assert curve.recall(0.85, 20, masked_only=True) == 0
    assert curve.recall(0.75, 20, masked_only=True) == 0.5


def test_average_precision_takes_the_best_precision_from_there_on() -> None:
    """Miss, hit, hit: precision 0, 1/2, 2/3, so 2/3 up to recall 1."""
    curve = Curve([Outcome(c, 30, face=c < 0.9) for c in (0.9, 0.8, 0.7)])
    assert curve.average_precision(20) == pytest.approx(2 / 3)


def test_a_detector_that_finds_nothing_scores_nothing() -> None:
    curve = Curve([Outcome(0.0, 50, face=True)] * 4)
    assert curve.average_precision(20) == curve.recall_at_precision(0.95, 20) == 0
    assert curve.recall(0.5, 20) == 0


def test_the_command_compares_the_detectors(tmp_path: Path, portrait: Image) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    box = {"xyxy": [178, 70, 270, 178], "cls": "with_mask", "origin": "gt"}
    row = {"image": "face.png", "group": "g", "split": "val", "boxes": [box]}
    (tmp_path / "annotations.json").write_text(json.dumps([row]))
    command = [sys.executable, "-m", "model.training.evaluation.detection", "--data", str(tmp_path)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {line.split("│")[1].strip(): line for line in process.stdout.splitlines() if "│" in line}
    assert rows["yunet"].count("1.000") == 6
    assert {"haar", "yunet 160", "yunet 320"} <= rows.keys()
    assert "ultraface" not in rows


def test_ultraface_finds_a_face_masked_or_not(
    shared: Path, portrait: Image, masked_portrait: Image
) -> None:
    detector = UltraFace(shared / "weights" / "detector")
    for picture in (portrait, masked_portrait):
        box = detector.detect(picture, 0.5)[0].box
        assert overlap(corners(box), (178, 70, 270, 178)) > 0.6


def test_ultraface_says_which_file_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailable, match="RFB-640"):
        UltraFace(tmp_path)
