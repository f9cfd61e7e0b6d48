"""A window contains its sample's face, where its boxes say."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from model.images import Image
from model.training.data.dataset import Sample
from model.training.data.windows import MAX_SIDE, cut_windows
from tests.conftest import encoded

ON_PORTRAIT = (178.0, 70.0, 270.0, 178.0)


@pytest.fixture
def file(tmp_path: Path, portrait: Image) -> Path:
    path = tmp_path / "portrait.png"
    path.write_bytes(encoded(portrait, ".png"))
    return path


def sample(file: Path, cls: str = "without_mask", scale: float = 1.0) -> Sample:
    left, top, right, bottom = (v * scale for v in ON_PORTRAIT)
    boxes = {"annotated": (left, top, right, bottom), "detected": (left + 4, top, right, bottom)}
    return Sample(str(file), cls, "set", "group", "train", **boxes)


def test_a_window_shows_the_same_pixels_at_its_boxes(file: Path, portrait: Image) -> None:
    (window,) = cut_windows([sample(file)])
    left, top, right, bottom = (round(v) for v in window.boxes[1])
    assert np.array_equal(window.pixels[top:bottom, left:right], portrait[70:178, 178:270])
    assert window.boxes[0][0] - window.boxes[1][0] == 4
    assert window.pixels.shape[0] >= 2 * (178 - 70) - 40  # the head ends near the frame's edge


def test_a_large_face_is_shrunk_with_its_boxes(tmp_path: Path, portrait: Image) -> None:
    large = np.asarray(cv2.resize(portrait, None, fx=4, fy=4), np.uint8)
    path = tmp_path / "large.png"
    path.write_bytes(encoded(large, ".png"))
    (window,) = cut_windows([sample(path, scale=4)])
    assert max(window.pixels.shape) == MAX_SIDE
    left, top, right, bottom = window.boxes[1]
    assert bottom - top == pytest.approx(MAX_SIDE / 2, rel=0.05)
    there = np.asarray(cv2.resize(portrait[70:178, 178:270], (46, 54)), float)
    here = window.pixels[round(top) : round(bottom), round(left) : round(right)]
    assert np.abs(np.asarray(cv2.resize(here, (46, 54)), float) - there).mean() < 12


def test_faces_are_looked_for_where_something_may_be_drawn(file: Path) -> None:
    windows = cut_windows([sample(file), sample(file, "with_mask"), sample(file, "incorrect_mask")])
    assert [window.face is not None for window in windows] == [True, False, False]
    face = windows[0].face
    assert face is not None
    left, top, *_ = windows[0].boxes[1]
    assert abs(face.box.x - left) < 15
    assert abs(face.box.y - top) < 20


def test_a_face_that_is_not_there_is_not_drawn_on(file: Path) -> None:
    elsewhere = Sample(str(file), "without_mask", "set", "g", "train", (350, 300, 450, 420))
    assert cut_windows([elsewhere])[0].face is None
