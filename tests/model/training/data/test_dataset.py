"""Data sets of both kinds are read, split and cropped as documented."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.classifier import LABELS
from model.detectors.yunet import YuNet
from model.images import Image
from model.training.data import dataset
from model.training.data.dataset import DatasetError, Sample
from model.training.data.located import locate


@pytest.fixture
def class_folders(tmp_path: Path, portrait: Image, masked_portrait: Image) -> Path:
    for cls, image in (("with_mask", masked_portrait), ("without_mask", portrait)):
        (tmp_path / cls).mkdir()
        for index in range(40):
            darker = np.clip(image.astype(int) - index, 0, 255).astype(np.uint8)
            bgr = cv2.cvtColor(darker, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(tmp_path / cls / f"{index}.jpg"), bgr)
    return tmp_path


def manifest(folder: Path, cls: str = "without_mask") -> Path:
    box = {"xyxy": [178, 70, 270, 178], "cls": cls, "origin": "gt"}
    row = {"image": "face.png", "group": "g1", "split": "train", "boxes": [box]}
    folder.mkdir()
    (folder / "annotations.json").write_text(json.dumps([row]))
    return folder


def test_class_folders_are_read_and_split(class_folders: Path) -> None:
    samples = dataset.read(class_folders)
    assert len(samples) == 80
    assert {s.cls for s in samples} == {"with_mask", "without_mask"}
    assert {s.split for s in samples} == {"train", "val"}
    assert dataset.read(class_folders) == samples  # the split is the same in every run


def test_a_folder_of_several_sets_is_read(tmp_path: Path) -> None:
    manifest(tmp_path / "one")
    manifest(tmp_path / "two", "incorrect_mask")
    one, two = dataset.read(tmp_path)
    assert (one.source, two.source) == ("one", "two")
    assert (LABELS[one.label], LABELS[two.label]) == ("no_mask", "no_mask")
    assert dataset.read(tmp_path / "one" / "annotations.json") == [one]
    assert one.human
    assert one.annotated == (178, 70, 270, 178)


def test_what_is_no_data_set_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="with_mask/"):
        dataset.read(tmp_path)
    with pytest.raises(DatasetError, match="not a folder"):
        dataset.read(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="perhaps"):
        dataset.read(manifest(tmp_path / "set", "perhaps"))
    (tmp_path / "set" / "annotations.json").write_text('[{"image": 1}]')
    with pytest.raises(DatasetError, match=r"annotations\.json cannot be read"):
        dataset.read(tmp_path)


def test_boxes_of_masks_are_left_out(tmp_path: Path, portrait: Image) -> None:
    folder = manifest(tmp_path / "set")
    cv2.imwrite(str(folder / "face.png"), portrait)
    (face,) = dataset.read(folder)
    file = folder / "annotations.json"
    (row,) = json.loads(file.read_text())
    row["boxes"].append(row["boxes"][0] | {"cls": "with_mask", "origin": "mask_box"})
    file.write_text(json.dumps([row]))
    assert dataset.read(folder) == [face]
    row["boxes"] = row["boxes"][1:]
    file.write_text(json.dumps([row]))
    with pytest.raises(DatasetError, match="Boxes of masks"):
        dataset.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "../private/face.png"}, r"refers to .*private.*outside of the data set"),
        ({"image": "/etc/passwd"}, r"refers to /etc/passwd, outside of the data set's folder"),
        ({"image": "link.png"}, r"refers to .*link\.png, outside of the data set's folder"),
        ({"group": ["g"]}, r"the group \['g'\] for face\.png; it must be a string"),
        ({"boxes": [{"xyxy": [0, 0, 1, float("nan")], "cls": "with_mask"}]}, "4 numbers"),
        ({"boxes": [{"xyxy": [0, 0, 1, 1], "cls": {}}]}, r"the cls \{\} for face\.png"),
        ({"boxes": [None]}, r"annotations\.json cannot be read"),
    ],
)
def test_a_hostile_manifest_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = manifest(tmp_path / "set")
    (tmp_path / "private").mkdir()
    (folder / "link.png").symlink_to(tmp_path / "private" / "face.png")
    (row,) = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations.json").write_text(json.dumps([row | change]))
    with pytest.raises(DatasetError, match=message) as error:
        dataset.read(folder)
    assert str(error.value).startswith(str(folder / "annotations.json"))


def test_a_manifest_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    folder = manifest(tmp_path / "set")
    (folder / "annotations.json").write_text("[" * 100_000)
    with pytest.raises(DatasetError, match=r"annotations\.json cannot be read"):
        dataset.read(folder)


@pytest.mark.parametrize("name", ["haonanshi", "leoring", "wangrongsheng"])
def test_the_sets_of_scenes_are_read(shared: Path, name: str) -> None:
    folder = shared / "data" / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/data/{name}, a public data set")
    samples = dataset.read(folder)
    assert {sample.cls for sample in samples} == {"with_mask", "without_mask"}
    assert all(sample.human for sample in samples)


def test_the_set_of_masks_gives_no_faces(shared: Path) -> None:
    folder = shared / "data" / "ppe"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/ppe, a public data set")
    rows = json.loads((folder / "annotations.json").read_text())
    assert {box["origin"] for row in rows for box in row["boxes"]} == {"mask_box"}
    assert dataset.find(folder) == []


def test_the_shared_sets_keep_groups_within_a_split(shared: Path) -> None:
    samples = dataset.read(shared / "data")
    splits: dict[str, set[str]] = {}
    for sample in samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert len(samples) > 10_000
    assert all(len(split) == 1 for split in splits.values())


def test_wrong_labels_are_corrected_where_everything_agrees(tmp_path: Path) -> None:
    rows = json.loads(dataset.CORRECTIONS.read_text())
    relabelled = next(row for row in rows if row["is"] is not None)
    left_out = next(row for row in rows if row["is"] is None)
    for row in (relabelled, left_out):
        folder = tmp_path / row["set"]
        folder.mkdir(exist_ok=True)
        box = {"xyxy": row["box"], "cls": row["was"], "origin": "gt"}
        elsewhere = box | {"xyxy": [v + 2 for v in row["box"]]}
        picture = {"image": row["image"], "group": "g", "split": "val", "boxes": [box, elsewhere]}
        (folder / "annotations.json").write_text(json.dumps([picture]))
        found = [sample.cls for sample in dataset.read(folder)]
        assert found == [cls for cls in (row["is"], row["was"]) if cls is not None]
        shutil.rmtree(folder)


def test_each_correction_is_of_a_face_that_is_there(shared: Path) -> None:
    rows = json.loads(dataset.CORRECTIONS.read_text())
    for row in rows:
        pictures = json.loads((shared / "data" / row["set"] / "annotations.json").read_text())
        boxes = next(p["boxes"] for p in pictures if p["image"] == row["image"])
        found = {(tuple(round(v) for v in box["xyxy"]), box["cls"]) for box in boxes}
        assert (tuple(row["box"]), row["was"]) in found


def test_samples_survive_being_saved(class_folders: Path, tmp_path: Path) -> None:
    samples = locate(dataset.read(class_folders)[:2], YuNet())
    dataset.save(samples, tmp_path / "samples.jsonl")
    assert dataset.load(tmp_path / "samples.jsonl") == samples


def test_small_sets_and_rare_classes_are_drawn_more_often() -> None:
    def several(count: int, source: str, cls: str) -> list[Sample]:
        return [Sample("", cls, source, "", "train")] * count

    large, small = several(900, "a", "without_mask"), several(100, "b", "without_mask")
    masked = several(10, "a", "with_mask")
    weights = dataset.sampling_weights(large + small + masked)
    assert weights.sum() == pytest.approx(1)
    assert weights[-10:].sum() == pytest.approx(0.5)
    assert weights[:900].sum() / weights[900:1000].sum() == pytest.approx(3)
