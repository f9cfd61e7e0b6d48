"""Who waits for a slot is served in the order of arrival; the real pipeline, without a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from model.pipeline import MaskPipeline
from service.inference import InferencePool, Overloaded


@pytest.fixture
def pool() -> Iterator[InferencePool]:
    pool = InferencePool(MaskPipeline.load, slots=1, queue_size=8)
    yield pool
    pool.close()


def in_turn(pool: InferencePool, count: int, work: Callable[[int], None]) -> list[threading.Thread]:
    """Let so many threads wait for a slot, each behind the one before it."""
    threads = []
    for number in range(count):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        threads.append(thread)
        while pool.waiting <= number:
            time.sleep(0.001)
    return threads


def test_who_came_first_is_served_first(pool: InferencePool) -> None:
    served: list[int] = []

    def work(number: int) -> None:
        with pool.pipeline():
            served.append(number)

    with pool.pipeline():
        threads = in_turn(pool, 8, work)
        with pytest.raises(Overloaded), pool.pipeline():
            pass  # the queue is full
    for thread in threads:
        thread.join(30)
    assert served == list(range(8))
    assert (pool.busy, pool.waiting) == (0, 0)
    with pool.pipeline():  # the slot is free again
        assert pool.busy == 1


def test_a_closed_pool_begins_nothing_and_lets_who_waits_go(pool: InferencePool) -> None:
    told: list[int] = []

    def work(number: int) -> None:
        try:
            with pool.next_pipeline():
                pass
        except Overloaded:
            told.append(number)

    with pool.pipeline():
        threads = in_turn(pool, 3, work)
        pool.close()
        for thread in threads:
            thread.join(30)
        assert sorted(told) == [0, 1, 2]
        assert pool.busy == 1  # what was begun goes on
    with pytest.raises(Overloaded), pool.pipeline():
        pass
