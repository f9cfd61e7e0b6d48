from __future__ import annotations

import csv
import os
import pty
import signal
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from client import arguments
from tests.client.stand_in import (
    FACE,
    Service,
    dropped,
    film,
    finish,
    frames_of,
    lines_of,
    picture,
    problem,
    run,
    start,
    wait_for,
)

GREEN = (115, 158, 0)


def test_a_film_is_answered_frame_by_frame_and_written_as_video_and_json(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=20, fps=12)
    output, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    service = Service()
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}/", "--source", str(source), "--no-window"),
            *("--output", str(output), "--answers", str(jsonl)),
        )
    assert done.returncode == 0, done.stderr
    assert service.numbers == list(range(20))
    assert service.most_at_once == 1
    assert "20 frames answered, 0 refused, 0 dropped; faces: mask 20, no_mask 0" in done.stdout
    frames, fps = frames_of(output)
    assert (len(frames), fps) == (20, 12)
    box = FACE["box"]
    left_edge = frames[7][box["y"] + 40 : box["y"] + 60, box["x"]].mean(axis=0)
    assert np.abs(left_edge - GREEN).max() < 40
    lines = lines_of(jsonl)
    assert [line["frame"] for line in lines] == list(range(20))
    assert {line["source"] for line in lines} == {str(source)}
    assert [line["answer"]["request_id"] for line in lines] == [f"request-{i}" for i in range(20)]
    assert all(line["round_trip_ms"] > 0 for line in lines)
    assert datetime.fromisoformat(lines[0]["time"]).utcoffset() == timedelta(0)


def test_a_folder_is_sent_in_order_without_its_corrupt_picture(tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), picture(1))
    (folder / "b.jpg").write_bytes(b"\xff\xd8 not a picture")
    (folder / "c.jpeg").touch()
    cv2.imwrite(str(folder / "d.WEBP"), picture(2, (200, 400)))
    (folder / "notes.txt").write_text("not for the service")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(picture(3, (500, 300))).save(folder / "e.jpg", exif=turned)
    output, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    service = Service()
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(folder), "--no-window"),
            *("--output", str(output), "--answers", str(jsonl)),
        )
    assert done.returncode == 0, done.stderr
    assert service.sizes == [(320, 240), (200, 400), (300, 500)]
    assert "b.jpg cannot be read" in done.stderr
    assert "c.jpeg cannot be read" in done.stderr
    names = [Path(line["source"]).name for line in lines_of(jsonl)]
    assert names == ["a.png", "d.WEBP", "e.jpg"]
    frames, fps = frames_of(output)
    assert [frame.shape for frame in frames] == [(240, 320, 3)] * 3
    assert 1 <= fps <= 2
    assert frames[1][:, :80].max() < 40  # the upright picture has black bars on both sides
    assert frames[1][100:140, 100:220].mean() > 40


def test_several_sources_go_at_once_into_one_table_and_a_video_each(tmp_path: Path):
    one = film(tmp_path / "one.mp4", frames=9, fps=12)
    two = film(tmp_path / "two.mp4", frames=6, fps=8)
    table, service = tmp_path / "events.csv", Service()
    with service.serving() as port:
        common = ("--url", f"http://127.0.0.1:{port}", "--no-window", "--csv", str(table))
        both = ("--source", str(one), "--source", str(two), "--output", str(tmp_path / "out.mp4"))
        done = run(*common, *both)
        assert done.returncode == 0, done.stderr
        frames = [len(frames_of(tmp_path / f"out-{number}.mp4")[0]) for number in (1, 2)]
        assert frames == [9, 6]
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert {(row["source"], row["event"]) for row in rows} == {
            (str(source), event) for source in (one, two) for event in ("first_seen", "last_seen")
        }
        assert f"{one}: 9 frames answered" in done.stdout

        done = run(*common, "--source", str(two), "--source", str(tmp_path / "absent.mp4"))
        assert done.returncode == 1
        assert "There is no file or folder" in done.stderr
        assert f"{two}: 6 frames answered" in done.stdout  # one failure stops no other source


