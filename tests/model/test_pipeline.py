"""A frame's way through the pipeline, in process."""

import cv2
import numpy as np
import pytest

from model.cascade import STAGES
from model.choices import ModelName
from model.detectors.faces import DetectorUnavailable, Face
from model.detectors.yunet import YuNet
from model.images import Box, Image, open_picture
from model.pipeline import MaskPipeline, label_of
from model.training.drawing.synthesize import COLOURS, synthesize_mask
from tests.conftest import encoded


@pytest.fixture(scope="module")
def pipeline() -> MaskPipeline:
    return MaskPipeline.load()


def labels(pipeline: MaskPipeline, image: Image) -> list[str]:
    return [verdict.label for verdict in pipeline.analyse(open_picture(encoded(image))).verdicts]


def test_a_face_without_a_mask(pipeline: MaskPipeline, portrait: Image) -> None:
    assert labels(pipeline, portrait) == ["no_mask"]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_mask_of_any_colour(pipeline: MaskPipeline, portrait: Image, colour: str) -> None:
    face = YuNet().detect(portrait, 0.6)[0]
    assert labels(pipeline, synthesize_mask(portrait, face, COLOURS[colour])) == ["mask"]


def test_several_faces_are_judged_one_by_one(
    pipeline: MaskPipeline, portrait: Image, masked_portrait: Image
) -> None:
    scene = np.hstack([portrait, masked_portrait, portrait])
    found = pipeline.analyse(open_picture(encoded(scene))).verdicts
    by_place = sorted(found, key=lambda verdict: verdict.face.box.x)
    assert [verdict.label for verdict in by_place] == ["no_mask", "mask", "no_mask"]


def test_no_face_is_an_empty_answer(pipeline: MaskPipeline) -> None:
    analysis = pipeline.analyse(open_picture(encoded(np.full((300, 400, 3), 90, np.uint8))))
    assert analysis.verdicts == []
    assert analysis.timings_ms.keys() == {"decode", "detect", "classify"}


def test_a_face_too_small_to_judge_is_uncertain(pipeline: MaskPipeline) -> None:
    card = pipeline.card
    small, large = (Box(0, 0, 100, side) for side in (card.min_face - 1, card.min_face))
    assert label_of(card, small, 1.0, 0.999) == "uncertain"
    assert label_of(card, large, 1.0, 0.999) == "mask"


def test_the_label_follows_the_cards_band(pipeline: MaskPipeline) -> None:
    card, box = pipeline.card, Box(0, 0, 100, 100)
    low, high = card.abstain
    assert label_of(card, box, 1.0, low - 0.001) == "no_mask"
    assert label_of(card, box, 1.0, (low + high) / 2) == "uncertain"
    assert label_of(card, box, 1.0, high + 0.001) == "mask"


def test_a_face_too_blurred_to_judge_is_uncertain(
    pipeline: MaskPipeline, portrait: Image, masked_portrait: Image, portrait_box: Box
) -> None:
    card = pipeline.card
    assert label_of(card, portrait_box, card.min_sharpness - 0.001, 0.999) == "uncertain"
    assert label_of(card, portrait_box, card.min_sharpness, 0.999) == "mask"
    for image, label in ((portrait, "no_mask"), (masked_portrait, "mask")):
        seen = []
        for sigma in (0.5, 30):
            view = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
            seen += [j.label for j in pipeline.judge(view, [Face(portrait_box, 1.0)])]
        assert seen == [label, "uncertain"]


def test_a_detector_that_is_not_there(portrait_jpeg: bytes, pipeline: MaskPipeline) -> None:
    with pytest.raises(DetectorUnavailable, match="not offered here"):
        pipeline.analyse(open_picture(portrait_jpeg), detector="eyes")


def test_light_and_size_do_not_change_the_answer(
    pipeline: MaskPipeline, portrait: Image, masked_portrait: Image
) -> None:
    for image, label in ((portrait, "no_mask"), (masked_portrait, "mask")):
        dark = (image * 0.45).astype(np.uint8)
        small = np.asarray(cv2.resize(image, (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
        mirrored = np.ascontiguousarray(image[:, ::-1])
        for variant in (dark, small, mirrored):
            assert labels(pipeline, variant) == [label]


def test_a_picture_of_many_megapixels_is_answered_in_its_own_pixels(
    pipeline: MaskPipeline, portrait: Image, masked_portrait: Image
) -> None:
    """A close face is judged in the shrunk picture, a distant one at full size."""
    close = cv2.resize(masked_portrait, (2600, 2600))
    distant = np.full((2600, 3000, 3), 120, np.uint8)
    distant[1000:1300, 2000:2300] = cv2.resize(portrait, (300, 300))
    for picture, label, (left, top, side) in (
        (np.asarray(close), "mask", (0, 0, 2600)),
        (distant, "no_mask", (2000, 1000, 300)),
    ):
        analysis = pipeline.analyse(open_picture(encoded(picture)))
        assert analysis.size == (picture.shape[1], picture.shape[0])
        (verdict,) = analysis.verdicts
        box = verdict.face.box
        assert verdict.label == label
        middle = (box.x + box.width / 2 - left, box.y + box.height / 2 - top)
        assert np.allclose(np.array(middle) / side, (0.44, 0.24), atol=0.03)
        whole = pipeline.analyse(open_picture(encoded(picture)), whole=True)
        assert whole.image.shape == picture.shape
        assert abs(whole.verdicts[0].mask - verdict.mask) < 0.1


@pytest.mark.parametrize("model", STAGES)
def test_every_model_tells_masked_from_unmasked(
    model: ModelName, portrait: Image, masked_portrait: Image
) -> None:
    pipeline = MaskPipeline.load(model)
    assert labels(pipeline, portrait) == ["no_mask"]
    assert labels(pipeline, masked_portrait) == ["mask"]
