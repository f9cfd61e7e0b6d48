"""The pipeline that the request threads share, and how many may use it at once."""

from __future__ import annotations

import threading
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
        self.slots, self.busy, self.waiting = slots, 0, 0
        self._counting = threading.Lock()
        self._admitted = threading.BoundedSemaphore(slots + queue_size)
        self._slots = threading.BoundedSemaphore(slots)
        self._pipeline = load()
        self._pipeline.warm()
        self.card = self._pipeline.card
        self.detectors = self._pipeline.detectors
        self.missing = self._pipeline.missing

    @contextmanager
    def pipeline(self) -> Iterator[MaskPipeline]:
        """Lend the pipeline, waiting for a slot if the queue has room; raises Overloaded if not."""
        if not self._admitted.acquire(blocking=False):
            raise Overloaded("Too many frames are waiting. Try again in a second.")
        try:
            with self.next_pipeline() as pipeline:
                yield pipeline
        finally:
            self._admitted.release()

    @contextmanager
    def next_pipeline(self) -> Iterator[MaskPipeline]:
        """Lend the next pipeline to a caller whose frames are bounded by other means."""
        self._count(waiting=1)
        with self._slots:
            self._count(waiting=-1, busy=1)
            try:
                yield self._pipeline
            finally:
                self._count(busy=-1)

    def _count(self, *, waiting: int = 0, busy: int = 0) -> None:
        with self._counting:
            self.waiting += waiting
            self.busy += busy
