"""Tell on the standard error how it goes: one line that is rewritten, or a line now and then."""

from __future__ import annotations

import shutil
import sys
import time

REWRITE_S = 0.2
SELDOM_S = 10.0
CLEAR = "\r\x1b[K"


class Progress:
    """A status line and notes; on a terminal the line is rewritten in place below the notes."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._due = time.monotonic() + (0 if self._terminal else SELDOM_S)
        self._line = ""

    def update(self, text: str) -> None:
        """Show a status, unless one was shown a moment ago."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (REWRITE_S if self._terminal else SELDOM_S)
        if self._terminal:
            self._line = text[: shutil.get_terminal_size().columns - 1]
            self._print(CLEAR + self._line, "")
        else:
            self._print(text, "\n")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._print(f"{CLEAR if self._line else ''}{text}\n{self._line}", "")

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._line:
            self._print("", "\n")
        self._line = ""

    def _print(self, text: str, end: str) -> None:
        print(text, end=end, file=sys.stderr, flush=True)
