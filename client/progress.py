"""Show progress on standard error: a bar for each source, or a line from time to time."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from client import shown

SELDOM_S = 10.0
NAME = 24  # characters of a source's name beside its bar


class Progress:
    """The progress of each source, and notes; on a terminal, bars below the notes."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._due: list[float] = []
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        if sys.stderr.isatty():
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[status]}", markup=False),
                console=Console(stderr=True),
            )

    def add(self, name: str, total: int) -> int:
        """Start to show a source and return its number. total: its frames, 0 if unknown."""
        with self._lock:
            self._names.append(name := shown.plain(name))
            self._due.append(time.monotonic() + SELDOM_S)
            if self._bars:
                self._bars.start()
                short = name if len(name) <= NAME else f"…{name[1 - NAME :]}"
                return int(self._bars.add_task(short, total=total or None, status=""))
            return len(self._names) - 1

    def update(self, number: int, done: int, status: str, found: str) -> None:
        """Show a source's finished frames and status, and without bars its counts of faces."""
        if self._bars:
            self._bars.update(TaskID(number), completed=done, status=status)
            return
        now = time.monotonic()
        if now < self._due[number]:
            return
        self._due[number] = now + SELDOM_S
        name = f"{self._names[number]}: " if len(self._names) > 1 else ""
        self.note(f"{name}{done} frames  {found}  {status}")

    def note(self, text: str) -> None:
        """Print a line that stays; makes text from a server safe to print."""
        text = shown.plain(text)
        with suppress(OSError), self._lock:  # the terminal may be closed
            if self._bars:
                self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the bars and leave the cursor on a new line."""
        with suppress(OSError):
            if self._bars:
                self._bars.stop()
