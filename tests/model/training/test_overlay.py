"""The overlay draws a mask where one is worn, and makes a data set of it."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.faces import Face, YuNet
from model.images import Box, Image
from model.training import dataset
from model.training.overlay import COLOURS, draw_mask
from tests.conftest import ROOT


def test_the_mask_covers_nose_and_mouth_and_leaves_the_eyes(portrait: Image) -> None:
    face = YuNet().detect(portrait, 0.6)[0]
    before = portrait.copy()
    masked = draw_mask(portrait, face, COLOURS["green"])
    assert np.array_equal(portrait, before)
    changed = np.abs(masked.astype(int) - portrait.astype(int)).max(axis=2) > 10
    assert face.landmarks is not None
    points = [(round(float(x)), round(float(y))) for x, y in face.landmarks]
    covered = [bool(changed[y - 2 : y + 3, x - 2 : x + 3].all()) for x, y in points]
    assert covered == [False, False, True, True, True]
    assert not changed[260:].any()


def test_a_face_without_landmarks_is_refused(portrait: Image) -> None:
    with pytest.raises(ValueError, match="yunet"):
        draw_mask(portrait, Face(Box(170, 60, 100, 120), 0.9), COLOURS["blue"])


def test_a_folder_of_faces_becomes_a_data_set(tmp_path: Path, portrait: Image) -> None:
    faces = tmp_path / "faces" / "people"
    faces.mkdir(parents=True)
    cv2.imwrite(str(faces / "a.png"), cv2.cvtColor(portrait, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(faces / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    (faces / "broken.jpg").write_bytes(b"broken")
    command = [sys.executable, "-m", "model.training.overlay"]
    command += ["--input", str(tmp_path / "faces"), "--output", str(tmp_path / "made")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "1 pictures each" in process.stdout
    assert "wall.png: no face" in process.stdout
    assert "broken.jpg" in process.stdout
    assert {s.cls for s in dataset.read(tmp_path / "made")} == {"with_mask", "without_mask"}
