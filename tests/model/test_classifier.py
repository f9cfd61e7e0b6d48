"""The shipped model matches its card; a model that does not is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model.classifier import CARD, LABELS, WEIGHTS, MaskClassifier, ModelError, calibrated
from model.images import Box, Image, crop


@pytest.fixture(scope="module")
def classifier() -> MaskClassifier:
    return MaskClassifier.load()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the shipped model, for a test to damage."""
    folder = tmp_path / "weights"
    shutil.copytree(WEIGHTS, folder, ignore=shutil.ignore_patterns("detectors"))
    return folder


def spoil(folder: Path, **changes: object) -> Path:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | changes))
    return folder


def test_masked_and_unmasked_faces_are_told_apart(
    classifier: MaskClassifier, portrait: Image, masked_portrait: Image, portrait_box: Box
) -> None:
    crops = [
        crop(image, portrait_box, classifier.card.margin, classifier.card.input_size)
        for image in (portrait, masked_portrait)
    ]
    unmasked, masked = classifier.predict(crops)[:, LABELS.index("mask")]
    assert unmasked < 0.1
    assert masked > 0.9


def test_probabilities_sum_to_one_and_do_not_depend_on_the_neighbours(
    classifier: MaskClassifier,
) -> None:
    random = np.random.default_rng(0)
    crops = list(random.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8))
    together = classifier.predict(crops)
    assert np.allclose(together.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(together, np.concatenate([classifier.predict([one]) for one in crops]))
    assert classifier.predict([]).shape == (0, 2)


def test_a_higher_temperature_is_less_sure_and_keeps_the_order() -> None:
    raw = np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0]], np.float32)
    assert np.allclose(calibrated(raw, 1.0), raw, atol=1e-6)
    cooler = calibrated(raw, 2.0)
    assert np.allclose(cooler[0], [0.75, 0.25])  # odds of 9 become odds of 3
    assert (cooler.argmax(axis=1) == raw.argmax(axis=1)).all()
    assert np.isfinite(cooler).all()


def test_other_weights_than_the_cards_are_refused(copied: Path) -> None:
    with pytest.raises(ModelError, match=r"sha256 .* its card says 0123"):
        MaskClassifier.load(spoil(copied, sha256="0123"))


def test_labels_in_another_order_are_refused(copied: Path) -> None:
    with pytest.raises(ModelError, match=r"'no_mask', 'mask'.*'mask', 'no_mask'"):
        MaskClassifier.load(spoil(copied, labels=["no_mask", "mask"]))


def test_another_input_size_is_refused(copied: Path) -> None:
    with pytest.raises(ModelError, match=r"224.*96"):
        MaskClassifier.load(spoil(copied, input_size=96))


def test_a_card_that_lacks_something_is_refused(copied: Path) -> None:
    (copied / CARD).write_text("{}")
    with pytest.raises(ModelError, match=r"lacks .*sha256"):
        MaskClassifier.load(copied)


def test_a_card_from_before_the_gate_for_blur_is_refused(copied: Path) -> None:
    card = json.loads((copied / CARD).read_text())
    del card["min_sharpness"]
    (copied / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"lacks min_sharpness\."):
        MaskClassifier.load(copied)


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        MaskClassifier.load(tmp_path)
