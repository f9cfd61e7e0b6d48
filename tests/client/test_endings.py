"""However the client ends, it gives an exit code, a message, and files that are complete so far."""

from __future__ import annotations

import csv
import os
import pty
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import pytest
from playwright.sync_api import Browser

from bench.servers import free_port
from client.outputs import H264, Film, Lines, OutputError
from tests.client.stand_in import (
    FACE,
    Service,
    camera,
    film,
    finish,
    interrupt,
    lines_of,
    number_of,
    picture,
    run,
    start,
    times_of,
    uneven_film,
    wait_for,
)

UNEVEN = [0.0, 0.1, 0.2, 1.4, 5.0, 5.04, 8.0]


def numbers_in(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_of(f.to_ndarray(format="bgr24")) for f in container.decode(video=0)]


def test_an_uneven_film_keeps_its_times(tmp_path: Path):
    source = uneven_film(tmp_path / "film.mp4", UNEVEN)
    output, events = tmp_path / "out.mp4", tmp_path / "events.jsonl"
    service = Service()
    service.faces = [FACE | {"label": "no_mask", "probabilities": {"mask": 0.1, "no_mask": 0.9}}]
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--output", str(output), "--jsonl", str(events)),
        )
    assert done.returncode == 0, done.stderr
    assert times_of(output) == pytest.approx(UNEVEN, abs=0.001)
    with av.open(str(output)) as written:
        assert written.duration / av.time_base == pytest.approx(8.0 + 0.04, abs=0.002)
    assert lines_of(events)[-1]["event"] == "last_seen"
    assert lines_of(events)[-1]["position_s"] == 8.0


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_what_was_answered(tmp_path: Path, ending: signal.Signals):
    source = film(tmp_path / "film.mp4", frames=400, fps=12)
    output, answers, table = (tmp_path / name for name in ("out.mp4", "answers", "events.csv"))
    service = Service()
    service.delay_s = 0.05  # the film must last beyond the signal
    with service.serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--output", str(output), "--answers", str(answers), "--csv", str(table)),
        )
        wait_for(lambda: len(lines_of(answers)) >= 30, "thirty answers")
        done = finish(client, ending)
    answered = len(lines_of(answers))
    assert [line["frame"] for line in lines_of(answers)] == list(range(answered))
    assert next(csv.DictReader(table.read_text().splitlines()))["event"] == "first_seen"
    written = numbers_in(output)
    assert written == list(range(len(written)))
    if ending == signal.SIGKILL:
        assert done.returncode == -signal.SIGKILL
        assert len(written) >= answered - 14  # half a second of film, and both ends
    else:
        assert done.returncode == 0, done.stderr
        assert f"{answered} frames answered" in done.stdout
        assert f"Ended by {ending.name}; the files written so far are complete." in done.stderr
        assert len(written) == answered


def test_a_terminal_that_is_closed_ends_as_a_signal_does(tmp_path: Path):
    source, output = film(tmp_path / "film.mp4", frames=400, fps=12), tmp_path / "out.mp4"
    answers = tmp_path / "answers"
    ours, theirs = pty.openpty()
    service = Service()
    service.delay_s = 0.02
    with service.serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--output", str(output), "--answers", str(answers)),
            stderr=theirs,
        )
        os.close(theirs)
        wait_for(lambda: len(lines_of(answers)) >= 10, "ten answers")
        os.close(ours)
        done = finish(client, signal.SIGHUP)
    assert done.returncode == 0
    assert len(numbers_in(output)) == len(lines_of(answers))


def test_a_full_disk_is_reported_and_leaves_a_film_that_plays(tmp_path: Path):
    source, output = film(tmp_path / "film.mp4", frames=400, fps=12), tmp_path / "out.mp4"
    with Service().serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--output", str(output)),
            most_bytes=100_000,
        )
    assert done.returncode == 1
    assert f"{output} can no longer be written: File too large." in done.stderr
    assert "frames answered" in done.stdout
    written = numbers_in(output)
    assert len(written) > 12
    assert written == list(range(len(written)))


def test_a_disk_that_fills_while_the_film_is_finished_leaves_it_playable(tmp_path: Path):
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    for path in (whole, cut):
        film = Film(path, 10, print, live=False)
        for number in range(40):
            film.add(picture(number), number / 10)
        if path == whole:
            film.close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size - 100, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            film.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    film.close()  # a second time, as an exit stack may: nothing is left to do
    assert numbers_in(whole) == list(range(40))
    assert numbers_in(cut) == list(range(40))


