"""What the detector is told about a picture, from boxes of different kinds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors.faces import Face
from model.images import Box, Image
from model.training.data.dataset import Corners, DatasetError, Sample
from model.training.detector.pictures import (
    Labelled,
    Target,
    chosen,
    load,
    revised,
    save,
    targets_of,
    weights_of,
)

POINTS = np.arange(10, dtype=np.float32).reshape(5, 2)


def sample(box: Corners, source: str = "own", *, mask_only: bool = False) -> Sample:
    return Sample("a.jpg", "with_mask", source, "g", "train", box, human=True, mask_only=mask_only)


def seen(box: Corners, confidence: float) -> Face:
    left, top, right, bottom = (int(v) for v in box)
    return Face(Box(left, top, right - left, bottom - top), confidence, POINTS)


def test_a_box_of_a_face_is_learned_as_it_was_drawn() -> None:
    (target,) = targets_of([sample((10, 10, 50, 60))], [seen((12, 12, 52, 62), 0.9)], [])
    assert target.box == (10, 10, 50, 60)
    assert target.exact
    assert target.state == 0
    assert len(target.landmarks) == 10


def test_a_box_of_a_head_gives_way_to_the_face_in_it() -> None:
    head = sample((0, 0, 100, 120), "leoring")
    (target,) = targets_of([head], [seen((20, 40, 80, 110), 0.9)], [])
    assert target.box == (20, 40, 80, 110)
    assert target.exact
    (target,) = targets_of([head], [], [])
    assert not target.exact
    assert 0 < target.box[0] < target.box[2] < 100


def test_a_box_of_a_mask_says_only_that_a_face_is_around_it() -> None:
    (target,) = targets_of([sample((40, 60, 80, 90), mask_only=True)], [], [])
    assert not target.exact
    assert target.box[1] < 60


def test_faces_that_no_one_annotated_count_only_if_the_labeller_confirms_them() -> None:
    annotated = [sample((10, 10, 50, 60))]
    face, doubt, shelf = (200, 0, 240, 50), (300, 0, 340, 50), (400, 0, 440, 50)
    found = [seen(face, 0.9), seen(shelf, 0.9)]
    targets = targets_of(annotated, found, [seen(face, 0.8), seen(doubt, 0.4)])
    by_box = {target.box: target for target in targets}
    assert not by_box[face].ignored
    assert by_box[face].state == -1
    assert by_box[doubt].ignored
    assert shelf not in by_box


class Seeing:
    """A detector that sees the same faces in every picture."""

    def __init__(self, *boxes: Corners) -> None:
        self.faces = [seen(box, 0.9) for box in boxes]

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        assert image.size
        return [face for face in self.faces if face.confidence >= min_confidence]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A picture without anything in it."""
    file = tmp_path / "picture.png"
    file.write_bytes(cv2.imencode(".png", np.zeros((60, 500, 3), np.uint8))[1].tobytes())
    return str(file)


def test_a_false_alarm_becomes_a_trap_unless_the_labeller_sees_a_face_too(file: str) -> None:
    known, hand, overlooked = (10, 10, 50, 50), (200, 0, 240, 50), (300, 0, 340, 50)
    picture = Labelled(file, "own", "train", (Target(known),))
    tired = Labelled(file, "own", "train", (Target(known), Target(hand, ignored=True)))
    detector, labeller = Seeing(known, hand, overlooked), Seeing(overlooked)
    first, second = revised([picture, tired], detector, labeller)
    assert first.traps == (hand,)
    assert second.traps == ()
    weights = weights_of([first, second])
    assert weights[0] == pytest.approx(2 * weights[1])


def test_a_face_that_the_detector_misses_is_shown_more_often(file: str) -> None:
    seen_face, missed_face = (10, 10, 50, 50), (200, 0, 240, 50)
    both = Labelled(file, "own", "train", (Target(seen_face), Target(missed_face)))
    easy = Labelled(file, "own", "train", (Target(seen_face), Target(missed_face, ignored=True)))
    first, second = revised([both, easy], Seeing(seen_face), Seeing())
    assert first.missed == (missed_face,)
    assert second.missed == ()
    weights = weights_of([first, second])
    assert weights[0] == pytest.approx(2 * weights[1])


def test_an_estimated_box_gives_way_to_a_detected_face_that_fits(file: str) -> None:
    estimated, fitting, eyes_only = (100, 0, 150, 60), (104, 2, 148, 58), (110, 10, 140, 30)
    picture = Labelled(file, "own", "train", (Target(estimated, 0),))
    found, not_found = (
        revised([picture], Seeing(box), Seeing())[0].targets[0] for box in (fitting, eyes_only)
    )
    assert found.exact
    assert found.box == fitting
    assert not_found.exact
    assert not_found.box == estimated


def test_labels_are_read_back_and_sets_can_be_left_out(tmp_path: Path) -> None:
    target = Target((1.0, 2.0, 3.0, 4.0), 1, exact=True, landmarks=tuple(range(10)))
    pictures = [
        Labelled("a.jpg", "own", "train", (target,)),
        Labelled("b.jpg", "other", "train", (), traps=((5.0, 6.0, 7.0, 8.0),)),
    ]
    save(pictures, tmp_path / "labels.jsonl")
    read = load(tmp_path / "labels.jsonl")
    assert read == pictures
    assert [p.source for p in chosen(read, frozenset({"other"}))] == ["own"]
    with pytest.raises(DatasetError, match="no set nowhere"):
        chosen(read, frozenset({"nowhere"}))
