"""Measure the floor: the cost of decoding, detecting and classifying in process, without HTTP."""

from __future__ import annotations

import statistics
import time
from functools import cache

import cv2

from model.choices import ModelName
from model.images import open_picture
from model.pipeline import MaskPipeline

REPEATS = 20


@cache
def pipeline(model: ModelName) -> MaskPipeline:
    """Return a warmed-up pipeline."""
    cv2.setNumThreads(1)
    loaded = MaskPipeline.load(model)
    loaded.warm()
    return loaded


def cpu_ms(frame: bytes, model: ModelName) -> float:
    """Return the median CPU milliseconds for analysing a frame."""
    loaded = pipeline(model)
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        loaded.analyse(open_picture(frame))
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e3
