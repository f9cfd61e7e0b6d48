"""Pictures are judged by what a user expects of them, which their names say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from model.detectors.faces import Face
from model.images import Box, Image
from model.pipeline import Analysis, MaskPipeline, Verdict
from model.training.evaluation.examples import EXPECTED, judged
from tests.conftest import SHARED, encoded
from tests.model.test_images import saved


def analysis(*faces: tuple[str, Box]) -> Analysis:
    verdicts = [
        Verdict(Face(box, 0.9), label, 0.5, fit=True, stage="a", incorrectly_worn=None)
        for label, box in faces
    ]
    return Analysis(None, (2340, 1000), "facemask", verdicts, [])


def test_each_picture_is_judged_by_its_name(
    tmp_path: Path, portrait: Image, masked_portrait: Image
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "formats").mkdir()
    (tmp_path / "README.md").touch()
    (tmp_path / "pictures/profile_unmasked_1.jpg").write_bytes(encoded(portrait))
    (tmp_path / "pictures/ppe_1.jpg").write_bytes(encoded(portrait))
    (tmp_path / "pictures/panda_1.jpg").write_bytes(encoded(masked_portrait))
    (tmp_path / "pictures/back_of_head_1.jpg").write_bytes(encoded(np.full_like(portrait, 90)))
    plain = PillowImage.new("RGB", (32, 32))
    (tmp_path / "formats/a.bmp").write_bytes(saved(plain, "BMP"))
    (tmp_path / "formats/no_eoi.jpg").write_bytes(encoded(portrait)[:-2])
    (tmp_path / "formats/other.jpg").write_bytes(b"damaged")
    rows = judged(MaskPipeline.load(), tmp_path)
    assert {name: [row["right"] for row in part] for name, part in rows.items()} == {
        "formats": [True, True, False],
        "pictures": [True, True, False, True],
    }
    assert rows["formats"][0]["answer"] == "This is a BMP picture"
    assert rows["pictures"][0]["answer"].startswith("no face of ")
    assert rows["pictures"][3]["answer"].startswith("no_mask 0.0")


def test_an_empty_answer_that_names_the_smallest_face_is_as_expected() -> None:
    assert EXPECTED["pano"].fulfilled(replace(analysis(), size=(12_000, 1000)))


@pytest.mark.parametrize(
    ("start", "faces", "right"),
    [
        ("nested", [("mask", Box(0, 0, 100, 100))], True),
        ("nested", [("mask", Box(0, 0, 100, 100)), ("no_mask", Box(20, 20, 40, 40))], False),
        ("wide", [("mask", Box(0, 0, 60, 80)), ("no_mask", Box(300, 0, 200, 200))], True),
        ("wide", [("mask", Box(0, 0, 60, 80)), ("no_mask", Box(300, 0, 60, 60))], False),
        ("rot", [("uncertain", Box(0, 0, 60, 80))], True),
        ("rot", [("no_mask", Box(0, 0, 60, 80))], False),
        ("rot", [], False),
        ("pano", [], False),
    ],
)
def test_what_is_expected(start: str, faces: list[tuple[str, Box]], *, right: bool) -> None:
    assert EXPECTED[start].fulfilled(analysis(*faces)) == right


def test_every_known_example_has_an_expectation_of_its_own() -> None:
    folder = SHARED / "cases/pictures"
    if not folder.exists():
        pytest.skip(f"needs {folder}")
    unknown = [f.name for f in folder.iterdir() if not any(map(f.name.startswith, EXPECTED))]
    assert unknown == []
