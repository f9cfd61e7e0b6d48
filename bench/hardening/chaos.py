"""Run all trials that overload, attack, kill, replace and starve the service, one after another.

    python -m bench.hardening.chaos
    python -m bench.hardening.chaos kill term

One table shows every goal. A trial that cannot run, for example without Docker, misses its goal.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest

from rich.console import Console

from bench.hardening.rows import Row, finish, write

TRIALS = (
    *("slow", "attack", "overload", "fairness", "kill", "term", "rolling", "container"),
    *("shortage", "siege"),
)


def trial(name: str) -> list[Row]:
    """Run one trial at full length; if it ends early, its goal is missed."""
    goal = "the trial runs to its end"
    try:
        rows: list[Row] = importlib.import_module(f"bench.hardening.{name}").run()
    except ModuleNotFoundError as error:
        return [Row(name, goal, f"not run: there is no module {error.name}", met=False)]
    except SkipTest as reason:
        return [Row(name, goal, f"not run: {reason}", met=False)]
    except Exception as error:  # noqa: BLE001 (the other trials still run)
        traceback.print_exc()
        return [Row(name, goal, f"ended by {type(error).__name__}: {error}"[:300], met=False)]
    return rows


def run(names: Sequence[str] = TRIALS, output: Path | None = None) -> list[Row]:
    """Run the trials; after each, all rows so far are written to the file."""
    console = Console(stderr=True)
    rows: list[Row] = []
    try:
        for number, name in enumerate(names, 1):
            console.rule(f"{number} of {len(names)}: {name}")
            rows += trial(name)
            if output is not None:
                write(rows, output)
    except KeyboardInterrupt:
        rows.append(Row(name, "the trial runs to its end", "interrupted", met=False))
    return rows


def main() -> int:
    """Parse the command line, run the trials, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hardening.chaos",
        description=__doc__.splitlines()[0],
        epilog="example: python -m bench.hardening.chaos kill term --output runs/chaos.json",
    )
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"{', '.join(TRIALS)} (all)")
    parser.add_argument("--output", type=Path, help="write the rows to this file, as JSON")
    options = parser.parse_args()
    if unknown := set(options.trials) - set(TRIALS):
        parser.error(
            f"unknown trials {', '.join(sorted(unknown))}; choose from {', '.join(TRIALS)}"
        )
    return finish(run(options.trials or TRIALS, options.output), options.output)


if __name__ == "__main__":
    sys.exit(main())
