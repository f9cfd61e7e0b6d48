"""Measure honest clients while another sends the costliest inputs at its rate limit.

    python -m bench.hardening.fairness --seconds 180

The inputs are those that `bench.hardening.cost` found, or its seeds if its file is missing. Each
client has its own loopback address, so that the service limits them separately.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from bench.hardening.cost import Population, exchange
from bench.hardening.load import Outcome, ask
from bench.hardening.recipes import SEEDS, Sent, build
from bench.hardening.rows import Row, command
from bench.servers import ROOT, Server, running

FOUND = ROOT / "runs" / "hardening" / "cost.json"
EACH = 5  # number of inputs, by CPU time and by CPU time per kB
RATE = 5  # requests per second allowed per client
HONEST, PAUSE_S = 3, 0.25
AT_ONCE = 32  # requests of the attacker
SETTLE_S = 1.0
MOST_TIMES = 4.0
MOST_CPU_S_PER_KB = 0.05


@dataclass
class Window:
    """Results of honest clients during an interval, and the service's CPU seconds in it.

    took_ms: time of each request; infinite if it was not answered with 200.
    """

    took_ms: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    seconds: float = 0.0

    @property
    def p99(self) -> float:
        """The p99 in ms; infinite if more than one request in a hundred was not answered."""
        return float(np.quantile(self.took_ms, 0.99, method="higher"))


@dataclass
class Attack:
    """The bytes that the attacker sent, and the number of answers by status."""

    size: int = 0
    statuses: Counter[str] = field(default_factory=Counter)


def cpu(server: Server) -> float:
    """Return the CPU seconds of the service, including those of workers that have exited."""
    times = psutil.Process(server.process.pid).cpu_times()
    now = times.children_user + times.children_system
    worker = server.worker()
    return now + (sum(worker.cpu_times()[:2]) if worker else 0.0)


def honest(server: Server, seconds: float) -> Window:
    """Send requests from honest clients, each below its rate limit."""
    window = Window()
    end = time.monotonic() + seconds

    def work(address: str) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=60, source_address=(address, 0)
        )
        while time.monotonic() < end:
            begin = time.monotonic()
            outcome, keeps = ask(connection)
            window.outcomes[outcome.name.lower()] += 1
            took = time.monotonic() - begin if outcome is Outcome.ANSWERED else float("inf")
            window.took_ms.append(took * 1e3)
            if not keeps:
                connection.close()
            time.sleep(max(0.0, begin + PAUSE_S - time.monotonic()))
        connection.close()

    before, began = cpu(server), time.monotonic()
    with ThreadPoolExecutor(HONEST) as pool:
        for future in [pool.submit(work, f"127.0.0.{n + 3}") for n in range(HONEST)]:
            future.result()
    window.cpu_s, window.seconds = cpu(server) - before, time.monotonic() - began
    return window


@contextmanager
def attacked(server: Server, inputs: Sequence[Sent]) -> Iterator[Attack]:
    """Send the inputs in turn from one client, RATE per second, until the block ends."""
    attack, stop = Attack(), threading.Event()
    room = threading.Semaphore(AT_ONCE)

    def send(sent: Sent) -> None:
        statuses: list[str] = []
        exchange(server.url, sent, statuses, lambda: stop.wait(SETTLE_S), "127.0.0.2")
        attack.statuses[statuses[0] if statuses else "closed"] += 1
        room.release()

    def pace() -> None:
        for sent in itertools.cycle(inputs):
            if stop.wait(1 / RATE):
                return
            if room.acquire(timeout=1 / RATE):
                attack.size += sent.size
                threading.Thread(target=send, args=(sent,), daemon=True).start()

    pacer = threading.Thread(target=pace, daemon=True)
    pacer.start()
    try:
        yield attack
    finally:
        stop.set()
        pacer.join()


def dearest(found: Path, aim: str) -> list[Sent]:
    """Return the costliest inputs that a search found, or its seeds if there was no search."""
    if found.exists():
        return [build(each.recipe) for each in Population.read(found).dearest(aim, EACH)]
    return [build(recipe) for recipe in SEEDS.values()]


def run(seconds: float = 180, found: Path = FOUND) -> list[Row]:
    """Measure honest clients alone for a third of the time, then with the attacker.

    The attacker sends the inputs that cost the most CPU time, then those that cost the most per kB.
    """
    kinds = {
        "CPU time": dearest(found, "cpu_s"),
        "CPU time by size": dearest(found, "cpu_s_per_kb"),
    }
    each_s = seconds / 3
    rows = []
    with running(RATE_LIMIT=str(RATE), LOG_LEVEL="error") as server:
        honest(server, 2)  # warm-up
        alone = honest(server, each_s)
        for kind, inputs in kinds.items():
            with attacked(server, inputs) as attack:
                beside = honest(server, each_s)
            test = f"{len(inputs)} costliest inputs by {kind}, {RATE} per second, {each_s:g} s"
            rows += compared(test, alone, beside, attack)
    return rows


def compared(test: str, alone: Window, beside: Window, attack: Attack) -> list[Row]:
    """Return the effect of an attack on honest clients, as rows of a table."""
    other = {name: count for name, count in beside.outcomes.items() if name != "answered"}
    times = beside.p99 / alone.p99
    seconds, kb = beside.seconds, attack.size / 1000  # the last answers may be late
    spent = beside.cpu_s - alone.cpu_s / alone.seconds * seconds
    statuses = ", ".join(f"{count} x {name}" for name, count in sorted(attack.statuses.items()))
    return [
        Row(
            test,
            f"honest p99 <= {MOST_TIMES:g} x that without the attacker",
            f"{alone.p99:.0f} -> {beside.p99:.0f} ms, x {times:.2f}",
            times <= MOST_TIMES,
        ),
        Row(
            test,
            "all honest requests are answered",
            f"{beside.outcomes['answered']} answered, others {other or 'none'}",
            beside.outcomes["answered"] > 0 and not other,
        ),
        Row(
            test,
            f"CPU time per kB that the attacker sends <= {MOST_CPU_S_PER_KB:g} s",
            f"{spent / kb:.4f} s ({spent / seconds:.2f} cores, {kb / seconds:.1f} kB/s; "
            f"answers: {statuses})",
            spent / kb <= MOST_CPU_S_PER_KB,
        ),
    ]


if __name__ == "__main__":
    command(
        run,
        __doc__,
        "--seconds 60",
        seconds="duration; a third of it is without the attacker",
        found="file of inputs written by bench.hardening.cost",
    )
