"""Let a pipeline analyse pictures made to cost far more than they weigh, and measure the cost."""

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

MOST_MB = 600  # of memory over that of a warmed pipeline, for each slot
TIMEOUT_S = 120
MOST_S = 10.0  # of CPU time, on a core of today


@dataclass(frozen=True)
class Cost:
    """What one picture cost; answer is the refusal, or how many faces there are."""

    name: str
    weight: int
    cpu_s: float
    peak_mb: float
    answer: str
    foreseen: bool


def peak_kb() -> int:
    """Return the most memory that this process has held since reset_peak()."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def reset_peak() -> None:
    """Start to measure the peak anew."""
    Path("/proc/self/clear_refs").write_text("5")


@cache
def warmed() -> MaskPipeline:
    """Return a pipeline that has run once."""
    pipeline = MaskPipeline.load()
    pipeline.warm()
    return pipeline


def cost(name: str) -> Cost:
    """Analyse one picture with each detector, in a process of its own, and measure."""
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
        except Exception as error:  # noqa: BLE001 (that is what is looked for)
            foreseen = False
            answers.append(repr(error)[:200])
    spent, grown = time.process_time() - began, (peak_kb() - memory) / 1024
    return Cost(name, len(data), spent, grown, "; ".join(dict.fromkeys(answers)), foreseen)


def run(names: Sequence[str] = tuple(BOMBS), *, apart: bool = True) -> list[Cost]:
    """Return the cost of each picture of BOMBS; raises TimeoutError for a process that dies.

    apart: each in a process of its own, where nothing that another left hides what it takes.
    """
    with get_context("spawn").Pool(1, maxtasksperchild=1 if apart else None) as pool:
        tasks = [pool.apply_async(cost, (name,)) for name in names]
        bar = track(tasks, "Pictures", disable=not sys.stderr.isatty())
        return [task.get(timeout=TIMEOUT_S) for task in bar]


def rows(costs: Sequence[Cost]) -> list[Row]:
    """Return what was found, as rows of a table."""
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
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
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
