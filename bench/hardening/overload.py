"""Ten times the clients that there is room for: who is let in is served, the rest told at once.

    python -m bench.hardening.overload --seconds 120

At first as many clients ask as there are slots and places in the queue, which are all busy then and
nobody is refused; then ten times as many, who ask again a moment after a refusal; then one.
"""

from __future__ import annotations

import http.client
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from bench.hardening.load import Outcome, ask, together
from bench.hardening.rows import Row, command
from bench.servers import running

SLOTS, QUEUE = 2, 8
TIMES = 10
GOAL = 3.0  # times the p99 of a full queue
AT_ONCE = 1.0  # times that p99: a refusal has not waited in the queue
RECOVERY_S = 5.0
AGAIN_S = 1.0  # as Retry-After says


@dataclass
class Seen:
    """What clients saw: the ms of answers and of refusals, and how many of each outcome."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def p99(self, which: str) -> float:
        """Return the p99 in ms of what is called accepted or refused; 0 where there is none."""
        values = getattr(self, which)
        return float(np.quantile(values, 0.99)) if values else 0.0


def load(port: int, clients: int, seconds: float) -> Seen:
    """Let so many clients ask without pause; who is refused waits as long as it is told to."""
    seen = Seen()
    end = time.monotonic() + seconds

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            begin = time.monotonic()
            outcome, keeps = ask(connection)
            took = (time.monotonic() - begin) * 1e3
            seen.outcomes[outcome.name.lower()] += 1
            if outcome is Outcome.ANSWERED:
                seen.accepted.append(took)
            elif outcome is Outcome.BUSY:
                seen.refused.append(took)
                time.sleep(AGAIN_S)
            if not keeps:
                connection.close()
        connection.close()

    together([work] * clients)
    return seen


def recovery(port: int, typical_ms: float) -> float:
    """Return the seconds until three answers in a row take no longer than they did with a queue."""
    begin = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    good = 0
    while good < 3 and time.monotonic() < begin + 60:
        asked = time.monotonic()
        outcome, keeps = ask(connection)
        fast = (time.monotonic() - asked) * 1e3 <= typical_ms
        good = good + 1 if outcome is Outcome.ANSWERED and fast else 0
        if not keeps:
            connection.close()
    connection.close()
    return time.monotonic() - begin if good == 3 else float("inf")


def run(seconds: float = 120, times: int = TIMES) -> list[Row]:
    """Load the service for so long with so many times the clients that it has room for."""
    room = SLOTS + QUEUE
    with running(INFERENCE_SLOTS=str(SLOTS), QUEUE_SIZE=str(QUEUE), LOG_LEVEL="error") as server:
        worker = server.worker()
        load(server.port, room, 1)  # to warm it
        full = load(server.port, room, max(2.0, seconds / 6))
        over = load(server.port, times * room, seconds)
        back_s = recovery(server.port, full.p99("accepted"))
        same = worker is not None and server.worker() == worker
    test = f"overload, {times} x {room} clients for {seconds:g} s"
    most = full.p99("accepted")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(over.outcomes.items()))
    return [
        Row(
            test,
            f"accepted p99 <= {GOAL:g} x that of a full queue",
            f"{most:.0f} -> {over.p99('accepted'):.0f} ms",
            0 < over.p99("accepted") <= GOAL * most,
        ),
        Row(
            test,
            "the rest is told 503 at once",
            f"p99 of refusals {over.p99('refused'):.0f} ms",
            bool(over.refused) and over.p99("refused") <= AT_ONCE * most,
        ),
        Row(
            test,
            "no other outcome",
            kinds,
            set(over.outcomes) <= {"answered", "busy"} and over.outcomes["answered"] > 0,
        ),
        Row(test, f"recovers within {RECOVERY_S:g} s", f"{back_s:.1f} s", back_s <= RECOVERY_S),
        Row(test, "the worker is the same", "yes" if same else "no", same),
    ]


if __name__ == "__main__":
    command(run, __doc__, "--seconds 30", seconds="of overload")