def test_a_picture_shows_each_face_once(tmp_path: Path):
    folder, jsonl = tmp_path / "photos", tmp_path / "events.jsonl"
    folder.mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    with Service().serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(folder), "--no-window"),
            *("--jsonl", str(jsonl)),
        )
    assert done.returncode == 0, done.stderr
    events = [(event["event"], event["track_id"]) for event in lines_of(jsonl)]
    assert events == [(kind, n) for n in (0, 1) for kind in ("first_seen", "last_seen")]


def test_ctrl_c_does_not_wait_for_an_answer_that_never_comes(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=3, fps=12)
    service = Service()
    service.delay_s = 600
    with service.serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--timeout", "300"),
        )
        wait_for(lambda: service.numbers, "the first request")
        done = finish(client, signal.SIGINT)
    assert done.returncode == 0, done.stderr
    assert "0 frames answered" in done.stdout


def test_a_refused_frame_is_reported_and_stays_in_the_video(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=5, fps=12)
    output, jsonl = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    service = Service()
    service.failures[2] = problem(415, "Unsupported Media Type", "Send image/jpeg.")
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--output", str(output), "--answers", str(jsonl)),
        )
    assert done.returncode == 0, done.stderr
    assert "Frame 2 of" in done.stderr
    assert "415 Unsupported Media Type: Send image/jpeg." in done.stderr
    assert service.numbers == [0, 1, 2, 3, 4]
    assert [line["frame"] for line in lines_of(jsonl)] == [0, 1, 3, 4]
    assert len(frames_of(output)[0]) == 5
    assert "4 frames answered, 1 refused" in done.stdout


def test_a_wrong_address_is_reported_once_and_fails(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=8, fps=12)
    with Service().serving() as port:
        url = f"http://127.0.0.1:{port}/elsewhere"
        done = run("--url", url, "--source", str(source), "--no-window")
    assert done.returncode == 1
    assert done.stderr.count("404 Not Found: no such place") == 3
    assert "0 frames answered, 8 refused" in done.stdout


def test_the_options_reach_the_service(tmp_path: Path):
    source = tmp_path / "one.png"
    cv2.imwrite(str(source), picture(1))
    service = Service()
    with service.serving() as port:
        common = ("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window")
        run(*common)
        run(*common, "--detector", "haar", "--min-confidence", "0.3", "--jpeg-quality", "10")
    assert service.queries == [{}, {"detector": ["haar"], "min_confidence": ["0.3"]}]
    assert len(service.bodies[1]) < len(service.bodies[0]) / 2


def test_on_a_terminal_the_progress_is_a_bar_that_is_redrawn(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=10, fps=12)
    ours, theirs = pty.openpty()
    service = Service()
    service.delay_s = 0.1
    with service.serving() as port:
        url = f"http://127.0.0.1:{port}"
        done = finish(start("--url", url, "--source", str(source), "--no-window", stderr=theirs))
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert shown.count("\r\x1b[2K") >= 2
    assert "10/10" in shown.splitlines()[-2]
    assert "fps" in shown.splitlines()[-2]
    assert dropped(done) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--url", "localhost:8000"], "localhost:8000 is not the address of a service"),
        (["--url", "http://"], "not the address"),
        (["--url", "http://host:999999"], "not the address"),
        (["--url", "ftp://host"], "not the address"),
        (["--output", "/nowhere/out.mp4"], "the folder /nowhere does not exist"),
        (["--output", "out.avi"], "does not end in .mp4"),
        (["--jsonl", "/"], "is a folder"),
        (["--min-confidence", "1.5"], "not a number from 0 to 1"),
        (["--timeout", "0"], "not a number from 0.1"),
        (["--jpeg-quality", "high"], "not a number from 1 to 100"),
        (["--detector", "none"], "invalid choice"),
        (["--source", __file__, "--jsonl", __file__], "is a source and would be overwritten"),
        (["--csv", "a", "--answers", "./a"], "two outputs name the same file"),
        (["--api-key", "two\nlines"], "a header cannot hold"),
        (["--webhook", "alarm.example"], "the address does not start with http:// or https://"),
    ],
)
def test_a_wrong_argument_is_one_line(
    wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as end:
        arguments.parse(wrong)
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert said in message
    assert len(message.splitlines()) == 1
