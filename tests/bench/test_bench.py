"""The benchmark measures real servers under real load. These tests do not judge its figures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.frames import frame, scenes
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
    command += ["--data", str(tmp_path / "none")]
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    cells = {(row["scene"], row["clients"], row["server"]): row for row in result["medians"]}
    one, ten = (cells[n, 1, "ours"]["cpu_ms"] for n in ("1 face", "10 faces"))
    assert 0 < one < ten
    assert result["frames"].startswith("drawn")
    assert [cells[n, 4, "ours"]["faces"] for n in ("1 face", "10 faces")] == [1, 10]
    for parts in (cells["1 face", 4, "ours"], cells["1 face", 4, "empty"]):
        assert 0 < parts["main_ms"] < parts["cpu_ms"] * 1.1  # CPU time comes in steps of 10 ms
        assert parts["switches"] > 0
    assert "| 10 faces | 4 | ours |" in done.stdout
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_scenes_are_chosen_by_the_number_of_annotated_faces(tmp_path: Path) -> None:
    rows = []
    for index, (split, faces) in enumerate((("val", 1), ("val", 4), ("train", 4), ("val", 4))):
        name = f"{index}.jpg"
        (tmp_path / name).write_bytes(frame(320, 240, index))
        box = {"xyxy": [10, 10, 60, 70], "cls": "with_mask", "origin": "gt"}
        row = {"image": name, "group": name, "split": split, "boxes": [box] * faces}
        rows.append(row)
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    assert scenes(tmp_path, range(4, 5)) == [frame(320, 240, 1), frame(320, 240, 3)]
    assert scenes(tmp_path, range(2, 4)) == []
    assert scenes(tmp_path / "none", range(1, 9)) == []


@hey
def test_frames_reuse_the_memory_of_those_before() -> None:
    frames = [frame(*size, 1) for size in ((640, 480), (1280, 720), (1920, 1080))]
    with running("ours", INFERENCE_SLOTS="2") as server:
        post(server, frames, 120, 2)
        faults = post(server, frames[2:], 40, 2).faults
    assert faults < 40 * 50  # pages; a new array for each such frame would be 40 * 1,500


@hey
def test_every_request_is_counted_and_refusals_apart() -> None:
    with running("ours", INFERENCE_SLOTS="1", QUEUE_SIZE="0") as server:
        load = post(server, [frame(640, 480, 10)], 40, 8)
    assert sum(load.statuses.values()) == 40
    assert load.statuses["503"] > 0
    assert load.cpu_ms > 0


def test_a_server_that_does_not_start_says_why() -> None:
    missing = pytest.raises(BenchError, match=r"(?s)'ours' does not start.*DETECTOR")
    with missing, running("ours", DETECTOR="eyes"):
        pytest.fail("it started")
