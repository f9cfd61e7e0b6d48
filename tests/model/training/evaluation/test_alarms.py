"""A false alarm that a second detector confirms is counted as a face that no one boxed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors.faces import Face
from model.images import Box, Image
from model.training.data.dataset import Sample
from model.training.detector.validation import Scene
from model.training.evaluation import alarms
from model.training.evaluation.alarms import count, labelled, main

PICTURE: Image = np.zeros((400, 600, 3), np.uint8)
ANNOTATED = Box(10, 10, 60, 60)
UNBOXED = Box(200, 10, 60, 60)
HAND = Box(400, 10, 60, 60)
TINY = Box(500, 300, 20, 20)


class Fixed:
    """A detector that always finds the same faces, and counts how often it is asked."""

    def __init__(self, *faces: Face) -> None:
        self.faces, self.asked = faces, 0

    def detect(self, _: Image, min_confidence: float) -> list[Face]:
        self.asked += 1
        return [face for face in self.faces if face.confidence >= min_confidence]


def scene(path: str = "a.jpg", cls: str = "with_mask") -> Scene:
    annotated = (10.0, 10.0, 70.0, 70.0)
    return Scene(PICTURE, (Sample(path, cls, "set", "", "val", annotated=annotated, human=True),))


def test_alarms_are_faces_for_the_second_detector_or_not() -> None:
    detector = Fixed(Face(ANNOTATED, 0.9), Face(UNBOXED, 0.8), Face(HAND, 0.55), Face(TINY, 0.9))
    scenes = [scene(), scene("b.jpg", "without_mask")]
    rows = count(detector, scenes, {"a.jpg": [(205, 12, 262, 70)], "b.jpg": []})
    assert (rows[0.5].masked, rows[0.5].bare) == (1, 1)
    assert (rows[0.5].alarms, rows[0.5].unboxed) == (2, 0.5)
    assert (rows[0.7].alarms, rows[0.7].unboxed) == (1, 0.5)


def test_the_second_detector_searches_each_picture_once(tmp_path: Path) -> None:
    file, second = tmp_path / "runs/labels.json", Fixed(Face(UNBOXED, 0.9))
    first = labelled([scene()], second, file)
    assert labelled([scene()], second, file) == first == {"a.jpg": [(200, 10, 260, 70)]}
    assert second.asked == 1
    assert labelled([scene(), scene("b.jpg")], second, file).keys() == {"a.jpg", "b.jpg"}
    assert second.asked == 2


def test_labels_of_another_network_are_not_used(tmp_path: Path) -> None:
    file, second = tmp_path / "labels.json", Fixed(Face(UNBOXED, 0.9))
    file.write_text(json.dumps({"labeller": "another", "boxes": {"a.jpg": []}}))
    assert labelled([scene()], second, file)["a.jpg"]
    assert second.asked == 1


def test_the_command_prints_what_it_counted(
    tmp_path: Path,
    portrait: Image,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The real detector finds the portrait's face, which lies beside the only box."""
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    box = {"xyxy": [400, 400, 500, 500], "origin": "gt", "cls": "without_mask"}
    row = {"image": "a.png", "group": "a", "split": "val", "boxes": [box]}
    (tmp_path / "annotations.json").write_text(json.dumps([row]))
    monkeypatch.setattr(alarms.centerface, "fetch", lambda _: None)
    second = Fixed(Face(Box(178, 70, 92, 108), 0.9))
    monkeypatch.setattr(alarms, "CenterFace", lambda *_: second)
    labels = tmp_path / "labels.json"
    for _ in range(2):
        main(["--data", str(tmp_path), "--labels", str(labels)])
        printed = capsys.readouterr().out
        line = next(line for line in printed.splitlines() if "0.5 " in line)
        assert [cell.strip() for cell in line.strip("│ ").split("│")] == [
            *("0.5", "0.000", "0.000", "1.000", "1.000", "0.000")
        ]
    assert second.asked == 1


def test_a_folder_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is not a data set"):
        main(["--data", str(tmp_path)])
