"""What a command changes: said one by one, and done only where writing is on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from deploy.console import say

Action = Literal["create", "change", "delete"]
SIGNS: dict[Action, str] = {"create": "+", "change": "~", "delete": "-"}
STYLES: dict[Action, str] = {"create": "green", "change": "yellow", "delete": "red"}

DONE: dict[Action, str] = {"create": "created", "change": "changed", "delete": "deleted"}


@dataclass(frozen=True)
class Change:
    """One difference between what is wanted and what is there."""

    action: Action
    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        tail = f"  {self.detail}" if self.detail else ""
        return f"  {SIGNS[self.action]} {self.action} {self.kind:<18} {self.name}{tail}"


class Changes:
    """The differences found so far; with `write` each is made as it is found.

    A plan is the same walk with writing off: what would be made has no id then, and is None.
    quiet: says nothing of what is part of another change.
    """

    def __init__(self, *, write: bool, quiet: bool = False) -> None:
        self.write = write
        self._quiet = quiet
        self.made: list[Change] = []

    def create(self, kind: str, name: str, call: Callable[[], Any], detail: str = "") -> Any:
        """Create something and return what AWS answered, None in a plan."""
        return self._make(Change("create", kind, name, detail), call)

    def change(self, kind: str, name: str, call: Callable[[], Any], detail: str = "") -> Any:
        """Change something and return what AWS answered, None in a plan."""
        return self._make(Change("change", kind, name, detail), call)

    def delete(self, kind: str, name: str, call: Callable[[], Any], detail: str = "") -> Any:
        """Delete something and return what AWS answered, None in a plan."""
        return self._make(Change("delete", kind, name, detail), call)

    def _make(self, change: Change, call: Callable[[], Any]) -> Any:
        self.made.append(change)
        if not self._quiet:
            say(str(change), STYLES[change.action])
        return call() if self.write else None

    @property
    def summary(self) -> str:
        """Count the changes by what they do."""
        count = Counter(change.action for change in self.made)
        return ", ".join(
            f"{count[action]} {done if self.write else f'to {action}'}"
            for action, done in DONE.items()
        )
