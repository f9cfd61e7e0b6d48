"""What a trial found: one row for each goal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One goal of a trial, what was measured, and whether that meets it."""

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
    """Print the rows, write them where a file is given, and return the exit code of a trial."""
    show(rows)
    if output is not None:
        write(rows, output)
    return 0 if all(row.met for row in rows) else 1
