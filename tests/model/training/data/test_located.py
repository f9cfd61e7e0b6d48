"""Which detected face is the annotated one, and how it is cut out."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors.facemask import FaceMask
from model.detectors.faces import Face
from model.images import Box, Image
from model.training.data import dataset
from model.training.data.dataset import Corners, Sample
from model.training.data.located import cut, locate, placed


def test_faces_are_located_by_our_detector(
    tmp_path: Path, portrait_jpeg: bytes, portrait_box: Box
) -> None:
    for name, content in (("whole", portrait_jpeg), ("broken", b"broken")):
        (tmp_path / f"{name}.jpg").write_bytes(content)
    samples = [
        Sample(str(tmp_path / f"{name}.jpg"), "without_mask", "", "", "train")
        for name in ("whole", "broken")
    ]
    (located,) = locate(samples, FaceMask.load())  # the broken picture is skipped
    assert located.detected is not None
    assert dataset.overlap(located.detected, dataset.corners(portrait_box)) > 0.6


def sample(box: Corners | None, source: str = "own", *, mask_only: bool = False) -> Sample:
    return Sample("a.jpg", "with_mask", source, "g", "train", box, human=True, mask_only=mask_only)


def face(box: Box, roll: float = 0.0) -> Face:
    return Face(box, 0.9, roll=roll)


def test_the_box_of_a_mask_gives_way_to_the_face_around_it() -> None:
    mask = sample((40, 60, 80, 90), mask_only=True)
    found = placed(mask, [face(Box(200, 0, 50, 50)), face(Box(30, 20, 60, 80))])
    assert found.detected == (30, 20, 90, 100)
    assert found.annotated is None
    missed = placed(mask, [face(Box(200, 0, 50, 50))])
    assert missed.detected is None
    assert missed.annotated is None


def test_the_box_of_a_head_gives_way_to_the_face_in_it() -> None:
    found = placed(sample((0, 0, 100, 120), "leoring"), [face(Box(20, 40, 60, 70))])
    assert found.detected == (20, 40, 80, 110)
    assert found.annotated is not None
    assert found.annotated[0] > 0
    assert found.annotated[1] > 0


@pytest.mark.parametrize(("roll", "kept"), [(10.0, 0.0), (90.0, 90.0), (-120.0, -120.0)])
def test_only_a_turned_face_is_turned_back(roll: float, kept: float) -> None:
    found = placed(sample((0, 0, 50, 50)), [face(Box(0, 0, 50, 50), roll)])
    assert found.roll == kept


def test_a_turned_face_is_cut_out_upright(
    tmp_path: Path, portrait: Image, portrait_box: Box
) -> None:
    height = portrait.shape[0]
    box = portrait_box
    turned = Box(height - box.y - box.height, box.x, box.height, box.width)
    crops = []
    for name, image, place, roll in (
        ("upright", portrait, box, 0.0),
        ("turned", np.rot90(portrait, -1), turned, 90.0),
    ):
        file = tmp_path / f"{name}.png"
        cv2.imwrite(str(file), cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
        corners = dataset.corners(place)
        crops.append(
            cut(Sample(str(file), "without_mask", "", "", "val", corners, roll=roll), 0.15, 112)
        )
    upright, turned_back = (crop.astype(float) for crop in crops)
    assert np.abs(upright - turned_back).mean() < 6
    assert np.abs(upright - np.rot90(turned_back, -1)).mean() > 20
