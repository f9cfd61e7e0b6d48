"""Which stage of a model judges a face."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.cascade import DETECTOR, STAGES, TINY, Cascade
from model.choices import ModelName
from model.classifier import WEIGHTS, ModelError
from model.detectors import facemask
from model.detectors.faces import Face
from model.images import Box, Image, open_picture
from model.pipeline import MaskPipeline
from tests.conftest import encoded


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return Cascade.load("cascade")


def test_the_detectors_verdict_stands_where_it_is_sure(
    cascade: Cascade, portrait: Image, portrait_box: Box
) -> None:
    sure = cascade.stages[DETECTOR]
    face = Face(portrait_box, 1.0, states=(sure, 1 - sure, 0.0))
    (reading,) = cascade.read(portrait, [face])
    assert (reading.mask, reading.stage) == (sure, DETECTOR)
    # A bit less sure, and networks decide by the crop, which shows no mask.
    doubtful = replace(face, states=(sure - 0.01, 1 - sure + 0.01, 0.0))
    (reading,) = cascade.read(portrait, [doubtful])
    assert reading.mask < 0.1
    assert reading.stage == "fast"


def test_a_face_without_the_detectors_verdict_goes_to_the_networks(
    cascade: Cascade, masked_portrait: Image, portrait_box: Box
) -> None:
    (reading,) = cascade.read(masked_portrait, [Face(portrait_box, 1.0)])
    assert reading.mask > 0.9
    assert reading.stage != DETECTOR


def test_what_no_stage_is_sure_of_goes_to_the_last_one(portrait: Image, portrait_box: Box) -> None:
    networks = {name: Cascade.load(name).networks[name] for name in ("fast", "mobilenetv2-224")}
    never = Cascade("cascade", networks, {DETECTOR: 1.0, "fast": 1.0})
    face = Face(portrait_box, 1.0, states=(0.5, 0.5, 0.0))
    (reading,) = never.read(portrait, [face])
    assert reading.stage == "mobilenetv2-224"
    (alone,) = Cascade.load("mobilenetv2-224").read(portrait, [face])
    assert reading.mask == alone.mask


def test_the_last_network_is_not_asked_about_a_tiny_face(portrait: Image) -> None:
    networks = {name: Cascade.load(name).networks[name] for name in ("fast", "mobilenetv2-224")}
    never = Cascade("cascade", networks, {DETECTOR: 1.0, "fast": 1.0})
    tiny, small = (Face(Box(200, 100, side, side), 1.0) for side in (TINY - 1, TINY))
    readings = never.read(portrait, [tiny, small])
    assert [reading.stage for reading in readings] == ["fast", "mobilenetv2-224"]


def test_faces_are_judged_together_as_alone(
    cascade: Cascade, portrait: Image, masked_portrait: Image, portrait_box: Box
) -> None:
    both = np.concatenate([portrait, masked_portrait], axis=1)
    boxes = [replace(portrait_box, x=portrait_box.x + x) for x in (0, 9, 512, 523, 530, 540)]
    faces = [
        Face(box, 1.0, roll=roll) for box, roll in zip(boxes, [0, 0, 0, 0, 0, 40], strict=True)
    ]
    assert cascade.read(both, faces) == [cascade.read(both, [face])[0] for face in faces]
    assert cascade.read(both, []) == []


@pytest.mark.parametrize("model", STAGES)
def test_a_models_version_changes_with_its_networks(model: ModelName) -> None:
    versions = {Cascade.load(name).version for name in STAGES}
    assert len(versions) == len(STAGES)
    assert len(Cascade.load(model).version) == 12


def test_the_detector_is_told_apart_by_its_cards(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(facemask.WEIGHTS, tmp_path / "facemask"))
    assert facemask.digest(copy) == facemask.digest()
    card = copy / "verifier.json"
    card.write_text(card.read_text() + "\n")
    assert facemask.digest(copy) != facemask.digest()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no JSON", "cannot be read"),
        ('{"detector": 0.9}', "'fast'"),
        ('{"detector": 0.4, "fast": 0.9}', "detector 0.4; thresholds are from .5 to 1"),
    ],
)
def test_unusable_thresholds_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    shutil.copytree(WEIGHTS, tmp_path / "weights", ignore=shutil.ignore_patterns("report"))
    (tmp_path / "weights/cascade.json").write_text(text)
    with pytest.raises(ModelError, match=complaint):
        Cascade.load("cascade", tmp_path / "weights")


def test_only_a_detector_with_states_tells_a_wrongly_worn_mask(masked_portrait: Image) -> None:
    pipeline = MaskPipeline.load()
    picture = encoded(masked_portrait)
    (ours,) = pipeline.analyse(open_picture(picture)).verdicts
    (yunet,) = pipeline.analyse(open_picture(picture), "yunet").verdicts
    assert ours.incorrectly_worn is not None
    assert 0 <= ours.incorrectly_worn <= 1 - ours.mask
    assert yunet.incorrectly_worn is None


def test_of_a_turned_face_the_mean_of_all_stages_counts(
    cascade: Cascade, masked_portrait: Image, portrait_box: Box
) -> None:
    """The detector is sure that there is no mask, but alone it does not decide."""
    upright = Face(portrait_box, 1.0, states=(0.0, 1.0, 0.0))
    assert cascade.read(masked_portrait, [upright])[0].mask == 0
    turned = replace(upright, roll=25.0)
    assert not cascade.decided(turned)
    (reading,) = cascade.read(masked_portrait, [turned])
    looks = [
        Cascade(name, {name: network}).read(masked_portrait, [replace(turned, states=None)])[0].mask
        for name, network in cascade.networks.items()
    ]
    assert reading.mask == pytest.approx(sum(looks) / 3)
    assert reading.stage == "mobilenetv2-224"
