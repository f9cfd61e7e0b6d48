"""The results of a trial: one row for each goal."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import SkipTest

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One goal of a trial, the measured result, and whether it meets the goal."""

    test: str
    goal: str
    measured: str
    met: bool


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table."""
    table = Table("test", "goal", "measured", "met")
    for row in rows:
        table.add_row(row.test, row.goal, row.measured, "yes" if row.met else "[red]NO[/red]")
    Console().print(table)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the rows to a file, as a list of JSON objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def finish(rows: Sequence[Row], output: Path | None = None) -> int:
    """Print the rows, write them to a file if given, and return the trial's exit code."""
    show(rows)
    if output is not None:
        write(rows, output)
    return 0 if all(row.met for row in rows) else 1


def command(run: Callable[..., list[Row]], about: str | None, example: str, **options: str) -> None:
    """Run a trial with options from the command line; exits with 1 if a goal is missed.

    options: help texts of run()'s parameters that become options; run() has their defaults.
    """
    name = f"python -m bench.hardening.{Path(inspect.getfile(run)).stem}"
    parser = argparse.ArgumentParser(
        prog=name,
        description=(about or "").partition("\n")[0],
        epilog=f"example: {name} {example} --output runs/trial.json",
    )
    parameters = inspect.signature(run).parameters
    for option, meaning in options.items():
        default = parameters[option].default
        flag = isinstance(default, bool)
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            default=default,
            help=f"{meaning} (%(default)s)",
            **{"action": argparse.BooleanOptionalAction} if flag else {"type": type(default)},
        )
    parser.add_argument("--output", type=Path, help="write the rows to this file, as JSON")
    given = vars(parser.parse_args())
    output = given.pop("output")
    try:
        rows = run(**given)
    except SkipTest as reason:
        sys.exit(f"skipped: {reason}")
    sys.exit(finish(rows, output))
