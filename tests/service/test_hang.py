"""A worker with a hung frame is replaced. hanging.py simulates the hang."""

from __future__ import annotations

import threading
import time

import numpy as np
import requests

from bench.servers import OURS, running
from tests.conftest import TIMEOUT_S, assert_clean, encoded
from tests.service.hanging import HEIGHT
from tests.service.test_metrics import samples_at, value

COMMAND = (*OURS, "tests.service.hanging:from_environ()")
JPEG = {"Content-Type": "image/jpeg"}
ENDLESS = encoded(np.zeros((HEIGHT, 400, 3), np.uint8))
SETTINGS = {"INFERENCE_SLOTS": "2", "INFERENCE_TIMEOUT": "2", "GRACEFUL_TIMEOUT": "5"}


def hang(url: str, frames: int) -> list[threading.Thread]:
    def ask() -> None:
        try:
            requests.post(f"{url}/predict", ENDLESS, headers=JPEG, timeout=TIMEOUT_S)
        except requests.ConnectionError:
            return

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(frames)]
    for thread in threads:
        thread.start()
    return threads


def until_answered(url: str, picture: bytes) -> requests.Response:
    """Send a picture as a client that retries on 503 and on refused connections."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            answer = requests.post(f"{url}/predict", picture, headers=JPEG, timeout=TIMEOUT_S)
            if answer.status_code != 503:
                return answer
            assert "Retry-After" in answer.headers
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    raise AssertionError("no worker came in the place of the hung one")


def until_busy(url: str, slots: int) -> None:
    """Wait until this number of slots is busy."""
    deadline = time.monotonic() + TIMEOUT_S
    while value(samples_at(url), "busy_slots") < slots:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_with_a_hung_frame_is_replaced(portrait_jpeg: bytes) -> None:
    with running(command=COMMAND, **SETTINGS) as server:
        url, worker = server.url, server.worker()
        assert worker is not None
        threads = hang(url, 1)
        # The other slot goes on.
        assert until_answered(url, portrait_jpeg).status_code == 200
        worker.wait(TIMEOUT_S)
        assert len(until_answered(url, portrait_jpeg).json()["faces"]) == 1
        assert server.worker() not in (worker, None)
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert_clean(server)
    assert "1 of 2 slots have analysed a frame for more" in server.said()


def test_a_worker_whose_slots_all_hang_is_replaced_and_waiting_clients_get_503(
    portrait_jpeg: bytes,
) -> None:
    with running(command=COMMAND, **SETTINGS) as server:
        url, worker = server.url, server.worker()
        assert worker is not None
        threads = hang(url, 2)
        until_busy(url, 2)
        waits = until_answered(url, portrait_jpeg)  # gets 503, then an answer of the next worker
        assert waits.status_code == 200
        worker.wait(TIMEOUT_S)
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert_clean(server)
    assert "2 of 2 slots" in server.said()
