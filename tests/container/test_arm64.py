"""The image's Python packages on arm64, as on a Raspberry Pi 5 or AWS Graviton, under QEMU.

Needs no ARM kernel: qemu-aarch64 runs Debian's Python for arm64 with the pinned wheels.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MIRROR = "http://deb.debian.org/debian"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
FACES = "docs/faces.jpg"
# ONNX Runtime reads the CPU model from this file. The figures are those of a Raspberry Pi 5.
CPU = (
    "processor\t: {number}\n"
    "Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
    "dcpop asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\n"
    "CPU part\t: 0xd0b\nCPU revision\t: 1\n\n"
)
ASK = """
import json, platform, sys
from pathlib import Path
from model.images import open_picture
from model.pipeline import MaskPipeline
analysis = MaskPipeline.load().analyse(open_picture(Path(sys.argv[1]).read_bytes()))
labels = [verdict.label for verdict in analysis.verdicts]
print(json.dumps([platform.machine(), labels]))
"""


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of an arm64 Python with the image's packages, a download of 80 MB."""
    for program in ("qemu-aarch64", "debootstrap", "dpkg-deb"):
        if not shutil.which(program):
            pytest.skip("needs Debian's packages qemu-user and debootstrap")
    folder = tmp_path_factory.mktemp("arm64")
    root, packages = folder / "root", folder / "packages"
    bootstrap = ["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase"]
    wheels = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    wheels += ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11"]
    wheels += [word for platform in PLATFORMS for word in ("--platform", platform)]
    for command in (
        [*bootstrap, "--include=python3", "bookworm", str(root), MIRROR],
        [*wheels, "--target", str(packages), "-r", str(ROOT / "docker/requirements.txt")],
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"could not fetch what it needs: {command[0]}")
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    cpus = root / "proc/cpuinfo"
    cpus.write_text("".join(CPU.format(number=number) for number in range(4)))
    path = f"PYTHONPATH={packages}:{ROOT}"
    return [
        "qemu-aarch64",
        "-cpu",
        "max",
        "-L",
        str(root),
        "-E",
        path,
        f"{root}/usr/bin/python3.11",
    ]


def labels(python: list[str], script: Path) -> tuple[str, list[str]]:
    done = subprocess.run(
        [*python, str(script), FACES], capture_output=True, text=True, check=True, cwd=ROOT
    )
    machine, found = json.loads(done.stdout)
    return machine, found


def test_the_labels_are_those_of_x86(arm64: list[str], tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{ASK}")
    here, expected = labels([sys.executable], script)
    there, found = labels(arm64, script)
    assert (here, there) == ("x86_64", "aarch64")
    assert sorted(found) == sorted(expected) == ["mask", "no_mask"]
