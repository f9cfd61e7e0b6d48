"""The README's commands work as shown; the pip commands run in a fresh environment."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, serving

README = (ROOT / "README.md").read_text()
ADDRESS = "localhost:8000"
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "runs")


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


SERVICE, CLIENT = (block.splitlines() for block in blocks("sh"))
(ANSWER,) = blocks("json")
(REQUEST,) = re.findall(r"^ {4}(curl .*)$", README, re.MULTILINE)


def shell(command: str, folder: Path = ROOT) -> str:
    process = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}{process.stderr}"
    return process.stdout


def lasting(answer: str) -> dict[str, Any]:
    """Return the parts of an answer that are the same in every run."""
    parts: dict[str, Any] = json.loads(answer)
    return {name: parts[name] for name in parts if name not in {"request_id", "timings_ms"}}


def ask(url: str) -> dict[str, Any]:
    """Send the request that the README shows."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    command = REQUEST.replace(ADDRESS, url.removeprefix("http://"))
    assert command != REQUEST
    return lasting(shell(command))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the checkout; skip where pip reaches no package index."""
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    probe += ["--retries", "0", "--timeout", "20", "--dest", str(tmp_path / "probe"), "blinker"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index")
    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=IGNORED))


def test_the_request_gets_the_answer_shown(server_url: str) -> None:
    assert ask(server_url) == lasting(ANSWER)


def test_the_service_runs_in_a_fresh_environment(checkout: Path) -> None:
    *install, start = SERVICE
    shell("\n".join(["set -e", *install]), checkout)
    with serving(command=("sh", "-c", f"cd '{checkout}' && exec {start}")) as url:
        assert ask(url) == lasting(ANSWER)


def test_the_client_runs_in_a_fresh_environment(checkout: Path, server_url: str) -> None:
    *install, start = CLIENT
    shell("\n".join(["set -e", *install]), checkout)
    start = start.replace(f"http://{ADDRESS}", server_url)
    assert server_url in start
    shell(f"{start} --source docs/faces.jpg --no-window --answers answers.jsonl", checkout)
    (line,) = (checkout / "answers.jsonl").read_text().splitlines()
    faces = json.loads(line)["answer"]["faces"]
    assert sorted(face["label"] for face in faces) == ["mask", "no_mask"]


def test_windows_gets_the_same_commands() -> None:
    (block,) = blocks("powershell")
    as_posix = block.replace("\\", "/").replace(".venv/Scripts/", ".venv/bin/")
    assert as_posix.replace("py -m", "python3 -m").splitlines() == CLIENT
