"""A face's traits get the names that a person would use."""

import cv2
import numpy as np
import pytest

from model.detectors.yunet import YuNet
from model.images import Box, Image
from model.training.data.dataset import Sample
from model.training.drawing.synthesize import COLOURS, synthesize_mask
from model.training.evaluation import traits

FACE = Box(178, 62, 92, 110)


def traits_of(image: Image, cls: str = "without_mask", source: str = "set") -> dict[str, str]:
    faces = YuNet().detect(image, 0.5)
    sample = Sample("", cls, source, "", "val")
    return traits.of(image, FACE, faces[0].landmarks if faces else None, sample)


def test_a_portrait_in_studio_light(portrait: Image) -> None:
    named = traits_of(portrait)
    assert named["size"] == "60-120 px"
    assert named["sharpness"] == "sharp"
    assert named["pose"] == "frontal"
    assert named["brightness"] != "dark"
    assert named["source"] == "set"
    assert not named.keys() & {"mask", "occluder"}


def test_what_is_not_known_of_a_face_is_not_named(portrait: Image) -> None:
    flat = np.full_like(portrait, 128)
    assert "pose" not in traits_of(flat)


def test_occluders_are_those_of_a_set(portrait: Image) -> None:
    assert traits_of(portrait, source="smoker")["occluder"] == "hand, cup or cigarette"


def test_a_dark_and_a_blurred_picture(portrait: Image) -> None:
    dark = (portrait * 0.3).astype(np.uint8)
    assert traits_of(dark)["brightness"] == "dark"
    blurred = np.asarray(cv2.GaussianBlur(portrait, (0, 0), 6), np.uint8)
    assert traits_of(blurred)["sharpness"] == "blurred"


@pytest.mark.parametrize(
    ("cloth", "name"),
    [("blue", "blue"), ("white", "white"), ("black", "black"), ("green", "green"), ("red", "warm")],
)
def test_the_colour_of_a_mask(portrait: Image, cloth: str, name: str) -> None:
    masked = synthesize_mask(portrait, YuNet().detect(portrait, 0.6)[0], COLOURS[cloth])
    assert traits_of(masked, "with_mask")["mask"].startswith(name)


def test_skin_tones_are_ordered_from_dark_to_light() -> None:
    tones = [(60, 40, 30), (110, 75, 55), (170, 125, 95), (205, 165, 140), (240, 215, 200)]
    angles = [traits.typology_angle(np.full((4, 4, 3), tone, np.uint8)) for tone in tones]
    assert angles == sorted(angles)
    names = [traits.band(angle, traits.SKIN) for angle in angles]
    assert names[0] == "dark"
    assert names[-1] == "very light"


def test_bands_are_sorted_as_one_reads_them() -> None:
    skin = sorted(traits.SKIN, key=lambda name: traits.place("skin", name))
    assert skin == list(traits.SKIN)
    sizes = sorted(map(traits.size_band, (500, 25, 70, 5)), key=lambda n: traits.place("size", n))
    assert sizes == ["0-20 px", "20-32 px", "60-120 px", "120 px and more"]
    assert sorted("ba", key=lambda name: traits.place("source", name)) == ["a", "b"]


def test_a_turned_face_has_its_nose_beside_the_middle_of_the_eyes() -> None:
    frontal = np.array([[0, 0], [10, 0], [5.5, 6], [2, 10], [8, 10]], np.float32)
    turned = np.array([[0, 0], [10, 0], [9, 6], [4, 10], [9, 10]], np.float32)
    quarter = np.array([[0, 1], [-1, 0]], np.float32)  # a head lying on its side
    assert [traits.pose(p) for p in (frontal, turned)] == ["frontal", "turned"]
    assert [traits.pose(p @ quarter) for p in (frontal, turned)] == ["frontal", "turned"]
