"""Doubtful faces are kept on disk, few and whole, and become training data by two keys."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from playwright.sync_api import Browser, Page
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from client import collect
from client.answers import Box, Face
from client.collect import Collector, pictures
from client.frames import Frame
from client.label import Labels
from client.tracks import Person
from model.training.data import dataset
from model.training.data.located import cut
from tests.client.stand_in import (
    FACE,
    ROOT,
    Service,
    film,
    finish,
    picture,
    run,
    start,
    wait_for,
)

UNSURE = FACE | {"label": "uncertain", "probabilities": {"mask": 0.52, "no_mask": 0.48}}
BARE = FACE | {"label": "no_mask", "probabilities": {"mask": 0.02, "no_mask": 0.98}}
CORNERS = (120, 60, 200, 160)


class Changing(Service):
    """Answers the n-th frame with the n-th of the given faces, then the last one."""

    def __init__(self, *faces: dict) -> None:
        super().__init__()
        self._told = list(faces)

    def answer(self, *request: object) -> tuple[int, dict[str, str], bytes]:
        self.faces = [self._told.pop(0) if len(self._told) > 1 else self._told[0]]
        return super().answer(*request)


def collected(tmp_path: Path, service: Service, *options: str, frames: int = 60) -> str:
    """Let a film of 5 frames a second be judged and collected; returns what the client said."""
    source = film(tmp_path / "film.mp4", frames=frames, fps=5)
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--collect", str(tmp_path / "kept"), *options),
        )
    assert done.returncode == 0, done.stderr
    return done.stderr


def stills(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:04}.jpg"), picture(number))
    return folder


def faces_of(folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return label and corners of each face, from the pictures, all of which are whole."""
    labels = Labels(folder)
    assert all(cv2.imread(str(path)) is not None for path in pictures(folder))
    return [
        (doubt.label, (doubt.box.x, doubt.box.y, doubt.box.width, doubt.box.height))
        for _, doubt in labels.faces
    ]


def test_uncertain_people_are_kept_once_in_five_seconds(tmp_path: Path) -> None:
    collected(tmp_path, Changing(UNSURE))
    assert faces_of(tmp_path / "kept") == [("uncertain", (120, 60, 80, 100))] * 3  # of 12 seconds
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_a_label_that_changes_is_kept(tmp_path: Path) -> None:
    collected(tmp_path, Changing(*[FACE] * 10, BARE, FACE, BARE, FACE))
    assert [label for label, _ in faces_of(tmp_path / "kept")] == ["no_mask"]


def test_people_with_a_steady_label_are_not_kept(tmp_path: Path) -> None:
    collected(tmp_path, Changing(UNSURE, UNSURE, FACE))  # as a stream makes its first label
    assert pictures(tmp_path / "kept") == []


def test_it_stops_at_the_most_and_keeps_the_old(tmp_path: Path) -> None:
    said = collected(tmp_path, Changing(UNSURE), "--collect-most", "2")
    kept = pictures(tmp_path / "kept")
    assert len(kept) == 2
    assert said.count("is full (2 pictures") == 1
    collected(tmp_path, Changing(UNSURE), "--collect-most", "2")
    assert pictures(tmp_path / "kept") == kept


def test_it_stops_at_the_most_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "MOST_BYTES", 100_000)
    notes: list[str] = []
    collector = Collector(tmp_path, 1000, notes.append)
    for number in range(20):
        frame = Frame(number, "camera 0", picture(number), 0.0, datetime.now(UTC))
        face = Face(Box(1, 2, 3, 4), "uncertain", {}, 0.9)
        collector.keep(frame, [(number, Person(face, frame, "uncertain"))])
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000
    assert len(notes) == 1


def test_a_kill_leaves_whole_pictures(tmp_path: Path) -> None:
    folder, source = tmp_path / "kept", stills(tmp_path / "stills", 300)
    with Changing(UNSURE).serving() as port:
        client = start(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--collect", str(folder)),
        )
        wait_for(lambda: folder.is_dir() and len(pictures(folder)) >= 20, "twenty pictures")
        finish(client, signal.SIGKILL)
    assert len(faces_of(folder)) == len(pictures(folder)) >= 20


