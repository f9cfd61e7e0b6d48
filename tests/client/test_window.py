from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pygame
import pytest

from client import arguments, window
from client.__main__ import viewer
from client.answers import Verdicts
from client.api import as_jpeg
from client.events import Events
from client.job import Job, Task
from client.session import Session
from client.sources import open_source
from tests.client.stand_in import (
    SIZE,
    TIMEOUT_S,
    Service,
    camera,
    film,
    finish,
    frames_of,
    number_of,
    run,
    start,
)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with window.display():
        yield


def shown() -> np.ndarray:
    """Return what the window shows, RGB."""
    return np.asarray(pygame.surfarray.array3d(pygame.display.get_surface())).swapaxes(0, 1)


@pytest.mark.usefixtures("display")
def test_a_picture_keeps_its_proportions_and_colours():
    blue = np.full((200, 400, 3), (250, 20, 10), np.uint8)
    window.show(blue)
    assert shown().shape == (240, 400, 3)
    pygame.display.set_mode((400, 600), pygame.RESIZABLE)
    window.show(blue)
    held = shown()
    assert (held[200:400] == (10, 20, 250)).all()
    assert not held[:200].any()
    assert not held[400:].any()


@pytest.mark.usefixtures("display")
def test_a_large_picture_fits_the_screen():
    window.show(np.zeros((2160, 3840, 3), np.uint8))
    assert pygame.display.get_surface().get_size() == (1280, 720)


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize(
    "event",
    [
        pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE),
        pygame.event.Event(pygame.KEYDOWN, key=pygame.K_q),
        pygame.event.Event(pygame.QUIT),
    ],
)
def test_escape_q_and_closing_quit(event: pygame.event.Event):
    window.show(np.zeros((240, 320, 3), np.uint8))
    window.events()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a))
    assert window.events()[0] is False
    pygame.event.post(event)
    assert window.events()[0] is True


@pytest.mark.usefixtures("display")
def test_the_view_moves_on_while_an_answer_is_awaited():
    stop, answer = threading.Event(), threading.Event()
    asked = []

    def ask(jpeg: bytes) -> Verdicts:
        asked.append(jpeg)
        answer.wait(timeout=TIMEOUT_S)
        return Verdicts((), 1.0, "1", {})

    seen = set()
    with camera() as live:
        source = open_source(f"http://127.0.0.1:{live}/", "camera", stop, print)
        encode = partial(as_jpeg, quality=90)
        session = Session(source, encode, ask, lambda *_: None, print)
        job = Job(Task("0", "0", None), arguments.parse([]), None, Events())
        job.session = session
        refresh = viewer([job], stop)
        until = time.monotonic() + TIMEOUT_S
        while len(seen) < 10 and time.monotonic() < until:
            assert session.step()
            refresh()
            if (surface := pygame.display.get_surface()) and surface.get_size() == SIZE:
                seen.add(number_of(shown()))
        answer.set()
        source.close()
    assert len(seen) >= 10
    assert len(asked) == 1


def test_a_film_plays_in_a_window_to_its_end(tmp_path: Path):
    source, output = film(tmp_path / "film.mp4", frames=12, fps=12), tmp_path / "out.mp4"
    with Service().serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source)),
            *("--output", str(output)),
            SDL_VIDEODRIVER="dummy",
        )
    assert done.returncode == 0, done.stderr
    assert len(frames_of(output)[0]) == 12
    assert "12 frames answered" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can the display be taken away")
def test_without_a_display_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    done = finish(start("--source", "97"))
    assert done.returncode == 1
    assert "--no-window" in done.stderr
