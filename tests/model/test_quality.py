"""Sharpness falls with blur and nothing else."""

import cv2
import numpy as np
import pytest

from model.images import Box, Image
from model.quality import sharpness


def shrunk(image: Image, factor: float) -> Image:
    """Return the picture as if taken from farther away."""
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def test_the_more_blurred_the_less_sharp(portrait: Image, portrait_box: Box) -> None:
    sigmas = (2, 4, 8, 16)
    views = [portrait, *(cv2.GaussianBlur(portrait, (0, 0), sigma) for sigma in sigmas)]
    measured = [sharpness(np.asarray(view, np.uint8), portrait_box) for view in views]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] < measured[0] / 20


@pytest.mark.parametrize("light", [0.25, 0.5, 0.8])
def test_a_dark_face_is_no_blurred_one(portrait: Image, portrait_box: Box, light: float) -> None:
    dark = (portrait * light).astype(np.uint8)
    assert sharpness(dark, portrait_box) == pytest.approx(
        sharpness(portrait, portrait_box), rel=0.2
    )


@pytest.mark.parametrize("factor", [0.3, 0.5, 2.0])
def test_a_far_face_is_no_blurred_one(portrait: Image, portrait_box: Box, factor: float) -> None:
    box = Box(*(round(v * factor) for v in vars(portrait_box).values()))
    far = sharpness(shrunk(portrait, factor), box)
    assert far == pytest.approx(sharpness(portrait, portrait_box), rel=0.3)


def test_a_flat_picture_has_no_detail() -> None:
    noise = np.random.default_rng(0).integers(126, 130, (100, 100, 3), dtype=np.uint8)
    assert sharpness(noise, Box(10, 10, 80, 80)) < 0.1
    assert sharpness(np.full((100, 100, 3), 128, np.uint8), Box(10, 10, 80, 80)) == 0