def test_a_full_disk_leaves_no_broken_picture(tmp_path: Path) -> None:
    folder, source = tmp_path / "kept", stills(tmp_path / "stills", 3)
    with Changing(UNSURE).serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--collect", str(folder)),
            most_bytes=10_000,
        )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert pictures(folder) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures of one uncertain face each."""
    source = stills(tmp_path / "stills", 5)
    with Changing(UNSURE).serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--collect", str(tmp_path / "kept")),
        )
    assert done.returncode == 0, done.stderr
    return tmp_path / "kept"


@contextmanager
def labelling(folder: Path) -> Iterator[str]:
    """Run the command until the end of the with block; yields the page's address."""
    command = [sys.executable, "-W", "error", "-m", "client", "label", str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        yield re.search(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", line)[0]
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "annotations.json" in out


def pressed(page: Page, key: str, expected: str) -> None:
    """Press a key once the face is there."""
    page.wait_for_selector(f'canvas[data-face="{expected}"]')
    page.keyboard.press(key)


def test_training_reads_what_two_keys_labelled(
    folder: Path, browser_with: Callable[..., Browser]
) -> None:
    page = browser_with().new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    with labelling(folder) as url:
        page.goto(url)
        pressed(page, "m", "0")
        pressed(page, "n", "1")
        pressed(page, "u", "2")  # the second was wrong
        pressed(page, "m", "1")
        pressed(page, "s", "2")
        pressed(page, "n", "3")
        page.wait_for_selector('canvas[data-face="4"]')
        page.get_by_role("button", name="no mask").click()
        page.get_by_text("All faces are labelled or skipped").wait_for()
        page.close()
    assert [text for text in wrong if "favicon" not in text and "404" not in text] == []

    samples = dataset.read(folder)
    kept = pictures(folder)
    assert [(Path(s.path).name, s.cls) for s in samples] == [
        (kept[0].name, "with_mask"),
        (kept[1].name, "with_mask"),
        (kept[3].name, "without_mask"),
        (kept[4].name, "without_mask"),
    ]
    assert {s.annotated for s in samples} == {CORNERS}
    assert {s.human for s in samples} == {False}  # the box is a detector's
    assert {s.split for s in samples} <= {"train", "val"}
    assert len({s.group for s in samples}) == 4
    assert cut(samples[0], 0.2, 224).shape == (224, 224, 3)

    with labelling(folder) as url:  # what was skipped is shown again, what is labelled is kept
        page = browser_with().new_page()
        page.goto(url)
        pressed(page, "m", "0")
        page.get_by_text("All faces are labelled or skipped").wait_for()
        page.close()
    assert len(dataset.read(folder)) == 5


def test_a_person_in_several_pictures_is_in_one_split(tmp_path: Path) -> None:
    collected(tmp_path, Changing(UNSURE))
    labels = Labels(tmp_path / "kept")
    for number in range(3):
        labels.press(number, "M")
    samples = dataset.read(tmp_path / "kept")
    assert len(samples) == 3
    assert len({(sample.group, sample.split) for sample in samples}) == 1


def test_only_the_printed_address_on_this_machine_may_label(folder: Path) -> None:
    with labelling(folder) as url:
        host, port = "127.0.0.1", int(url.split(":")[2].split("/")[0])
        assert requests.get(url, timeout=20).status_code == 200
        assert requests.get(f"http://{host}:{port}/", timeout=20).status_code == 404
        assert requests.get(f"http://{host}:{port}/wrong/", timeout=20).status_code == 404
        foreign = {"Host": f"evil.example:{port}"}
        assert requests.get(url, headers=foreign, timeout=20).status_code == 421
        faces = url.replace("http", "ws") + "faces"
        for origin, address in (
            ("http://evil.example", faces),
            (None, faces),
            (f"http://{host}:{port}", f"ws://{host}:{port}/wrong/faces"),
        ):
            with pytest.raises(InvalidStatus):
                connect(address, origin=origin)
        own = f"http://{host}:{port}"
        for nonsense in ("{}", '{"face": 0, "key": "X"}', "[" * 500, '{"face": 3, "key": "M"}'):
            with connect(faces, origin=own) as page:
                assert json.loads(page.recv())["face"] == 0
                page.recv()
                page.send(nonsense)
        with connect(faces, origin=own) as page:
            assert json.loads(page.recv())["face"] == 0  # and none of it labelled one
        listening = Path("/proc/net/tcp").read_text()
        assert re.search(rf"0100007F:{port:04X} 00000000:0000 0A", listening)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port))
    assert not (folder / "annotations.json").exists()


def test_pictures_that_were_not_collected_are_skipped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((9, 9, 3), np.uint8))
    (folder / "b.jpg").write_bytes(b"no picture")
    assert len(Labels(folder).faces) == 5
    said = capsys.readouterr().out
    assert "a.jpg: --collect did not write it" in said
    assert "b.jpg: --collect did not write it" in said


def test_a_folder_without_faces_is_refused(tmp_path: Path) -> None:
    for content, why in (("", "holds no face to label"), ("{", "cannot be read")):
        if content:
            (tmp_path / "annotations.json").write_text(content)
        command = [sys.executable, "-m", "client", "label", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert why in done.stderr
