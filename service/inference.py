"""The inference slots: native threads that analyse frames, and the queue of waiting frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
from gevent.event import Event
from gevent.threadpool import ThreadPool

from model.images import Picture, open_picture
from model.pipeline import MaskPipeline

T = TypeVar("T")
SMALL = 2_100_000  # pixels: up to full HD
OPENED_AT_ONCE = 65_536  # bytes; reading the header of a larger picture takes milliseconds


class Overloaded(RuntimeError):
    """The service has no room for another frame right now. reason: queue, memory or stop."""

    RETRY_AFTER_S = 1

    def __init__(self, message: str, reason: str = "queue") -> None:
        super().__init__(message)
        self.reason = reason


def in_thread(threads: ThreadPool, work: Callable[[], T]) -> T:
    """Call work in a native thread while the event loop runs on; raises what work raises.

    The thread passes exceptions on as values. Otherwise gevent would print them, message included.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def keep() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 (raised again below)
            errors.append(error)

    threads.spawn(keep).get()
    if errors:
        raise errors.pop()  # if it stayed in the list, a cycle would keep the picture in memory
    return results.pop()


@dataclass(eq=False)
class Ticket:
    """A frame that waits for a slot or has one. began: monotonic seconds, None while it waits."""

    pixels: int
    turn: Event = field(default_factory=Event)
    began: float | None = None

    @property
    def large(self) -> bool:
        """Whether the frame counts against the limits on large frames."""
        return self.pixels > SMALL


class InferencePool:
    """One warmed pipeline, a native thread for each slot, and a bounded queue.

    Frames start in the order of arrival. Large ones (over SMALL pixels) never take the last slot
    and together never exceed most_pixels, so small frames can overtake a waiting large one.
    Call all methods from greenlets of one event loop.
    """

    def __init__(
        self,
        load: Callable[[], MaskPipeline],
        slots: int,
        queue_size: int,
        most_pixels: int = 50_000_000,
    ) -> None:
        cv2.setNumThreads(1)  # the slots are the parallelism
        self.slots = slots
        self._queue_size, self._most_pixels = queue_size, most_pixels
        self._waiting: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._queued = 0  # frames of requests, waiting or running; stream frames do not count
        self._closed = False
        self._threads, self._opener = ThreadPool(slots), ThreadPool(1)
        self._pipeline = load()
        # In all threads at once, so that each thread exists and has allocated its own heap.
        warmed = [self._threads.spawn(self._pipeline.warm) for _ in range(slots)]
        self._opener.spawn(int).get()
        for each in warmed:
            each.get()
        self.card, self.model = self._pipeline.card, self._pipeline.model
        self.detectors = self._pipeline.detectors
        self.missing = self._pipeline.missing
        self.check_offers = self._pipeline.offered  # raises DetectorUnavailable

    @property
    def busy(self) -> int:
        """How many frames are being analysed."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many frames wait for a slot."""
        return len(self._waiting)

    def apart(self, work: Callable[[], T], size: int) -> T:
        """Call work that parses `size` bytes; large sizes run in a thread to not block the loop."""
        return work() if size <= OPENED_AT_ONCE else in_thread(self._opener, work)

    def open(self, data: bytes, max_pixels: int) -> Picture:
        """Read a picture's header; raises ImageError."""
        return self.apart(lambda: open_picture(data, max_pixels), len(data))

    def run(self, work: Callable[[MaskPipeline], T], pixels: int) -> T:
        """Analyse a request's frame of `pixels` pixels; raises Overloaded if the queue is full.

        Large frames may fill at most half of the queue, so they cannot crowd out small ones.
        """
        ticket = Ticket(pixels)
        large = sum(each.large for each in self._waiting)
        if self._queued >= self.slots + self._queue_size or (
            ticket.large and large > self._queue_size // 2
        ):
            raise Overloaded("Too many frames are waiting. Try again in a second.")
        self._queued += 1
        try:
            return self._run(work, ticket)
        finally:
            self._queued -= 1

    def run_next(self, work: Callable[[MaskPipeline], T], pixels: int) -> T:
        """Analyse a stream's frame; raises Overloaded if the pool is closed.

        No queue limit applies: the number of streams is limited, with one frame each at a time.
        """
        return self._run(work, Ticket(pixels))

    def _run(self, work: Callable[[MaskPipeline], T], ticket: Ticket) -> T:
        self._waiting.append(ticket)
        self._start_next()
        ticket.turn.wait()
        if ticket.began is None:
            raise Overloaded("This process is stopping. Try again in a second.", "stop")
        try:
            return in_thread(self._threads, lambda: work(self._pipeline))
        finally:
            self._running.remove(ticket)
            self._start_next()

    def _start_next(self) -> None:
        """Give free slots to the first frames in the queue that may start."""
        for ticket in list(self._waiting):
            if self._closed or len(self._running) >= self.slots:
                break
            if not ticket.large or self._fits(ticket):
                self._waiting.remove(ticket)
                self._running.add(ticket)
                ticket.began = time.monotonic()
                ticket.turn.set()
        if self._closed:
            for ticket in self._waiting:
                ticket.turn.set()
            self._waiting.clear()

    def _fits(self, ticket: Ticket) -> bool:
        large = [each.pixels for each in self._running if each.large]
        most = max(1, self.slots - 1)
        return len(large) < most and sum(large) + ticket.pixels <= self._most_pixels

    def worked_on_longer_than(self, seconds: float) -> int:
        """Return how many frames have been in analysis for longer than `seconds`."""
        begun_before = time.monotonic() - seconds
        return sum(each.began is not None and each.began < begun_before for each in self._running)

    def close(self) -> None:
        """Start no more frames and refuse the waiting ones."""
        self._closed = True
        self._start_next()
