"""Load the service with ten times the clients it has room for.

    python -m bench.hardening.overload --seconds 120

Accepted requests must be served in time; the others must be refused at once. First there are as
many clients as slots and queue places, so all are busy and no request is refused. Then there are
ten times as many, which retry a moment after a refusal. Then there is one.
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
GOAL = 3.0  # times the p99 with a full queue
AT_ONCE = 1.0  # times that p99; a faster refusal did not wait in the queue
RECOVERY_S = 5.0
AGAIN_S = 1.0  # as Retry-After says


@dataclass
class Seen:
    """The clients' results: times of answers and refusals in ms, and number of each outcome."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def p99(self, which: str) -> float:
        """Return the p99 in ms; which: "accepted" or "refused". Returns 0 if there are none."""
        values = getattr(self, which)
        return float(np.quantile(values, 0.99)) if values else 0.0


def load(port: int, clients: int, seconds: float) -> Seen:
    """Send requests from clients without pause; a refused client waits as Retry-After says."""
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
    """Return the seconds until three answers in a row take at most typical_ms each."""
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
    """Load the service; times: clients as a multiple of what it has room for."""
    room = SLOTS + QUEUE
    with running(INFERENCE_SLOTS=str(SLOTS), QUEUE_SIZE=str(QUEUE), LOG_LEVEL="error") as server:
        worker = server.worker()
        load(server.port, room, 1)  # warm-up
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
            f"accepted p99 <= {GOAL:g} x that with a full queue",
            f"{most:.0f} -> {over.p99('accepted'):.0f} ms",
            0 < over.p99("accepted") <= GOAL * most,
        ),
        Row(
            test,
            "the others are refused with 503 at once",
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
        Row(test, "the worker is not replaced", "yes" if same else "no", same),
    ]


if __name__ == "__main__":
    command(run, __doc__, "--seconds 30", seconds="duration of the overload")
