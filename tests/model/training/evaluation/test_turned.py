"""Turned pictures hold their faces where the moved boxes say."""

import numpy as np
import pytest

from model.images import Box, Image
from model.training.evaluation.turned import turned


@pytest.mark.parametrize("roll", [0, 90, 180, 270])
def test_quarter_turns_move_boxes_with_the_pixels(roll: int) -> None:
    image: Image = np.zeros((60, 100, 3), np.uint8)
    image[10:30, 20:50] = 255
    pixels, ((left, top, right, bottom),) = turned(image, [(20, 10, 50, 30)], roll)
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    assert pixels.shape[:2] == ((100, 60) if roll in {90, 270} else (60, 100))
    assert (left, top) == pytest.approx((columns.min(), rows.min()), abs=1.5)
    assert (right, bottom) == pytest.approx((columns.max() + 1, rows.max() + 1), abs=1.5)


def test_a_turned_oval_needs_less_room_than_its_turned_corners(portrait_box: Box) -> None:
    image: Image = np.zeros((512, 512, 3), np.uint8)
    b = portrait_box
    _, ((left, top, right, bottom),) = turned(
        image, [(b.x, b.y, b.x + b.width, b.y + b.height)], 45
    )
    corner = (b.width + b.height) / 2**0.5
    assert right - left < corner
    assert bottom - top < corner
