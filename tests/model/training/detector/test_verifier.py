"""The verifier is trained as a user trains it: candidates, training, weights for the card."""

from pathlib import Path

import keras
import numpy as np
import pytest

from model.detectors import facemask
from model.detectors.facemask import FaceMask
from model.detectors.faces import Face
from model.detectors.verifier import Verifier
from model.detectors.yunet import YuNet
from model.images import Image
from model.training.data.dataset import Sample, corners, overlap
from model.training.detector import candidates, verifier
from model.training.detector.candidates import Candidate
from model.training.detector.pictures import Labelled, Target
from model.training.detector.validation import Scene
from model.training.network import headed
from tests.conftest import encoded


@pytest.fixture(scope="module")
def detector() -> FaceMask:
    return FaceMask.load(unaided=True)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Labelled:
    file = tmp_path_factory.mktemp("pictures") / "portrait.jpg"
    file.write_bytes(encoded(portrait))
    face = YuNet(glance=False).detect(portrait, 0.6)[0]
    return Labelled(str(file), "own", "train", (Target(corners(face.box), exact=True),))


def collected(picture: Labelled, detector: FaceMask, tmp_path: Path) -> list[Candidate]:
    """YuNet is the second opinion here, because CenterFace would have to be downloaded."""

    def search(image: Image) -> list[Face]:
        return detector.detect(image, 0.03, FaceMask.LONG_SIDE)

    rows = candidates.collect([picture], [search], YuNet(glance=False))
    candidates.save(rows, tmp_path / "candidates.jsonl")
    return candidates.load(tmp_path / "candidates.jsonl")


def test_candidates_are_the_face_and_what_only_looks_like_one(
    picture: Labelled, detector: FaceMask, tmp_path: Path
) -> None:
    rows = collected(picture, detector, tmp_path)
    (face,) = [row for row in rows if row.is_face]
    assert overlap(face.box, picture.targets[0].box) > 0.4
    assert len(rows) > 2

    ignored = tuple(Target(row.box, ignored=True) for row in rows if not row.is_face)
    unclear = Labelled(picture.path, "own", "train", picture.targets + ignored)
    assert all(row.is_face for row in collected(unclear, detector, tmp_path))


def test_training_goes_on_after_an_interruption_and_gives_a_verifier(
    picture: Labelled,
    detector: FaceMask,
    tmp_path: Path,
    portrait: Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From random weights and two batches an epoch: the mechanics are the same."""
    monkeypatch.setattr(verifier, "DRAWS", 2 * verifier.BATCH)
    monkeypatch.setattr(verifier, "WARM_UP", 1)
    start, run, output = tmp_path / "start.keras", tmp_path / "run", tmp_path / "output"
    shape = (None, None, 3)
    base = keras.applications.MobileNetV2(input_shape=shape, include_top=False, weights=None)
    headed(base, statistics=False).save(start)
    run.mkdir()
    rows = collected(picture, detector, run)
    (sample,) = [row for row in rows if row.is_face]
    boxed = Sample(picture.path, "without_mask", "own", "own", "val", sample.box, human=True)
    scene = Scene(portrait, (boxed,))
    seen = verifier.detections_of(detector, [scene] * 2, YuNet(glance=False))
    assert seen.is_face.any()
    assert not seen.is_face.all()

    windows = verifier.cut_windows(verifier.chosen(rows))
    for epochs in (1, 3):
        verifier.train(windows, seen, run, start, epochs)
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 3

    verifier.write(run, windows)
    output.mkdir()
    for file in facemask.WEIGHTS.glob("facemask.*"):
        (output / file.name).write_bytes(file.read_bytes())
    verifier.export(run, [scene] * 2, seen, output)
    looked = Verifier.load(output).verified(portrait, detector.detect(portrait, 0.1))
    assert all(0 <= face.confidence <= 1 for face in looked)


def test_weights_are_fitted_so_that_few_false_alarms_pass() -> None:
    """A verifier that knows the truth outweighs a detector that guesses."""
    random = np.random.default_rng(0)
    is_face = random.random(400) < 0.5
    odds = np.where(is_face, 1.0, 0.5) + random.normal(0, 1, 400)
    sides = np.full(400, 50.0)
    crops = [np.full((4, 4, 3), 255 * face, np.uint8) for face in is_face]
    seen = verifier.Detections(crops, is_face, odds, sides, scenes=400)
    with pytest.MonkeyPatch.context() as patch:
        says = np.where(is_face, 0.9, 0.1)
        patch.setattr(verifier, "probabilities", lambda *_: np.stack([1 - says, says], 1))
        detector, network, constant = verifier.fitted(seen, b"")
    assert network > detector > 0
    logits = detector * odds + network * np.log(says / (1 - says)) + constant
    passed = logits >= np.log(0.45 / 0.55)
    assert (passed & ~is_face).sum() <= verifier.ALARMS * 400 + 1
    assert passed[is_face].mean() > 0.9
