"""Each answer is compared with the right face."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors.faces import Face
from model.images import Box, Image
from model.pipeline import MaskPipeline, Verdict
from model.training.data.dataset import Sample
from model.training.evaluation.cases import (
    NOT_FOUND,
    WAYS,
    Answer,
    answers_of,
    judge,
    matched,
    told,
    ways_of,
)

FACE = (178.0, 70.0, 270.0, 178.0)  # of the portrait
LEFT, RIGHT = Answer((0, 0, 50, 50), "mask"), Answer((30, 0, 80, 50), "mask")


def sample(path: str = "", **changes: object) -> Sample:
    values = {"cls": "without_mask", "source": "set", "group": "", "split": "val"} | changes
    return Sample(path=path, **values)


def at(x: int) -> Sample:
    return sample(annotated=(x, 0.0, x + 50.0, 50.0))


@pytest.fixture
def picture(tmp_path: Path, portrait: Image) -> str:
    file = tmp_path / "portrait.png"
    cv2.imwrite(str(file), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    return str(file)


def test_each_detection_serves_the_face_it_overlaps_most() -> None:
    assert matched([LEFT, RIGHT], [at(28), at(2)]) == [RIGHT, LEFT]
    assert matched([LEFT], [at(5), at(0)]) == [None, LEFT]
    assert matched([], [at(0)]) == [None]


def test_a_picture_without_boxes_has_its_largest_face_judged() -> None:
    large = Answer((100, 0, 180, 90), "no_mask", 0.1)
    assert matched([LEFT, large], [sample()]) == [large]


def test_the_annotated_box_is_judged_beside_what_was_found(picture: str) -> None:
    pipeline = MaskPipeline.load()
    faces = [sample(picture, annotated=FACE), sample(picture, annotated=(400, 400, 500, 500))]
    found, missed = judge(faces, answers_of(pipeline, faces), pipeline)
    assert (found.end_to_end, found.on_box) == ("no_mask", "no_mask")
    assert found.mask < 0.1
    assert found.found_mask < 0.1
    assert found.traits["pose"] == "frontal"
    assert missed.end_to_end == NOT_FOUND
    assert missed.found_mask is None
    assert missed.mask is not None
    assert "pose" not in missed.traits


def test_of_another_systems_answers_only_the_found_faces_are_known(picture: str) -> None:
    faces = [sample(picture, annotated=FACE)]
    (case,) = judge(faces, {picture: [Answer((180, 72, 268, 180), "mask", 0.7)]})
    assert (case.on_box, case.mask) == (None, None)
    assert (case.end_to_end, case.found_mask) == ("mask", 0.7)
    assert case.traits["size"] == "60-120 px"


def test_a_label_without_a_box_is_judged_where_the_face_is_found(picture: str) -> None:
    (case,) = judge([sample(picture)], {picture: [Answer(FACE, "no_mask")]})
    assert (case.end_to_end, case.box.width) == ("no_mask", 92)
    (nothing,) = judge([sample(picture)], {})
    assert (nothing.end_to_end, nothing.box) == (NOT_FOUND, None)
    assert nothing.traits == {"source": "set"}  # else the figures of its set would be too good


def test_a_broken_picture_is_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    faces = [sample(str(tmp_path / "broken.png"), annotated=FACE)]
    pipeline = MaskPipeline.load()
    (case,) = judge(faces, answers_of(pipeline, faces), pipeline)
    assert (case.end_to_end, case.on_box) == (NOT_FOUND, NOT_FOUND)
    assert case.traits == {"source": "set"}
    assert "counted as not found" in capsys.readouterr().out


def test_what_is_judged_is_what_the_file_says(picture: str) -> None:
    """A grey wall in place of the face must change the answer, or the wrong picture was read."""
    faces = [sample(picture, annotated=FACE)]
    cv2.imwrite(picture, np.full((512, 512, 3), 120, np.uint8))
    pipeline = MaskPipeline.load()
    (case,) = judge(faces, answers_of(pipeline, faces), pipeline)
    assert (case.end_to_end, case.on_box) == (NOT_FOUND, "uncertain")


def test_a_detection_in_the_box_of_a_head_is_found_but_not_by_overlap(picture: str) -> None:
    head = sample(picture, annotated=(120.0, 0.0, 330.0, 250.0), source="leoring")
    (case,) = judge([head], {picture: [Answer(FACE, "no_mask")]})
    ways = ways_of([case])
    assert {name: way.label(case) for name, way in ways.items()} == {
        "end_to_end": "no_mask",
        "by_overlap": NOT_FOUND,
    }
    (close,) = judge([replace(head, annotated=FACE)], {picture: [Answer(FACE, "no_mask", 0.1)]})
    assert WAYS["by_overlap"].mask(close) == 0.1


def test_without_boxes_of_heads_there_is_one_rule(picture: str) -> None:
    (case,) = judge([sample(picture, annotated=FACE)], {picture: [Answer(FACE, "no_mask")]})
    assert ways_of([case]).keys() == {"end_to_end"}


def test_a_mask_is_found_in_the_detection_that_holds_it() -> None:
    mask = sample(annotated=(10.0, 30.0, 40.0, 50.0), mask_only=True)
    assert matched([RIGHT, LEFT], [mask]) == [LEFT]
    assert matched([RIGHT], [mask]) == [None]


def test_what_the_system_tells_is_a_trait(picture: str) -> None:
    pipeline = MaskPipeline.load()
    faces = [sample(picture, annotated=FACE), sample(picture, annotated=(400, 400, 500, 500))]
    found, missed = judge(faces, answers_of(pipeline, faces))
    assert found.traits["roll"] == "0-25 degrees"
    assert "stage" in found.traits
    assert "roll" not in missed.traits


@pytest.mark.parametrize(
    ("roll", "band"),
    [(-24, "0-25"), (25, "25-60"), (-90, "60-120"), (120, "120-180"), (-180, "120-180")],
)
def test_rolls_and_stages_are_told(roll: float, band: str) -> None:
    face = Face(Box(0, 0, 9, 9), 0.9, roll=roll)
    verdict = Verdict(face, "mask", 0.9, fit=True, stage="fast", incorrectly_worn=None)
    assert told(verdict) == {"roll": f"{band} degrees", "stage": "fast"}
