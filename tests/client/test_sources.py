from __future__ import annotations

import socket
from pathlib import Path

from tests.client.stand_in import (
    Service,
    camera,
    film,
    interrupt,
    lines_of,
    run,
    start,
    wait_for,
)


def test_a_camera_that_is_not_there_says_what_to_do():
    done = run("--source", "97", "--no-window")
    assert done.returncode == 1
    assert "camera cannot be opened" in done.stderr
    assert "try another number" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_stream_that_does_not_answer_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"user:secret@127.0.0.1:{mute.getsockname()[1]}/stream"
        done = run("--source", f"rtsp://{address}", "--no-window")
    assert done.returncode == 1
    assert "does not open or gives no picture" in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_stream_that_goes_away_is_reopened(tmp_path: Path):
    jsonl = tmp_path / "j"
    with Service().serving() as port:
        with camera() as live:
            client = start(
                *("--url", f"http://127.0.0.1:{port}", "--no-window", "--answers", str(jsonl)),
                *("--source", f"http://127.0.0.1:{live}/camera"),
            )
            wait_for(lambda: len(lines_of(jsonl)) >= 3, "three answers")
        before = len(lines_of(jsonl))
        with camera(live):
            wait_for(lambda: len(lines_of(jsonl)) >= before + 10, "ten more")
            done = interrupt(client)
    assert done.returncode == 0, done.stderr
    assert f"http://127.0.0.1:{live}/camera is lost; reopening it." in done.stderr
    assert "is back." in done.stderr


def test_what_holds_no_frames_is_reported(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "a.jpg").write_bytes(b"nothing")
    text = tmp_path / "notes.txt"
    text.write_text("a film of letters\n" * 50)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film(tmp_path / "film.mp4", frames=5, fps=12).read_bytes()[:2000])
    for source, said in [
        (tmp_path / "absent.mp4", "There is no file or folder"),
        (tmp_path / "empty", "holds no picture"),
        (damaged, "holds no readable picture"),
        (text, "is neither a picture"),
        (cut, "is neither a picture"),
        ("ftp://127.0.0.1/film", "is not the address of a stream"),
        ("rtsp://[", "is not the address of a stream"),
    ]:
        done = run("--source", str(source), "--no-window")
        assert done.returncode == 1
        assert said in done.stderr.splitlines()[-1]
