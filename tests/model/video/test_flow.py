import cv2
import numpy as np
import pytest

from model.detectors.faces import Face
from model.images import Box, Image
from model.video.flow import Flow


def shown(portrait: Image, scale: float, dx: float, dy: float) -> Image:
    """Return the portrait scaled around the centre of its face, then shifted."""
    x, y = 224, 124
    matrix = np.array([[scale, 0, x - x * scale + dx], [0, scale, y - y * scale + dy]], float)
    return np.asarray(cv2.warpAffine(portrait, matrix, (640, 480)), np.uint8)


@pytest.mark.parametrize(
    ("scale", "dx", "dy"), [(1, 0, 0), (1, 17, -9), (1.06, 0, 0), (0.95, 6, 6)]
)
def test_a_box_is_followed(portrait: Image, portrait_box: Box, scale: float, dx: float, dy: float):
    flow = Flow()
    landmarks = np.array([[200, 110], [245, 110], [224, 130], [205, 150], [240, 150]], np.float32)
    face = Face(portrait_box, 0.9, landmarks)
    flow.advance(shown(portrait, 1, 0, 0))
    after = shown(portrait, scale, dx, dy)
    flow.advance(after)
    (found,) = flow.follow(after, [face])
    assert found is not None
    box = found.box
    assert box.width == pytest.approx(portrait_box.width * scale, abs=2)
    assert box.x + box.width / 2 == pytest.approx(224 + dx, abs=2)
    assert box.y + box.height / 2 == pytest.approx(124 + dy, abs=2)
    assert found.landmarks is not None
    expected = (landmarks - [224, 124]) * scale + [224 + dx, 124 + dy]
    assert np.abs(found.landmarks - expected).max() < 3


def test_a_face_that_is_gone_is_not_followed(portrait: Image, portrait_box: Box):
    flow = Flow()
    flow.advance(portrait)
    noise = np.random.default_rng(0).integers(0, 255, portrait.shape, np.uint8)
    flow.advance(noise)
    assert flow.follow(noise, [Face(portrait_box, 0.9)]) == [None]


def test_nothing_is_followed_into_a_frame_of_another_size(portrait: Image, portrait_box: Box):
    flow = Flow()
    assert flow.follow(portrait, []) == []
    flow.advance(portrait)
    assert flow.follow(portrait, [Face(portrait_box, 0.9)]) == [None]
    smaller = portrait[:300]
    flow.advance(smaller)
    assert flow.follow(smaller, [Face(portrait_box, 0.9)]) == [None]
