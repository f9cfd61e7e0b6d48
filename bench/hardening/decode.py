"""Measure the cost of analysing small files that are made to be expensive to decode."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from rich.progress import track

from bench.hardening.bombs import BOMBS
from bench.hardening.rows import Row, finish
from model.images import ImageError, open_picture
from model.pipeline import MaskPipeline

MOST_MB = 600  # memory per slot, above that of a warmed-up pipeline
TIMEOUT_S = 120
MOST_S = 10.0  # CPU time on a current core


@dataclass(frozen=True)
class Cost:
    """The cost of one picture. answer: the refusal, or the number of faces."""

    name: str
    weight: int
    cpu_s: float
    peak_mb: float
    answer: str
    foreseen: bool


def peak_kb() -> int:
    """Return the peak memory of this process since reset_peak(), in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def reset_peak() -> None:
    """Reset the measured peak memory."""
    Path("/proc/self/clear_refs").write_text("5")


@cache
def warmed() -> MaskPipeline:
    """Return a warmed-up pipeline."""
    pipeline = MaskPipeline.load()
    pipeline.warm()
    return pipeline


def cost(name: str) -> Cost:
    """Analyse one picture with two detectors, in this process, and return the cost."""
    data = BOMBS[name]()
    pipeline = warmed()
    reset_peak()
    memory, began = peak_kb(), time.process_time()
    foreseen = True
    answers = []
    for detector in ("yunet", "haar"):
        try:
            faces = pipeline.analyse(open_picture(data), detector=detector).verdicts
            answers.append(f"{len(faces)} faces")
        except ImageError as error:
            answers.append(str(error)[:60])
        except Exception as error:  # noqa: BLE001 (unforeseen errors are reported)
            foreseen = False
            answers.append(repr(error)[:200])
    spent, grown = time.process_time() - began, (peak_kb() - memory) / 1024
    return Cost(name, len(data), spent, grown, "; ".join(dict.fromkeys(answers)), foreseen)


def run(names: Sequence[str] = tuple(BOMBS), *, apart: bool = True) -> list[Cost]:
    """Return the cost of each picture of BOMBS; raises TimeoutError if its process dies.

    apart: analyse each in a separate process, so that memory left by another does not hide its use.
    """
    with get_context("spawn").Pool(1, maxtasksperchild=1 if apart else None) as pool:
        tasks = [pool.apply_async(cost, (name,)) for name in names]
        bar = track(tasks, "Pictures", disable=not sys.stderr.isatty())
        return [task.get(timeout=TIMEOUT_S) for task in bar]


def rows(costs: Sequence[Cost]) -> list[Row]:
    """Return the results as rows of a table."""
    longest = max(costs, key=lambda each: each.cpu_s)
    largest = max(costs, key=lambda each: each.peak_mb)
    unforeseen = [each.name for each in costs if not each.foreseen]
    count = f"{len(costs)} costly pictures"
    return [
        Row(count, "0 unforeseen errors", ", ".join(unforeseen) or "0", not unforeseen),
        Row(
            f"{count}: CPU time of both detectors",
            f"<= {MOST_S:g} s",
            f"{longest.cpu_s:.1f} s ({longest.name})",
            longest.cpu_s <= MOST_S,
        ),
        Row(
            f"{count}: memory",
            f"<= {MOST_MB} MB",
            f"{largest.peak_mb:.0f} MB ({largest.name})",
            largest.peak_mb <= MOST_MB,
        ),
    ]


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hardening.decode",
        description=__doc__,
        epilog="Example: python -m bench.hardening.decode --output runs/hardening/decode.json",
    )
    parser.add_argument("--output", type=Path, help="write the rows to this JSON file")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    costs = run()
    for each in costs:
        print(
            f"{each.name:50} {each.weight:>9} B {each.cpu_s:6.2f} s "
            f"{each.peak_mb:6.0f} MB  {each.answer}"
        )
    sys.exit(finish(rows(costs), args.output))


if __name__ == "__main__":
    main()
