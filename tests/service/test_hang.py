"""A worker in which a frame hangs is replaced. That a frame hangs is simulated: hanging.py."""

from __future__ import annotations

import threading
import time

import numpy as np
import requests

from tests.conftest import GUNICORN, encoded, serving
from tests.process import worker_of
from tests.service.hanging import HEIGHT

COMMAND = (*GUNICORN, "tests.service.hanging:from_environ()")
JPEG = {"Content-Type": "image/jpeg"}
ENDLESS = encoded(np.zeros((HEIGHT, 400, 3), np.uint8))
SETTINGS = {"INFERENCE_SLOTS": "2", "INFERENCE_TIMEOUT": "2", "GRACEFUL_TIMEOUT": "5"}


def hang(url: str, frames: int) -> list[threading.Thread]:
    def ask() -> None:
        try:
            requests.post(f"{url}/predict", ENDLESS, headers=JPEG, timeout=60)
        except requests.ConnectionError:
            return

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(frames)]
    for thread in threads:
        thread.start()
    return threads


def until_answered(url: str, picture: bytes) -> requests.Response:
    """Ask as a client that tries again, where it is told to and while nobody listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = requests.post(f"{url}/predict", picture, headers=JPEG, timeout=60)
            if answer.status_code != 503:
                return answer
            assert "Retry-After" in answer.headers
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    raise AssertionError("no worker came in the place of the hung one")


def test_a_worker_with_a_hung_frame_is_replaced(portrait_jpeg: bytes) -> None:
    lines: list[str] = []
    with serving(lines, COMMAND, **SETTINGS) as url:
        worker = worker_of(url)
        threads = hang(url, 1)
        # The other slot serves on.
        assert until_answered(url, portrait_jpeg).status_code == 200
        worker.wait(60)
        assert len(until_answered(url, portrait_jpeg).json()["faces"]) == 1
        assert worker_of(url).pid != worker.pid
        for thread in threads:
            thread.join(60)
    assert any("1 of 2 slots have analysed a frame for more" in line for line in lines)


def test_also_where_all_slots_hang_and_who_waits_is_told(portrait_jpeg: bytes) -> None:
    lines: list[str] = []
    with serving(lines, COMMAND, **SETTINGS) as url:
        worker = worker_of(url)
        threads = hang(url, 2)
        time.sleep(0.5)  # until both are worked on
        waits = until_answered(url, portrait_jpeg)  # told 503, and served by the next worker
        assert waits.status_code == 200
        worker.wait(60)
        for thread in threads:
            thread.join(60)
    assert any("2 of 2 slots" in line for line in lines)
