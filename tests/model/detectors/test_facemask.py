"""Our detector finds masked and turned faces, and says what it cannot load."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors import facemask
from model.detectors.facemask import CARD, FILE, WEIGHTS, FaceMask, surest, without_nested
from model.detectors.faces import DetectorUnavailable, Face
from model.detectors.verifier import TOGETHER, Verifier
from model.detectors.yunet import padded
from model.images import Box, Image, decode


@pytest.fixture(scope="module")
def detector() -> FaceMask:
    return FaceMask.load()


def test_it_finds_a_face_and_reads_its_mask(
    detector: FaceMask, portrait: Image, masked_portrait: Image, portrait_box: Box
) -> None:
    for image, state in ((masked_portrait, 0), (portrait, 1)):
        (face,) = detector.detect(image, 0.45)
        assert face.states is not None
        assert int(np.argmax(face.states)) == state
        assert face.box.touches(portrait_box)
        assert abs(face.roll) < 15


def test_a_face_is_never_boxed_twice_one_box_inside_the_other() -> None:
    rows = np.zeros((3, 20), np.float32)
    rows[:, :4] = [[10, 10, 40, 50], [15, 12, 20, 20], [100, 10, 40, 50]]
    rows[:, 14] = [0.9, 0.8, 0.7]
    assert without_nested(rows)[:, 14].tolist() == pytest.approx([0.9, 0.7])


def test_strips_and_noise_give_boxes_inside_the_picture(detector: FaceMask) -> None:
    random = np.random.default_rng(0)
    for height, width in ((7, 105), (3, 300), (480, 640)):
        image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for face in detector.detect(image, 0.1):
            assert 0 <= face.box.x <= face.box.x + face.box.width <= width
            assert 0 <= face.box.y <= face.box.y + face.box.height <= height


def test_what_only_looks_like_a_face_is_dismissed_at_the_second_look(
    detector: FaceMask, portrait: Image, portrait_box: Box
) -> None:
    """The portrait's space suit has round patches that the first network takes for faces."""
    alone = FaceMask.load(unaided=True).detect(portrait, 0.2, FaceMask.LONG_SIDE)
    patches = [face.box for face in alone if not face.box.touches(portrait_box)]
    assert patches
    faces = detector.detect(portrait, 0.2, FaceMask.LONG_SIDE)
    assert not any(face.box.touches(patch) for face in faces for patch in patches)
    assert max(face.confidence for face in faces) > 0.9


def test_doubtful_faces_are_verified_together_as_alone(portrait: Image, portrait_box: Box) -> None:
    doubtful = [
        Face(replace(portrait_box, x=portrait_box.x + x, y=portrait_box.y + y), 0.4)
        for x in range(-120, 180, 60)
        for y in range(0, 240, 60)
    ]
    verifier = Verifier.load(WEIGHTS)
    assert len(doubtful) > TOGETHER
    together = verifier.verified(portrait, doubtful)
    alone = [verifier.verified(portrait, [face])[0] for face in doubtful]
    assert together == sorted(alone, key=lambda face: -face.confidence)
    assert together[0].confidence > 0.9 > 0.1 > together[-1].confidence


def test_a_closer_look_follows_only_where_it_can_find_more(
    detector: FaceMask, portrait: Image
) -> None:
    def boxes(image: Image, long_side: int | None) -> list[Box]:
        return [face.box for face in detector.detect(image, 0.45, long_side)]

    near = cv2.resize(portrait, (640, 640))
    assert boxes(near, None) == boxes(near, FaceMask.GLANCE) != boxes(near, FaceMask.LONG_SIDE)
    far = np.full((960, 1280, 3), 90, np.uint8)
    far[400:600, 500:700] = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    assert len(boxes(far, None)) == 1
    assert boxes(far, None) == boxes(far, FaceMask.LONG_SIDE)


@pytest.mark.parametrize(("scale", "looks"), [(1 / 4, [300]), (1, [320, FaceMask.LONG_SIDE])])
def test_a_small_face_needs_a_closer_look_unless_the_frame_is_tiny(
    portrait: Image, monkeypatch: pytest.MonkeyPatch, scale: float, looks: list[int]
) -> None:
    scene = np.full((600, 800, 3), 90, np.uint8)
    scene[200:500, 300:600] = cv2.resize(portrait, (300, 300), interpolation=cv2.INTER_AREA)
    image = cv2.resize(scene, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    sizes: list[int] = []

    def noted(resized: Image) -> np.ndarray:
        sizes.append(max(resized.shape))
        return padded(resized)

    monkeypatch.setattr(facemask, "padded", noted)
    assert len(FaceMask.load().detect(np.asarray(image, np.uint8), 0.45)) == 1
    assert sizes == looks


@pytest.mark.parametrize("name", ["closeup_not_found", "sunglasses2_not_found"])
def test_a_face_that_fills_the_frame_is_found(detector: FaceMask, shared: Path, name: str) -> None:
    image = decode((shared / "cases" / "pictures" / f"{name}.jpg").read_bytes())
    (face,) = detector.detect(image, 0.45)
    assert face.box.long_side > 0.8 * max(image.shape[:2])
    assert face.states is not None
    assert int(np.argmax(face.states)) == 0


def test_of_two_looks_at_a_face_the_surer_one_stays() -> None:
    whole, part, same, other = (
        Face(Box(x, 0, side, side), confidence)
        for x, side, confidence in ((0, 100, 0.7), (10, 40, 0.6), (20, 100, 0.8), (300, 100, 0.2))
    )
    assert surest([whole, part, same, other]) == [same, other]


@pytest.mark.parametrize(
    "damage", ["weights", "card", "states", "verifier.onnx", "verifier.json", "missing"]
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    for file in WEIGHTS.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    card = json.loads((tmp_path / CARD).read_text())
    if damage in {"weights", "verifier.onnx"}:
        file = tmp_path / (FILE if damage == "weights" else damage)
        data = bytearray(file.read_bytes())
        data[1000] ^= 1
        file.write_bytes(data)
    elif damage == "missing":
        (tmp_path / "verifier.json").unlink()
    elif damage == "states":
        (tmp_path / CARD).write_text(json.dumps(card | {"states": ["mask"]}))
    else:
        (tmp_path / (CARD if damage == "card" else damage)).write_text("{}")
    of = "verifier" if damage in {"verifier.onnx", "verifier.json", "missing"} else "facemask"
    with pytest.raises(DetectorUnavailable, match=of):
        FaceMask.load(tmp_path)
