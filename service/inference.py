"""A bounded set of pipelines that the request threads share."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

from model.pipeline import MaskPipeline


class Overloaded(RuntimeError):
    """Every slot is busy and the queue is full; to be tried again in a second."""

    RETRY_AFTER_S = 1


class TooManyStreams(RuntimeError):
    """As many streams are open as may be; to be tried again when one may have ended."""

    RETRY_AFTER_S = 5


class InferencePool:
    """As many warmed pipelines as frames may be worked on at once, and a bounded queue for them."""

    def __init__(self, load: Callable[[], MaskPipeline], slots: int, queue_size: int) -> None:
        cv2.setNumThreads(1)  # the slots are the parallelism
        self._admitted = threading.BoundedSemaphore(slots + queue_size)
        # Last in, first out: the pipeline used last has its memory in the cache.
        self._idle: queue.LifoQueue[MaskPipeline] = queue.LifoQueue()
        for _ in range(slots):
            pipeline = load()
            pipeline.warm()
            self._idle.put(pipeline)
        self.card = pipeline.card
        self.detectors = pipeline.detectors

    @contextmanager
    def pipeline(self) -> Iterator[MaskPipeline]:
        """Lend a pipeline, waiting for one if the queue has room; raises Overloaded if not."""
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
        pipeline = self._idle.get()
        try:
            yield pipeline
        finally:
            self._idle.put(pipeline)
