from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client.annotate import COLOURS, annotated, caption
from client.answers import Box, Face

GROUND = 90
STATUS = "12.3 fps  45 ms  reconnecting to the service"


def face(label: str, box: Box) -> Face:
    return Face(box, label, {"mask": 0.62, "no_mask": 0.38}, 0.9)


def blank(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), GROUND, np.uint8)


@pytest.mark.parametrize(
    ("label", "strongest", "weakest"),
    [("mask", 1, 2), ("no_mask", 2, 0), ("uncertain", 2, 0)],
)
def test_the_box_has_the_colour_of_its_label(label: str, strongest: int, weakest: int):
    pixels = blank(640, 480)
    drawn = annotated(pixels, [face(label, Box(200, 150, 120, 160))], "")
    for y, x in [(230, 200), (230, 319), (309, 260)]:  # left, right and lower edge
        assert tuple(drawn[y, x]) == COLOURS[label]
        assert drawn[y, x].argmax() == strongest  # in BGR
        assert drawn[y, x].argmin() == weakest
    assert (drawn[200:290, 220:300] == GROUND).all()
    assert (drawn[320:] == GROUND).all()
    assert (pixels == GROUND).all()


def test_a_tentative_face_has_a_thin_box_without_a_caption():
    tentative = replace(face("no_mask", Box(200, 150, 120, 160)), state="tentative")
    drawn = annotated(blank(640, 480), [tentative], "")
    assert (drawn != GROUND).any(axis=2).sum() == 2 * (120 + 160) - 4  # one pixel wide
    assert (drawn[150, 200:320] == 255).all()


@pytest.mark.parametrize(
    ("label", "wrong", "text"),
    [
        ("no_mask", 0.62, "Mask worn wrong 62%"),
        ("no_mask", 0.4, "No mask 38%"),
        ("no_mask", None, "No mask 38%"),
        ("mask", 0.62, "Mask 62%"),
    ],
)
def test_a_mask_that_is_worn_wrong_is_named(label: str, wrong: float | None, text: str):
    assert caption(replace(face(label, Box(0, 0, 9, 9)), incorrectly_worn=wrong)) == text


@pytest.mark.parametrize("width", [320, 640, 1920])
@pytest.mark.parametrize("label", ["mask", "no_mask", "uncertain"])
def test_a_caption_is_whole_wherever_the_face_is(width: int, label: str):
    height = width * 3 // 4
    side = width // 8
    central = face(label, Box(width // 2, height // 2, side, side))
    middle = annotated(blank(width, height), [central], "")
    for x in (0, width - side):
        for y in (0, height - side):
            drawn = annotated(blank(width, height), [face(label, Box(x, y, side, side))], "")
            assert ink(drawn, label) == ink(middle, label)
    assert ink(middle, label) > 50


def ink(drawn: np.ndarray, label: str) -> int:
    """Count the pixels of the text: neither the picture's nor the label's colour."""
    return int(((drawn != GROUND).any(axis=2) & (drawn != COLOURS[label]).any(axis=2)).sum())


@pytest.mark.parametrize("width", [64, 320, 1920])
def test_the_status_lies_in_the_bottom_corner_and_is_not_cut(width: int):
    drawn = annotated(blank(width, width * 3 // 4), [], STATUS)
    assert (drawn[: width // 2] == GROUND).all()
    inked = np.argwhere((drawn > GROUND).any(axis=2))
    assert len(inked) > 0
    assert inked[:, 1].min() >= 1
    assert inked[:, 1].max() <= width - 2
    assert inked[:, 0].max() <= width * 3 // 4 - 2


def test_a_label_that_came_later_than_this_client_is_shown_as_it_is():
    drawn = annotated(blank(640, 480), [face("chin_mask", Box(100, 100, 50, 50))], "")
    assert (drawn != GROUND).any()
