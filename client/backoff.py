from __future__ import annotations

from collections.abc import Iterator

FIRST_S = 0.5
LONGEST_S = 10.0


def delays() -> Iterator[float]:
    """Yield the seconds to wait before each retry: 0.5, 1, 2, 4, 8, then always 10."""
    delay = FIRST_S
    while True:
        yield delay
        delay = min(delay * 2, LONGEST_S)
