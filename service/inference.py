"""The pipeline that the request threads share, and how many may use it at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

from model.pipeline import MaskPipeline

SMALL = 2_100_000  # pixels: up to full HD


class Overloaded(RuntimeError):
    """Every slot is busy and the queue is full; to be tried again in a second."""

    RETRY_AFTER_S = 1
    REASON = "queue"


class TooManyStreams(RuntimeError):
    """As many streams are open as may be; to be tried again when one may have ended."""

    RETRY_AFTER_S = 5
    REASON = "streams"


class Room:
    """The memory for frames: those worked on at once have at most so many pixels together.

    Frames of up to SMALL are not counted, so that none of them waits for a large one.
    """

    def __init__(self, most_pixels: int) -> None:
        self._free = most_pixels
        self._changed = threading.Condition()
        self._turn = threading.Lock()  # one waits at a time, else small frames would starve it

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Give a function that waits for room for so many pixels; the end of the block frees it."""
        taken = 0

        def admit(pixels: int) -> None:
            nonlocal taken
            if pixels <= SMALL:
                return
            with self._turn, self._changed:
                self._changed.wait_for(lambda: self._free >= pixels)
                self._free -= pixels
                taken += pixels

        try:
            yield admit
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify()


class InferencePool:
    """One warmed pipeline, how many frames may be worked on at once, and a queue for a few more."""

    def __init__(
        self,
        load: Callable[[], MaskPipeline],
        slots: int,
        queue_size: int,
        most_pixels: int = 50_000_000,
    ) -> None:
        cv2.setNumThreads(1)  # the slots are the parallelism
        self.slots, self._free = slots, slots
        self._most_admitted, self._admitted = slots + queue_size, 0
        self._queue: deque[threading.Lock] = deque()  # each held until its owner has a slot
        self._begun: dict[int, float] = {}  # the threads that work on a frame, and since when
        self._lock = threading.Lock()
        self._closed = False
        self.room = Room(most_pixels)
        self._pipeline = load()
        self._pipeline.warm()
        self.card = self._pipeline.card
        self.detectors = self._pipeline.detectors
        self.missing = self._pipeline.missing

    @property
    def busy(self) -> int:
        """How many frames now are worked on."""
        return len(self._begun)

    @property
    def waiting(self) -> int:
        """How many frames now wait for a slot."""
        return len(self._queue)

    @contextmanager
    def pipeline(self) -> Iterator[MaskPipeline]:
        """Lend the pipeline, waiting for a slot if the queue has room; raises Overloaded if not."""
        with self._lock:
            if self._admitted >= self._most_admitted:
                raise Overloaded("Too many frames are waiting. Try again in a second.")
            self._admitted += 1
        try:
            with self.next_pipeline() as pipeline:
                yield pipeline
        finally:
            with self._lock:
                self._admitted -= 1

    @contextmanager
    def next_pipeline(self) -> Iterator[MaskPipeline]:
        """Lend the next pipeline to a caller whose frames are bounded by other means.

        Raises Overloaded if the pool is closed.
        """
        self._take_slot()
        thread = threading.get_ident()
        self._begun[thread] = time.monotonic()
        try:
            yield self._pipeline
        finally:
            with self._lock:
                del self._begun[thread]
                if self._queue:
                    self._queue.popleft().release()
                else:
                    self._free += 1

    def _take_slot(self) -> None:
        """Wait for a slot behind who came before: a semaphore's p99 is half as long again."""
        turn = threading.Lock()
        turn.acquire()
        with self._lock:
            if self._free and not self._closed:
                self._free -= 1
                return
            if not self._closed:
                self._queue.append(turn)
        if not self._closed:
            turn.acquire()
        if self._closed:
            raise Overloaded("This process of the service ends. Try again in a second.")

    def worked_on_longer_than(self, seconds: float) -> int:
        """Return how many frames have been worked on for longer."""
        begun_before = time.monotonic() - seconds
        with self._lock:
            return sum(begun < begun_before for begun in list(self._begun.values()))

    def close(self) -> None:
        """Begin no frame any more, not even one that waits."""
        with self._lock:
            self._closed = True
            for turn in self._queue:
                turn.release()
            self._queue.clear()
