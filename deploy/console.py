"""Print lines, coloured on a terminal; progress goes to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from deploy.errors import DeployError

# Both look up sys.stdout and sys.stderr for each line.
OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)


def say(line: str, style: str = "") -> None:
    """Print a line of the command's result."""
    OUT.print(Text(line, style), soft_wrap=True)


def note(line: str, style: str = "") -> None:
    """Print a line about the progress."""
    ERR.print(Text(line, style), soft_wrap=True)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """Show what the command waits for; yields a function that changes the text.

    Prints nothing in a pipe.
    """
    with ERR.status(Text(what)) as status:
        yield lambda words: status.update(Text(words))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before anything is written; raises DeployError if the answer is not yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise DeployError(
            "The command needs a confirmation, but there is no terminal. Use --yes to skip it."
        )
    if OUT.input(Text(f"{question} [y/N] ")).strip().lower() not in {"y", "yes"}:
        raise DeployError("Nothing was changed.")