@pytest.mark.parametrize("option", ["--jsonl", "--csv", "--answers"])
def test_a_full_disk_leaves_whole_lines(tmp_path: Path, option: str):
    folder, written = tmp_path / "photos", tmp_path / "written"
    folder.mkdir()
    for number in range(30):
        cv2.imwrite(str(folder / f"{number:02}.png"), picture(number))
    with Service().serving() as port:
        common = ("--url", f"http://127.0.0.1:{port}", "--source", str(folder), "--no-window")
        done = run(*common, option, str(written), most_bytes=3000)
        assert done.returncode == 1
        assert f"{written} can no longer be written: File too large." in done.stderr
        text = written.read_text()
        assert text.endswith("\n")
        assert 1000 < len(text) <= 3000
        if option == "--csv":
            rows = list(csv.DictReader(text.splitlines()))
            assert all(row["height"] == "100" for row in rows)
        else:
            assert len(lines_of(written)) == len(text.splitlines())

        full = tmp_path / "full"
        full.symlink_to("/dev/full")
        done = run(*common, option, str(full))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_lines_are_written_to_what_cannot_be_wound_back():
    reading, writing = os.pipe()
    lines = Lines(Path(f"/dev/fd/{writing}"))
    os.close(writing)
    lines.write("one\n")
    assert os.read(reading, 100) == b"one\n"
    os.close(reading)
    with pytest.raises(OutputError, match="Broken pipe"):
        lines.write("two\n")
    lines.close()


def test_a_service_that_stays_away_is_given_up(tmp_path: Path):
    source, output = film(tmp_path / "film.mp4", frames=60, fps=12), tmp_path / "out.mp4"
    service = Service()
    with service.serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--output", str(output), "--give-up", "3"),
        )
        service.delay_s = 0.05
        wait_for(lambda: len(service.numbers) >= 20, "twenty frames")
    done = finish(client)
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}: " in done.stderr
    assert "The service has given no verdicts for 3 s" in done.stderr
    written = numbers_in(output)
    assert len(written) >= 18
    assert written == list(range(len(written)))


def test_a_camera_that_stays_away_is_given_up():
    service = Service()
    with service.serving() as port:
        with camera() as live:
            client = start(
                *("--url", f"http://127.0.0.1:{port}", "--no-window", "--give-up", "3"),
                *("--source", f"http://127.0.0.1:{live}/camera"),
            )
            wait_for(lambda: len(service.numbers) >= 3, "three frames")
        done = finish(client)
    assert done.returncode == 1
    address = f"http://127.0.0.1:{live}/camera"
    assert f"{address} has given no picture for 3 s (--give-up): given up" in done.stderr


def test_a_missing_h264_encoder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {H264})
    output, notes = tmp_path / "out.mp4", []
    written = Film(output, 10, notes.append, live=False)
    for number in range(20):
        written.add(picture(number), number / 10)
    written.close()
    assert numbers_in(output) == list(range(20))
    assert "which browsers do not play" in notes[0]


def test_a_browser_plays_what_was_written(tmp_path: Path, browser_with: Callable[..., Browser]):
    source, output = film(tmp_path / "film.mp4", frames=300, fps=12), tmp_path / "out.mp4"
    killed, answers = tmp_path / "killed.mp4", tmp_path / "answers"
    service = Service()
    with service.serving() as port:
        common = ("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window")
        assert run(*common, "--output", str(output)).returncode == 0
        service.delay_s = 0.02
        client = start(*common, "--output", str(killed), "--answers", str(answers))
        wait_for(lambda: len(lines_of(answers)) >= 60, "sixty answers")
        finish(client, signal.SIGKILL)
    with browser_with().new_page() as page:
        (tmp_path / "page.html").write_text("<video muted></video>")
        page.goto((tmp_path / "page.html").as_uri())
        for path, least_s in ((output, 24.9), (killed, 3.5)):
            seen = page.evaluate(
                """async address => {
                    const video = document.querySelector("video");
                    const told = name => new Promise((resolve, reject) => {
                        video.addEventListener(name, resolve, {once: true});
                        video.addEventListener("error", () => reject(video.error.message));
                    });
                    video.src = address;
                    await told("loadeddata");
                    const start = [video.videoWidth, video.videoHeight, video.duration];
                    video.currentTime = 3;
                    await told("seeked");
                    video.playbackRate = 8;
                    await Promise.all([told("ended"), video.play()]);
                    return [...start, video.currentTime];
                }""",
                path.as_uri(),
            )
            assert seen[:2] == [320, 240]
            assert seen[3] >= least_s


def test_ctrl_c_ends_the_wait_for_a_service(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=5, fps=12)
    client = start(
        *("--url", f"http://127.0.0.1:{free_port()}", "--source", str(source), "--no-window"),
        *("--jsonl", str(tmp_path / "j")),
    )
    wait_for(partial((tmp_path / "j").exists), "the client's start")
    done = interrupt(client)
    assert done.returncode in {0, -signal.SIGINT}  # before its handler is installed, or in it
