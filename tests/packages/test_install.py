"""Both packages, built from a checkout and installed apart from it, give working commands."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, serving

IGNORED = shutil.ignore_patterns(".*", "__pycache__", "runs", "tests", "build")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install both in a fresh environment, which borrows what they need from this one."""
    folder = tmp_path_factory.mktemp("packages")
    checkout = shutil.copytree(ROOT, folder / "checkout", ignore=IGNORED)
    environment = folder / "environment"
    shell(sys.executable, "-m", "venv", "--without-pip", str(environment))
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shell(
        *(sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install"),
        *("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"),
        *(str(checkout), str(checkout / "client")),
    )
    shutil.rmtree(checkout)
    return environment / "bin"


def shell(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_client_is_a_command(commands: Path, tmp_path: Path, server_url: str) -> None:
    client = str(commands / "facemask-client")
    said = shell(client, "--help", folder=tmp_path)
    assert "usage: facemask-client" in said
    assert "facemask-client --source film.mp4" in said
    command = (client, "--url", server_url, "--source", str(ROOT / "docs/faces.jpg"))
    shell(*command, "--no-window", "--answers", "answers.jsonl", folder=tmp_path)
    (line,) = (tmp_path / "answers.jsonl").read_text().splitlines()
    labels = sorted(face["label"] for face in json.loads(line)["answer"]["faces"])
    assert labels == ["mask", "no_mask"]
    assert "usage: facemask-client label" in shell(client, "label", "--help", folder=tmp_path)
    page = "import client, pathlib; print(pathlib.Path(client.__file__).with_name('label.html'))"
    found = Path(shell(str(commands / "python"), "-c", page, folder=tmp_path).strip())
    assert found.is_relative_to(commands.parent)
    assert found.is_file()


def test_the_service_is_a_command(commands: Path, tmp_path: Path) -> None:
    command = ("sh", "-c", f"cd '{tmp_path}' && exec '{commands}/facemask-serve'")
    with serving(command=command) as url:
        picture = (ROOT / "docs/faces.jpg").read_bytes()
        kind = {"Content-Type": "image/jpeg"}
        answer = requests.post(f"{url}/predict", picture, headers=kind, timeout=60).json()
        assert answer["summary"] == {"mask": 1, "no_mask": 1, "uncertain": 0}
        assert "<html" in requests.get(url, timeout=60).text
        assert requests.get(f"{url}/static/main.js", timeout=60).status_code == 200


def test_both_models_are_in_the_package(commands: Path, tmp_path: Path) -> None:
    command = ("sh", "-c", f"cd '{tmp_path}' && exec '{commands}/facemask-serve'")
    with serving(command=command, MODEL="fast") as url:
        model = requests.get(f"{url}/model", timeout=60).json()
        assert model["version"]


def test_arguments_to_the_service_are_refused(commands: Path) -> None:
    done = subprocess.run(
        [commands / "facemask-serve", "--workers", "4"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "takes no arguments, not --workers 4" in done.stderr
