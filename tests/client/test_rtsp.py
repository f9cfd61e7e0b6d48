"""An RTSP camera, served by a real local server, that is killed and comes back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from bench.servers import free_port
from tests.client.stand_in import (
    ROOT,
    Service,
    film,
    frames_of,
    interrupt,
    lines_of,
    start,
    times_of,
    wait_for,
)

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg to encode H.264")


@contextmanager
def camera(source: Path, port: int, fps: int = 10) -> Iterator[None]:
    script = ROOT / "tests/client/rtsp_camera.py"
    process = subprocess.Popen([sys.executable, str(script), str(source), str(port), str(fps)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_an_rtsp_camera_that_is_killed_comes_back(tmp_path: Path):
    source, port = film(tmp_path / "film.mp4", frames=50, fps=10), free_port()
    answers, output = tmp_path / "answers.jsonl", tmp_path / "out.mp4"
    service = Service()
    with service.serving() as at:
        with camera(source, port):
            wait_for(partial(listens, port), "the camera, which encodes its film first")
            client = start(
                *("--url", f"http://127.0.0.1:{at}", "--no-window"),
                *("--source", f"rtsp://user:secret@127.0.0.1:{port}/stream"),
                *("--answers", str(answers), "--output", str(output)),
            )
            wait_for(lambda: len(lines_of(answers)) >= 5, "five answers")
        before = len(lines_of(answers))
        with camera(source, port):
            wait_for(lambda: len(lines_of(answers)) >= before + 10, "ten more")
            done = interrupt(client)
    assert done.returncode == 0, done.stderr
    assert f"rtsp://127.0.0.1:{port}/stream is lost; reopening it." in done.stderr
    assert "is back." in done.stderr
    assert "secret" not in done.stderr + answers.read_text()
    assert len(frames_of(output)[0]) >= 10


def test_the_output_keeps_the_times_of_an_rtsp_camera(tmp_path: Path):
    source, port = film(tmp_path / "film.mp4", frames=90, fps=30), free_port()
    answers, output = tmp_path / "answers.jsonl", tmp_path / "out.mp4"
    with Service().serving() as at, camera(source, port, fps=30):
        wait_for(partial(listens, port), "the camera, which encodes its film first")
        client = start(
            *("--url", f"http://127.0.0.1:{at}", "--no-window"),
            *("--source", f"rtsp://127.0.0.1:{port}/stream"),
            *("--answers", str(answers), "--output", str(output)),
        )
        wait_for(lambda: len(lines_of(answers)) >= 40, "forty answers")
        done = interrupt(client)
    assert done.returncode == 0, done.stderr
    times = times_of(output)
    assert len(times) == len(lines_of(answers))
    steps = [(after - before) * 30 for before, after in pairwise(times)]
    assert max(abs(step - round(step)) for step in steps) < 0.05  # whole frames of the camera
    assert min(map(round, steps)) >= 1
