"""The command makes figures, a report and plots of the exported model or of another system."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.images import Image
from model.training.evaluation.cases import NOT_FOUND
from model.training.evaluation.evaluate import main

BOX = {"xyxy": [178, 70, 270, 178], "origin": "gt"}


@pytest.fixture
def data(tmp_path: Path, portrait: Image, masked_portrait: Image) -> Path:
    """A masked and an unmasked face, a label without a face, and a broken picture."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for cls, image in (("with_mask", masked_portrait), ("without_mask", portrait)):
        cv2.imwrite(str(folder / f"{cls}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        rows.append({"image": f"{cls}.png", "group": cls, "boxes": [BOX | {"cls": cls}]})
    (folder / "broken.png").write_bytes(b"broken")
    rows.append({"image": "broken.png", "group": "b", "boxes": [BOX | {"cls": "with_mask"}]})
    nowhere = BOX | {"cls": "without_mask", "xyxy": [400, 400, 500, 500]}
    rows.append({"image": "with_mask.png", "group": "n", "boxes": [nowhere]})
    (folder / "annotations.json").write_text(json.dumps([r | {"split": "val"} for r in rows]))
    return folder


def evaluated(data: Path, output: Path, *options: str) -> dict[str, dict]:
    main(["--data", str(data), "--output", str(output), *options])
    return json.loads((output / "metrics.json").read_text())


def test_an_evaluation_leaves_figures_a_report_and_a_montage(tmp_path: Path, data: Path) -> None:
    metrics = evaluated(data, tmp_path / "out")
    counted = metrics["parts"]["human boxes"]["end_to_end"]["confusion"]
    assert counted["mask"] == {"mask": 1, "no_mask": 0, "uncertain": 0, NOT_FOUND: 1}
    assert counted["no_mask"] == {"mask": 0, "no_mask": 1, "uncertain": 0, NOT_FOUND: 1}
    assert metrics["system"].startswith("cascade ")
    assert metrics["system"] in (tmp_path / "out/report.md").read_text()
    for name in ("confusion", "reliability", "slices"):
        assert np.asarray(cv2.imread(str(tmp_path / f"out/{name}.png"))).std() > 10
    assert (tmp_path / "out/mistakes.jpg").exists()


def test_no_picture_of_a_person_need_lie_in_the_report(tmp_path: Path, data: Path) -> None:
    evaluated(data, tmp_path / "out", "--montage", str(tmp_path / "other/mistakes.jpg"))
    assert (tmp_path / "other/mistakes.jpg").exists()
    assert not list((tmp_path / "out").glob("*.jpg"))


@pytest.mark.parametrize("given", ["", "annotations.json"])
def test_our_own_predictions_give_the_same_figures(tmp_path: Path, data: Path, given: str) -> None:
    file = tmp_path / "ours.jsonl"
    ours = evaluated(data / given, tmp_path / "out", "--write-predictions", str(file))
    again = evaluated(data / given, tmp_path / "again", "--predictions", str(file))
    assert again["system"] == "ours"
    for name, part in ours["parts"].items():
        assert again["parts"][name] == {"end_to_end": part["end_to_end"]}
    assert again["average_precision"] == {"end_to_end": ours["average_precision"]["end_to_end"]}


def test_another_systems_mistakes_are_counted_and_shown(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    row = {"image": "without_mask.png", "box": BOX["xyxy"], "label": "mask"}
    file.write_text(json.dumps(row))
    metrics = evaluated(data, tmp_path / "out", "--predictions", str(file))
    part = metrics["parts"]["human boxes"]
    assert part["end_to_end"]["called_mask"] == {"without_mask": 0.5}
    assert "on_box" not in part
    montage = np.asarray(cv2.imread(str(tmp_path / "out/mistakes.jpg")))
    assert montage[:128, :128].std() > 10  # one face
    assert montage[:, 136:].min() > 240  # and no other


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "with_mask.png", "box": [1, 2, 3], "mask": 1}', "line 1: box is"),
        (
            '{"image": "other.png", "box": [1, 2, 3, 4], "mask": 1}',
            "has no faces for the evaluated pictures of",
        ),
    ],
)
def test_predictions_that_cannot_be_used_end_in_words(
    tmp_path: Path, data: Path, line: str, message: str
) -> None:
    (tmp_path / "theirs.jsonl").write_text(line)
    with pytest.raises(SystemExit, match=message):
        evaluated(data, tmp_path / "out", "--predictions", str(tmp_path / "theirs.jsonl"))


def test_a_folder_without_large_faces_ends_in_words(tmp_path: Path, data: Path) -> None:
    with pytest.raises(SystemExit, match="no face of 200 pixels"):
        evaluated(data, tmp_path / "out", "--min-size", "200")


def test_covered_faces_and_examples_are_reported(tmp_path: Path, data: Path) -> None:
    rows = json.loads((data / "annotations.json").read_text())
    mask = {"xyxy": [195, 130, 250, 170], "cls": "with_mask", "origin": "mask_box"}
    rows.append({"image": "with_mask.png", "group": "m", "split": "val", "boxes": [mask]})
    (data / "annotations.json").write_text(json.dumps(rows))
    (tmp_path / "examples/pictures").mkdir(parents=True)
    (tmp_path / "examples/pictures/panda_1.png").write_bytes((data / "with_mask.png").read_bytes())
    output = tmp_path / "out"
    metrics = evaluated(data, output, "--examples", str(tmp_path / "examples"))
    assert metrics["covered"]["data"]["mask"] == 1
    assert metrics["examples"]["pictures"][0]["right"]
    assert "### pictures: 1 of 1 as expected" in (output / "report.md").read_text()
    assert metrics["parts"]["all"]["end_to_end"]["faces"] == 4
