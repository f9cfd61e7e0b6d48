"""The pipeline that the request threads share, and how many may use it at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

from model.pipeline import MaskPipeline


class Overloaded(RuntimeError):
    """Every slot is busy and the queue is full; to be tried again in a second."""

    RETRY_AFTER_S = 1
    REASON = "queue"


class TooManyStreams(RuntimeError):
    """As many streams are open as may be; to be tried again when one may have ended."""

    RETRY_AFTER_S = 5
    REASON = "streams"


class InferencePool:
    """One warmed pipeline, how many frames may be worked on at once, and a queue for a few more.

    busy, waiting: how many frames now are worked on, and wait for one of the slots.
    """

    def __init__(self, load: Callable[[], MaskPipeline], slots: int, queue_size: int) -> None:
        cv2.setNumThreads(1)  # the slots are the parallelism
        self.slots, self.waiting = slots, 0
        self._most_admitted, self._admitted = slots + queue_size, 0
        self._begun: dict[int, float] = {}  # the threads that work on a frame, and since when
        self._changed = threading.Condition()
        self._closed = False
        self._pipeline = load()
        self._pipeline.warm()
        self.card = self._pipeline.card
        self.detectors = self._pipeline.detectors
        self.missing = self._pipeline.missing

    @property
    def busy(self) -> int:
        """How many frames now are worked on."""
        return len(self._begun)

    @contextmanager
    def pipeline(self) -> Iterator[MaskPipeline]:
        """Lend the pipeline, waiting for a slot if the queue has room; raises Overloaded if not."""
        with self._changed:
            if self._admitted >= self._most_admitted:
                raise Overloaded("Too many frames are waiting. Try again in a second.")
            self._admitted += 1
        try:
            with self.next_pipeline() as pipeline:
                yield pipeline
        finally:
            with self._changed:
                self._admitted -= 1

    @contextmanager
    def next_pipeline(self) -> Iterator[MaskPipeline]:
        """Lend the next pipeline to a caller whose frames are bounded by other means.

        Raises Overloaded if the pool is closed.
        """
        thread = threading.get_ident()
        with self._changed:
            self.waiting += 1
            self._changed.wait_for(lambda: self._closed or len(self._begun) < self.slots)
            self.waiting -= 1
            if self._closed:
                raise Overloaded("This process of the service ends. Try again in a second.")
            self._begun[thread] = time.monotonic()
        try:
            yield self._pipeline
        finally:
            with self._changed:
                del self._begun[thread]
                self._changed.notify()

    def worked_on_longer_than(self, seconds: float) -> int:
        """Return how many frames have been worked on for longer."""
        begun_before = time.monotonic() - seconds
        with self._changed:
            return sum(begun < begun_before for begun in self._begun.values())

    def close(self) -> None:
        """Begin no frame any more, not even one that waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
