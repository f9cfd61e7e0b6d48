"""The inference slots: native threads that analyse frames, and the line of frames that wait."""

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
OPENED_AT_ONCE = 65_536  # bytes; the header of a larger picture takes milliseconds to read


class Overloaded(RuntimeError):
    """The service has no room for another frame right now. reason: queue, memory or stop."""

    RETRY_AFTER_S = 1

    def __init__(self, message: str, reason: str = "queue") -> None:
        super().__init__(message)
        self.reason = reason


def in_thread(threads: ThreadPool, work: Callable[[], T]) -> T:
    """Call work in a native thread while the loop goes on; raises what it raises.

    gevent would print an exception that leaves the thread, with its message.
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
        raise errors.pop()  # a list that still held it would keep this frame and the picture alive
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

    Frames start in the order of arrival, but large ones (over SMALL pixels) never take the last
    slot and together never exceed most_pixels, so small frames can pass a large one that waits.
    All methods are for the greenlets of one event loop.
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
        self._queued = 0  # frames of requests, waiting or running; those of streams do not count
        self._closed = False
        self._threads, self._opener = ThreadPool(slots), ThreadPool(1)
        self._pipeline = load()
        # In all threads at once, so that each is there, with its own part of the heap.
        warmed = [self._threads.spawn(self._pipeline.warm) for _ in range(slots)]
        self._opener.spawn(int).get()
        for each in warmed:
            each.get()
        self.card = self._pipeline.card
        self.detectors = self._pipeline.detectors
        self.missing = self._pipeline.missing
        self.check_offers = self._pipeline.offered  # raises DetectorUnavailable

    @property
    def busy(self) -> int:
        """How many frames are being worked on."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many frames wait for a slot."""
        return len(self._waiting)

    def apart(self, work: Callable[[], T], size: int) -> T:
        """Call work that parses so many bytes, in a native thread where it could block the loop."""
        return work() if size <= OPENED_AT_ONCE else in_thread(self._opener, work)

    def open(self, data: bytes, max_pixels: int) -> Picture:
        """Read a picture's header; raises ImageError."""
        return self.apart(lambda: open_picture(data, max_pixels), len(data))

    def run(self, work: Callable[[MaskPipeline], T], pixels: int) -> T:
        """Analyse a request's frame of so many pixels; raises Overloaded where the queue is full.

        Large frames may fill at most half of the queue, so small ones always find a place.
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
        """Analyse a stream's frame; streams are bounded in number and send one frame at a time.

        Raises Overloaded where the pool is closed.
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
        """Give the free slots to the first frames that may start."""
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
        """Return how many frames have been worked on for longer."""
        begun_before = time.monotonic() - seconds
        return sum(each.began is not None and each.began < begun_before for each in self._running)

    def close(self) -> None:
        """Start no frame any more; those that wait are refused."""
        self._closed = True
        self._start_next()
