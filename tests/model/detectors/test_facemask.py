"""Our detector finds masked and turned faces, and says what it cannot load."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.detectors.facemask import CARD, FILE, WEIGHTS, FaceMask, without_nested
from model.detectors.faces import DetectorUnavailable
from model.images import Box, Image


@pytest.fixture(scope="module")
def detector() -> FaceMask:
    return FaceMask.load()


def test_it_finds_a_face_and_reads_its_mask(
    detector: FaceMask, portrait: Image, masked_portrait: Image, portrait_box: Box
) -> None:
    for image, state in ((masked_portrait, 0), (portrait, 1)):
        (face,) = detector.detect(image, 0.45)
        assert face.states is not None
        assert int(np.argmax(face.states)) == state
        assert face.box.touches(portrait_box)
        assert abs(face.roll) < 15


def test_a_face_is_never_boxed_twice_one_box_inside_the_other() -> None:
    rows = np.zeros((3, 20), np.float32)
    rows[:, :4] = [[10, 10, 40, 50], [15, 12, 20, 20], [100, 10, 40, 50]]
    rows[:, 14] = [0.9, 0.8, 0.7]
    assert without_nested(rows)[:, 14].tolist() == pytest.approx([0.9, 0.7])


def test_strips_and_noise_give_boxes_inside_the_picture(detector: FaceMask) -> None:
    random = np.random.default_rng(0)
    for height, width in ((7, 105), (3, 300), (480, 640)):
        image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for face in detector.detect(image, 0.1):
            assert 0 <= face.box.x <= face.box.x + face.box.width <= width
            assert 0 <= face.box.y <= face.box.y + face.box.height <= height


@pytest.mark.parametrize("damage", ["weights", "card", "states"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    for name in (FILE, CARD):
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    if damage == "weights":
        data = bytearray((tmp_path / FILE).read_bytes())
        data[1000] ^= 1
        (tmp_path / FILE).write_bytes(data)
    elif damage == "card":
        (tmp_path / CARD).write_text("{}")
    else:
        card = json.loads((tmp_path / CARD).read_text())
        (tmp_path / CARD).write_text(json.dumps(card | {"states": ["mask"]}))
    with pytest.raises(DetectorUnavailable, match="facemask"):
        FaceMask.load(tmp_path)
