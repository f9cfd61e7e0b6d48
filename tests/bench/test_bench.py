"""The benchmark measures real servers under real load. These tests do not judge its figures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.frames import frame
from bench.load import post
from bench.servers import BenchError, running
from model.images import decode, open_picture
from model.pipeline import MaskPipeline
from tests.conftest import ROOT

hey = pytest.mark.skipif(shutil.which("hey") is None, reason="needs hey (apt-get install hey)")


@pytest.mark.parametrize("faces", [0, 1, 4, 10])
def test_a_frame_has_the_faces_that_it_says(faces: int) -> None:
    picture = frame(640, 480, faces)
    assert decode(picture).shape == (480, 640, 3)
    assert len(MaskPipeline.load().analyse(open_picture(picture)).verdicts) == faces


@hey
def test_a_table_a_json_and_a_plot_come_out(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "0.1"]
    command += ["--servers", "ours", "empty", "--output", str(output)]
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    cells = {(row["scene"], row["clients"], row["server"]): row for row in result["medians"]}
    one, ten = (cells[f"640x480, {n}", 1, "ours"]["cpu_ms"] for n in ("1 face", "10 faces"))
    assert 0 < one < ten
    assert "| 640x480, 10 faces | 4 | ours |" in done.stdout
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@hey
def test_every_request_is_counted_and_refusals_apart() -> None:
    with running("ours", INFERENCE_SLOTS="1", QUEUE_SIZE="0") as server:
        load = post(server, frame(640, 480, 10), 40, 8)
    assert sum(load.statuses.values()) == 40
    assert load.statuses["503"] > 0
    assert load.cpu_ms > 0


def test_a_server_that_does_not_start_says_why() -> None:
    missing = pytest.raises(BenchError, match=r"(?s)'ours' does not start.*DETECTOR")
    with missing, running("ours", DETECTOR="eyes"):
        pytest.fail("it started")
