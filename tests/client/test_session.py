from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from bench.servers import free_port
from tests.client.stand_in import (
    Service,
    camera,
    dropped,
    film,
    finish,
    frames_of,
    interrupt,
    lines_of,
    problem,
    run,
    start,
    times_of,
    wait_for,
)


def test_a_film_waits_for_a_service_that_starts_later(tmp_path: Path):
    source, jsonl, port = film(tmp_path / "film.mp4", frames=6, fps=12), tmp_path / "j", free_port()
    notes = tmp_path / "notes"
    with notes.open("w") as stderr:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--answers", str(jsonl)),
            stderr=stderr.fileno(),
        )
    wait_for(lambda: "trying again" in notes.read_text(), "the client's first try")
    service = Service()
    with service.serving(port):
        done = finish(client)
    assert done.returncode == 0, notes.read_text()
    assert service.numbers == list(range(6))
    assert [line["frame"] for line in lines_of(jsonl)] == list(range(6))
    assert "Connection refused); trying again" in notes.read_text()
    assert "answers again" in notes.read_text()


def test_a_film_loses_no_frame_when_the_service_dies_and_comes_back(tmp_path: Path):
    source, jsonl = film(tmp_path / "film.mp4", frames=20, fps=12), tmp_path / "j"
    output, notes = tmp_path / "out.mp4", tmp_path / "notes"
    service = Service()
    service.delay_s = 0.05
    with service.serving() as port:
        with notes.open("w") as stderr:
            client = start(
                *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
                *("--answers", str(jsonl), "--output", str(output)),
                stderr=stderr.fileno(),
            )
        wait_for(lambda: len(service.numbers) >= 5, "five requests")
    assert len(lines_of(jsonl)) < 20
    wait_for(lambda: "trying again" in notes.read_text(), "a try that failed")
    with service.serving(port):
        done = finish(client)
    assert done.returncode == 0, notes.read_text()
    assert [line["frame"] for line in lines_of(jsonl)] == list(range(20))
    assert sorted(set(service.numbers)) == list(range(20))
    assert len(frames_of(output)[0]) == 20
    assert "answers again" in notes.read_text()
    assert service.most_at_once == 1


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_is_honoured(tmp_path: Path, status: int):
    source = film(tmp_path / "film.mp4", frames=3, fps=12)
    service = Service()
    service.failures[1] = problem(status, "Not now", "The queue is full.", Retry_After="2")
    with service.serving() as port:
        done = run("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window")
    assert done.returncode == 0, done.stderr
    assert service.numbers == [0, 1, 1, 2]
    waits = [after - before for before, after in pairwise(service.times)]
    assert waits[1] >= 2  # without the header the client would wait half a second
    assert f"{status} Not now: The queue is full." in done.stderr


def test_an_answer_that_takes_too_long_is_asked_for_again(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=2, fps=12)
    service = Service()
    service.delay_s = 2
    with service.serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--timeout", "0.5"),
        )
        wait_for(lambda: len(service.numbers) >= 2, "a second try")
        service.delay_s = 0
        done = finish(client)
    assert done.returncode == 0, done.stderr
    assert "no answer within 0.5 s" in done.stderr
    assert service.numbers[:2] == [0, 0]
    assert service.numbers[-1] == 1
    assert "2 frames answered" in done.stdout


def test_a_slow_service_gets_the_newest_frames_one_at_a_time(tmp_path: Path):
    jsonl, output = tmp_path / "j", tmp_path / "out.mp4"
    service = Service()
    service.delay_s = 1
    with camera() as live, service.serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--no-window", "--answers", str(jsonl)),
            *("--source", f"http://user:secret@127.0.0.1:{live}/camera", "--output", str(output)),
        )
        wait_for(lambda: len(lines_of(jsonl)) >= 4, "four answers")
        done = interrupt(client)
    assert done.returncode == 0, done.stderr
    assert service.most_at_once == 1
    steps = [after - before for before, after in pairwise(service.numbers)]
    assert min(steps) >= 2  # the frames in between were not sent
    assert dropped(done) >= sum(steps) - len(steps)
    assert lines_of(jsonl)[0]["source"] == f"http://127.0.0.1:{live}/camera"
    times = times_of(output)
    assert len(times) == len(lines_of(jsonl))
    assert min(after - before for before, after in pairwise(times)) > 0.2  # in real time


def test_a_live_source_drops_its_frame_while_the_service_is_away(tmp_path: Path):
    jsonl, notes, port = tmp_path / "j", tmp_path / "notes", free_port()
    sent: list[int] = []
    with camera(sent=sent) as live:
        with notes.open("w") as stderr:
            client = start(
                *("--url", f"http://127.0.0.1:{port}", "--no-window", "--answers", str(jsonl)),
                *("--source", f"http://127.0.0.1:{live}/camera"),
                stderr=stderr.fileno(),
            )
        wait_for(lambda: "trying again" in notes.read_text(), "the first try")
        before = len(sent)
        wait_for(lambda: len(sent) >= before + 60, "frames of two more seconds")
        service = Service()
        with service.serving(port):
            wait_for(lambda: len(lines_of(jsonl)) >= 2, "two answers")
            done = interrupt(client)
    assert done.returncode == 0, notes.read_text()
    assert service.numbers[0] >= 5  # frames that went by in that time
    assert dropped(done) >= 5
