"""Measure the floor: the cost of decoding, detecting and classifying in process, without HTTP."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from functools import cache

import cv2

from model.choices import ModelName
from model.images import open_picture
from model.pipeline import MaskPipeline

REPEATS, FEWEST = 20, 5  # analyses of all frames together, and of each
STAGES = ("decode", "detect", "classify")


@cache
def pipeline(model: ModelName) -> MaskPipeline:
    """Return a warmed-up pipeline."""
    cv2.setNumThreads(1)
    loaded = MaskPipeline.load(model)
    loaded.warm()
    return loaded


def cpu_ms(frames: Sequence[bytes], model: ModelName) -> float:
    """Return the median CPU milliseconds for analysing a frame, averaged over the frames."""
    return sum(by_part(frames, model).values())


def by_part(frames: Sequence[bytes], model: ModelName) -> dict[str, float]:
    """Return the CPU milliseconds of each stage of an analysis and of the rest, as cpu_ms does.

    A thread's CPU time cannot be read between the stages, so it is divided as the elapsed time is.
    """
    loaded = pipeline(model)
    repeats = max(FEWEST, REPEATS // len(frames))
    parts = dict.fromkeys((*STAGES, "rest"), 0.0)
    for frame in frames:
        cpu, elapsed = [], []
        for _ in range(repeats):
            began, began_cpu = time.perf_counter(), time.process_time()
            timings = loaded.analyse(open_picture(frame)).timings_ms
            cpu.append((time.process_time() - began_cpu) * 1e3)
            whole = (time.perf_counter() - began) * 1e3
            elapsed.append({stage: timings[stage] / whole for stage in STAGES})
        spent = statistics.median(cpu) / len(frames)
        shares = {stage: statistics.median(each[stage] for each in elapsed) for stage in STAGES}
        for part, share in (shares | {"rest": 1 - sum(shares.values())}).items():
            parts[part] += spent * share
    return parts
