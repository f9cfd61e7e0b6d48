"""Which frame gets the next slot; with the real pipeline, without a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from model.pipeline import MaskPipeline
from service.inference import SMALL, InferencePool, Overloaded
from tests.conftest import TIMEOUT_S


@pytest.fixture
def pool() -> Iterator[InferencePool]:
    pool = InferencePool(MaskPipeline.load, slots=1, queue_size=8)
    yield pool
    pool.close()


class Held:
    """Frames that keep real slots busy until they are released."""

    def __init__(self, pool: InferencePool) -> None:
        self.started: list[str] = []
        self._pool = pool
        self._let_go: dict[str, threading.Event] = {}

    def ask(self, name: str, pixels: int = 1) -> gevent.Greenlet:
        """Ask for a slot; return once the frame has one, waits or is refused."""
        event = self._let_go[name] = threading.Event()

        def work(_: MaskPipeline) -> str:
            self.started.append(name)
            event.wait(TIMEOUT_S)
            return name

        greenlet = gevent.spawn(self._pool.run, work, pixels)
        gevent.sleep(0)
        self.settle()
        return greenlet

    def finish(self, name: str) -> None:
        """Release a frame; return once the next one has its slot."""
        self._let_go[name].set()
        self.settle()

    def settle(self) -> None:
        """Wait until every frame with a slot has started."""
        while self._pool.busy > sum(not self._let_go[each].is_set() for each in self.started):
            gevent.sleep(0.001)


def test_the_first_frame_to_come_is_served_first(pool: InferencePool) -> None:
    held = Held(pool)
    asked = [held.ask(f"{n}") for n in range(9)]
    assert (pool.busy, pool.waiting) == (1, 8)
    with pytest.raises(Overloaded, match="waiting"):  # the queue is full
        held.ask("late").get()
    for n in range(9):
        held.finish(f"{n}")
    assert held.started == [f"{n}" for n in range(9)]
    assert [each.get() for each in asked] == held.started
    assert (pool.busy, pool.waiting) == (0, 0)


def test_large_frames_leave_a_slot_to_small_ones() -> None:
    pool = InferencePool(MaskPipeline.load, slots=3, queue_size=8, most_pixels=10 * SMALL)
    held = Held(pool)
    held.ask("large 1", 4 * SMALL)
    held.ask("large 2", 7 * SMALL)  # more pixels than there is room for
    held.ask("large 3", 6 * SMALL)
    held.ask("large 4", 2 * SMALL)  # two slots of three have a large frame
    held.ask("small 1")
    assert held.started == ["large 1", "large 3", "small 1"]
    held.finish("large 3")
    assert held.started[3:] == ["large 4"]
    held.finish("large 1")
    assert held.started[4:] == ["large 2"]
    pool.close()


def test_large_frames_fill_at_most_half_a_queue(pool: InferencePool) -> None:
    held = Held(pool)
    for n in range(6):
        held.ask(f"large {n}", 2 * SMALL)
    with pytest.raises(Overloaded):
        held.ask("too many", 2 * SMALL).get()
    small = held.ask("small")
    assert not small.ready()
    assert pool.waiting == 6


def test_a_closed_pool_starts_nothing_and_refuses_what_waits(pool: InferencePool) -> None:
    held = Held(pool)
    runs = held.ask("runs")
    waiting = [held.ask(f"{n}") for n in range(3)]
    pool.close()
    for each in waiting:
        with pytest.raises(Overloaded, match="stopping"):
            each.get()
    held.finish("runs")
    assert runs.get() == "runs"
    with pytest.raises(Overloaded, match="stopping"):
        held.ask("late").get()


def test_work_that_fails_gives_its_slot_back(pool: InferencePool) -> None:
    def fail(_: MaskPipeline) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            pool.run(fail, 1)
    assert pool.run(lambda _: "fine", 1) == "fine"


def test_a_frame_does_not_keep_the_loop_from_others(pool: InferencePool) -> None:
    entered = Event()
    gevent.spawn(entered.set)
    assert pool.run(lambda _: entered.is_set(), 1) in {True, False}
    assert entered.is_set()
