"""An augmented crop is another view of the same face, labelled with what it shows."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.classifier import LABELS
from model.images import Box, Image, crop
from model.training import augment
from model.training.data.dataset import CLASSES, Sample
from model.training.data.windows import Window, cut_windows
from model.training.drawing.synthesize import KINDS
from model.training.recipes import RECIPES
from tests.conftest import encoded

BOX = (178.0, 70.0, 270.0, 178.0)
PLAIN = RECIPES["camera"]
DRAWN = replace(PLAIN, synthetic=1.0)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Window:
    path: Path = tmp_path_factory.mktemp("window") / "portrait.png"
    path.write_bytes(encoded(portrait, ".png"))
    return cut_windows([Sample(str(path), "without_mask", "set", "g", "train", BOX)])[0]


def many(window: Window, recipe: augment.Recipe, count: int = 40) -> list[tuple[Image, str]]:
    return [
        augment.view("without_mask", window, recipe, 128, np.random.default_rng(seed))
        for seed in range(count)
    ]


def test_a_square_is_cut_as_the_service_cuts_it(portrait: Image) -> None:
    served = crop(portrait, Box(178, 70, 92, 108), 0.15, 224).astype(int)
    side = round(108 * 1.3)
    left, top = 178 + (92 - side) // 2, 70 + (108 - side) // 2
    centre = (left + side / 2, top + side / 2)
    views = [
        augment.cut(portrait, centre, side, 224, 0.0, 1.0),
        augment.cut(portrait, centre, side, 224, 0.0, -1.0)[:, ::-1],
        augment.cut(portrait, centre, side, 224, np.pi, 1.0)[::-1, ::-1],
    ]
    for view in views:  # a shift by a quarter of a pixel would make it more than 1
        assert np.abs(view - served).mean() < 0.5


def test_a_large_face_is_shrunk_without_flicker() -> None:
    """Shrinking a face, as the service does, averages out single-pixel noise."""
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3)).astype(np.uint8)
    assert augment.cut(noise, (400, 400), 700, 70, 0.0, 1.0).std() < 25


def test_a_seed_gives_the_same_view_and_others_give_others(window: Window) -> None:
    views = many(window, PLAIN)
    assert all(v.shape == (128, 128, 3) and v.dtype == np.uint8 for v, _ in views)
    assert len({v.tobytes() for v, _ in views}) == len(views)
    again = many(window, PLAIN)
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(views, again, strict=True))
    assert {cls for _, cls in views} == {"without_mask"}


def test_views_show_the_face(window: Window, portrait: Image) -> None:
    """The average of many views is still the face."""
    mean = np.mean([view for view, _ in many(window, PLAIN, 200)], axis=0)
    face = crop(portrait, Box(178, 70, 92, 108), 0.15, 128)
    both = np.mean([face, face[:, ::-1]], axis=0)
    grey = [np.asarray(cv2.cvtColor(x.astype(np.uint8), cv2.COLOR_RGB2GRAY)) for x in (mean, both)]
    assert np.corrcoef(grey[0].ravel(), grey[1].ravel())[0, 1] > 0.9


def test_what_is_drawn_decides_the_class(window: Window) -> None:
    views = many(window, DRAWN, 400)
    counted = Counter(cls for _, cls in views)
    for cls in CLASSES:
        share = sum(part for kind, part in augment.DRAWN.items() if KINDS[kind].cls == cls)
        assert counted[cls] / len(views) == pytest.approx(share, abs=0.08)
    assert sum(augment.DRAWN.values()) == pytest.approx(1)


def test_nothing_is_drawn_on_a_face_without_landmarks(window: Window) -> None:
    faceless = replace(window, face=None)
    assert {cls for _, cls in many(faceless, DRAWN)} == {"without_mask"}


def test_labels_are_equal_when_masks_are_drawn_too(window: Window) -> None:
    samples = [Sample("", "without_mask", "a", "", "train")] * 300
    samples += [Sample("", "incorrect_mask", "a", "", "train")] * 40
    samples += [Sample("", "with_mask", "b", "", "train")] * 50
    windows = [window] * 300 + [replace(window, face=None)] * 90
    recipe = replace(DRAWN, synthetic=0.5)
    weights = augment.weights_of(samples, windows, recipe)
    drawn = weights[:300].sum() * recipe.synthetic * augment.DRAWN["mask"]
    assert weights.sum() == pytest.approx(1)
    assert drawn + weights[340:].sum() == pytest.approx(0.5, abs=0.01)
    assert LABELS[samples[0].label] == "no_mask"
