"""A detector is trained as a user trains it: started, interrupted, resumed."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from model.detectors.yunet import YuNet
from model.images import Image
from model.training.detector import train, views
from model.training.detector.pictures import Labelled, Target, save, weights_of
from tests.conftest import encoded


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, portrait: Image, masked_portrait: Image) -> Path:
    """Two scenes of one face in the layout of a data set, one for training, one to validate."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    face = YuNet(glance=False).detect(portrait, 0.6)[0]
    assert face.landmarks is not None
    box = (face.box.x, face.box.y, face.box.x + face.box.width, face.box.y + face.box.height)
    rows, pictures = [], []
    for split in ("train", "val"):
        for cls, image in (("with_mask", masked_portrait), ("without_mask", portrait)):
            name = f"images/{split}_{cls}.jpg"
            (folder / name).write_bytes(encoded(image))
            boxes = [{"xyxy": box, "cls": cls, "origin": "gt"}]
            rows.append({"image": name, "group": name, "split": split, "boxes": boxes})
            state = 0 if cls == "with_mask" else 1
            marks = tuple(float(v) for v in face.landmarks.ravel())
            target = Target(tuple(map(float, box)), state, exact=True, landmarks=marks)
            if split == "train":
                pictures.append(Labelled(str(folder / name), "own", split, (target,)))
    (folder / "annotations.json").write_text(json.dumps(rows))
    save(pictures, folder / "labels.jsonl")
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small frames and short epochs: the mechanics are the same."""
    monkeypatch.setattr(views, "BATCHES", {128: 2})
    monkeypatch.setattr(train, "EPOCH", 4)


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(
    data: Path, tmp_path: Path, small: None
) -> None:
    del small
    pictures = train.pictures.load(data / "labels.jsonl")
    plan = train.Plan(batches=8)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for run in (whole, halves):
        run.mkdir()
    train.train(whole, data, pictures, plan)
    stopped = views.batches

    def four(*args: object) -> object:
        return stopped(args[0], args[1], args[2], min(args[3], 4))  # type: ignore[arg-type, type-var]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "batches", four)
        train.train(halves, data, pictures, plan)
    train.train(halves, data, pictures, plan)
    assert len(json.loads((halves / "history.json").read_text())) == 2
    assert (halves / "curves.png").read_bytes().startswith(b"\x89PNG")
    a, b = (np.load(run / "checkpoint.npz") for run in (whole, halves))
    assert all(np.allclose(a[name], b[name], atol=1e-5) for name in a.files)
    (face,) = train.served(onnx.load(halves / "last.onnx")).detect(
        np.asarray(train.validation.scenes_of(data)[0].image), 0.5
    )
    assert face.states is not None


def test_turned_and_mirrored_faces_keep_their_landmarks_inside(data: Path) -> None:
    pictures = train.pictures.load(data / "labels.jsonl")
    frames, fields = views.batch(pictures, weights_of(pictures), (1, 2))
    again, _ = views.batch(pictures, weights_of(pictures), (1, 2))
    assert np.array_equal(frames, again)
    boxes, present, _, _, landmarks, marked, _ = fields
    checked = 0
    for box, points in zip(boxes[marked > 0], landmarks[marked > 0], strict=True):
        xy = points.reshape(5, 2)
        margin = 0.15 * (box[2:] - box[:2])
        centre_inside = (xy.mean(0) > box[:2] - margin) & (xy.mean(0) < box[2:] + margin)
        clipped = (box <= 0).any() or (box >= frames.shape[1]).any()
        assert centre_inside.all() or clipped
        checked += 1
    assert checked
    assert present.any()
