"""Prints plain lines, coloured on a terminal; progress goes to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from deploy.errors import DeployError

# They look up sys.stdout and sys.stderr at each line.
OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)


def say(line: str, style: str = "") -> None:
    """Print a line that is the command's result."""
    OUT.print(Text(line, style), soft_wrap=True)


def note(line: str, style: str = "") -> None:
    """Print a line about how it goes."""
    ERR.print(Text(line, style), soft_wrap=True)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something takes its time, and give what changes its words; silent in a pipe."""
    with ERR.status(Text(what)) as status:
        yield lambda words: status.update(Text(words))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before anything is written; raises DeployError when the answer is not yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise DeployError(
            "There is no terminal to ask on. Give --yes to go ahead without a question."
        )
    if OUT.input(Text(f"{question} [y/N] ")).strip().lower() not in {"y", "yes"}:
        raise DeployError("Nothing was changed.")
