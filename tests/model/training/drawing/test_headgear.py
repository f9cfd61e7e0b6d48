"""Headgear is drawn where people wear it, and leaves the mouth, which shows the mask."""

import numpy as np
import pytest

from model.detectors.faces import Face
from model.detectors.yunet import YuNet
from model.images import Image
from model.training.drawing.headgear import HEADGEAR, OUTFITS, dress


@pytest.fixture(scope="module")
def face(portrait: Image) -> Face:
    return YuNet(glance=False).detect(portrait, 0.6)[0]


def change(before: Image, after: Image, x: float, y: float) -> float:
    """Return by how many levels a spot changed in the median."""
    spot = np.s_[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
    return float(np.median(np.abs(after[spot].astype(int) - before[spot])))


@pytest.mark.parametrize("name", HEADGEAR)
def test_headgear_is_seen_and_leaves_the_mouth(portrait: Image, face: Face, name: str) -> None:
    assert face.landmarks is not None
    x, y = face.landmarks[3:].mean(axis=0)
    clear = 70 if name == "shield" else 25  # a shield is transparent, but shines in places
    for seed in range(20):
        after = dress(portrait, face, np.random.default_rng(seed), (name,))
        assert (after != portrait).any(axis=2).sum() > 0.03 * face.box.width * face.box.height
        assert change(portrait, after, x, y) < clear, f"seed {seed}"


def test_sunglasses_hide_the_eyes_and_a_helmet_the_hair(portrait: Image, face: Face) -> None:
    assert face.landmarks is not None
    eyes, mouth = face.landmarks[:2], face.landmarks[3:].mean(axis=0)
    hair = eyes.mean(axis=0) - 1.1 * (mouth - eyes.mean(axis=0))
    for seed in range(10):
        shaded = dress(portrait, face, np.random.default_rng(seed), ("sunglasses",))
        covered = dress(portrait, face, np.random.default_rng(seed), ("helmet",))
        assert max(change(portrait, shaded, *eye) for eye in eyes) > 12, f"seed {seed}"
        assert change(portrait, covered, *hair) > 12, f"seed {seed}"


def test_an_outfit_is_the_same_for_a_seed_and_all_its_parts_exist(
    portrait: Image, face: Face
) -> None:
    assert {name for outfit in OUTFITS for name in outfit} == set(HEADGEAR)
    first, again = (dress(portrait, face, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != portrait).any()


def test_a_face_at_the_edge_is_dressed(portrait: Image, face: Face) -> None:
    assert face.landmarks is not None
    middle = face.box.x + face.box.width // 2
    half = portrait[:, middle:]
    moved = Face(face.box, 0.9, face.landmarks - np.array([middle, 0], np.float32))
    for name in HEADGEAR:
        assert dress(half, moved, np.random.default_rng(1), (name,)).shape == half.shape


def test_a_face_without_landmarks_is_refused(portrait: Image, face: Face) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        dress(portrait, Face(face.box, 0.9), np.random.default_rng(1))
