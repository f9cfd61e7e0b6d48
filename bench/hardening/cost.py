"""Search for the requests that cost the service the most CPU time and memory.

    python -m bench.hardening.cost --minutes 10 --output runs/hardening/cost.json

Recipes are mutated, sent one at a time to the real service, and kept if they cost more than the
others of their kind. An interrupted run continues from its output. Delete the output if the service
has changed, because its costs are not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.hardening.recipes import (
    DEFAULTS,
    SEEDS,
    Recipe,
    Sent,
    build,
    mutated,
    recipe_of,
    text_of,
)
from bench.hardening.rows import Row, show
from bench.hardening.wire import connect
from bench.servers import OURS, running, wait_until_ready

MINUTES = 60.0
MOST_CPU_S = 1.0  # the goal for one request
STOP_AT_S = 20.0  # CPU time after which the worker is killed; the input costs at least this
PATIENCE_S = 90.0  # wait for an answer, even on a busy machine
REST_S, RESTS = 0.05, 0.002  # a worker is idle if it uses less CPU time than RESTS in REST_S
KEPT_MB = 100.0  # a worker that keeps more memory would hide the next input's peak
KEEP = 3  # inputs kept for each kind and aim
MB = 1_000_000


@dataclass(frozen=True)
class Cost:
    """The cost of one input for the worker.

    cpu_s: CPU seconds of all its threads. peak_mb, kept_mb: increase of memory at its peak during
    the request, and after it. status: of the first answer; "killed" if the worker was killed after
    STOP_AT_S, "ended" if it exited by itself.
    """

    cpu_s: float
    size: int
    peak_mb: float
    kept_mb: float
    status: str

    @property
    def cpu_s_per_kb(self) -> float:
        """CPU seconds per 1000 bytes sent."""
        return self.cpu_s / self.size * 1000


AIMS: dict[str, Callable[[Cost], float]] = {
    "cpu_s": lambda cost: cost.cpu_s,
    "cpu_s_per_kb": lambda cost: cost.cpu_s_per_kb,
    "peak_mb": lambda cost: cost.peak_mb,
}


@dataclass(frozen=True)
class Found:
    """A recipe, its cost, and the number of the try."""

    recipe: Recipe
    cost: Cost
    number: int

    @property
    def kind(self) -> tuple[int | str, ...]:
        """Inputs compete only within their kind, so that one costly kind does not replace all."""
        genes = {**DEFAULTS, **self.recipe}
        return genes["way"], genes["format"], genes["detector"] == "haar"


@dataclass
class Population:
    """The inputs found so far. statuses: number of tries by status."""

    seed: int = 1
    tries: int = 0
    minutes: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)

    def is_record(self, new: Found) -> bool:
        """Return whether an input costs more than all others, by any aim."""
        return any(
            aim(new.cost) > max((aim(each.cost) for each in self.found), default=0.0)
            for aim in AIMS.values()
        )

    def add(self, new: Found) -> None:
        """Add an input, and drop those that are no longer among the costliest."""
        best = [each for some in self._best([new, *self.found]) for each in some]
        self.found = [each for each in (*self.found, new) if each in best]

    def _best(self, found: Sequence[Found]) -> list[list[Found]]:
        kinds: dict[tuple[int | str, ...], list[Found]] = {}
        for each in found:
            kinds.setdefault(each.kind, []).append(each)
        return [
            sorted(some, key=lambda each: aim(each.cost), reverse=True)[:KEEP]
            for some in kinds.values()
            for aim in AIMS.values()
        ]

    def dearest(self, aim: str, count: int = 1) -> list[Found]:
        """Return the inputs that cost the most by an aim."""
        return sorted(self.found, key=lambda each: AIMS[aim](each.cost), reverse=True)[:count]

    def write(self, path: Path) -> None:
        """Write the population to a JSON file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".part")  # so that an interruption leaves the old file intact
        scratch.write_text(json.dumps(asdict(self), indent=1) + "\n")
        scratch.replace(path)

    @classmethod
    def read(cls, path: Path) -> Population:
        """Read a file written by write()."""
        data = json.loads(path.read_text())
        found = [
            Found(each["recipe"], Cost(**each["cost"]), each["number"])
            for each in data.pop("found")
        ]
        return cls(**data, found=found)


class Meter:
    """Runs a service and measures its worker."""

    def __init__(self, *, stop_at_s: float = STOP_AT_S, prefix: Sequence[str] = ()) -> None:
        self._stop_at_s = stop_at_s
        self._starting = running(command=(*prefix, *OURS), LOG_LEVEL="error")
        self.ended = 0

    def __enter__(self) -> Self:
        self._server = self._starting.__enter__()
        self._worker = self._working()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(psutil.Error):
            self._worker.kill()  # its current request no longer matters
        self._starting.__exit__(kind, error, trace)

    def cost(self, recipe: Recipe) -> Cost:
        """Send an input and return its cost."""
        sent = build(recipe)
        before, began = self._rss(), self._at_rest()
        self._proc("clear_refs").write_text("5")  # resets VmHWM
        statuses: list[str] = []
        args = (self._server.url, sent, statuses, self._at_rest)
        sender = threading.Thread(target=exchange, args=args, daemon=True)
        sender.start()
        spent, end = 0.0, time.monotonic() + 2 * PATIENCE_S
        try:
            while sender.is_alive() and spent < self._stop_at_s and time.monotonic() < end:
                sender.join(0.02)
                spent = self._cpu() - began
            if sender.is_alive():
                statuses[:] = ["killed"]
            else:
                spent = self._at_rest() - began
            peak, after = self._peak(), self._rss()
        except (OSError, psutil.Error):  # the process has exited
            statuses[:] = ["ended"]
            peak = after = before
            self.ended += 1
        if statuses in (["killed"], ["ended"]) or after - before > KEPT_MB:
            self._renew()
            sender.join()
        status = statuses[0] if statuses else "closed"
        return Cost(round(spent, 4), sent.size, peak - before, after - before, status)

    def _renew(self) -> None:
        with suppress(psutil.Error):
            self._worker.kill()
            self._worker.wait()
        wait_until_ready(self._server)
        self._worker = self._working()

    def _working(self) -> psutil.Process:
        worker = self._server.worker()
        if worker is None:
            raise RuntimeError("the service has no worker")
        return worker

    def _cpu(self) -> float:
        # The CPU clock of another process, with the id of clock_getcpuclockid(3).
        return time.clock_gettime((~self._worker.pid << 3) | 2)

    def _at_rest(self) -> float:
        """Wait until the worker is idle, and return its CPU time."""
        now = self._cpu()
        while True:
            last = now
            time.sleep(REST_S)
            now = self._cpu()
            if now - last < RESTS:
                return now

    def _rss(self) -> float:
        return float(self._worker.memory_info().rss / MB)

    def _peak(self) -> float:
        lines = self._proc("status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmHWM"))

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self._worker.pid}/{name}")


def exchange(
    url: str,
    sent: Sent,
    statuses: list[str],
    rest: Callable[[], object],
    source: str = "",
) -> None:
    """Send an input over one connection, and record the status of the first answer.

    rest: called to wait after each part of a stream. source: the client's address.
    """
    # The input may be refused before it is sent completely, and the worker may exit.
    with suppress(OSError), connect(url, timeout_s=PATIENCE_S, source=source) as sock:
        listener = threading.Thread(target=listen, args=(sock, statuses), daemon=True)
        listener.start()
        with suppress(OSError, psutil.Error):
            for number, part in enumerate(sent.parts):
                sock.sendall(part)
                if sent.stream:
                    rest() if number else wait_for(statuses)
            sock.shutdown(socket.SHUT_RDWR if sent.stream else socket.SHUT_WR)
        listener.join()


def listen(sock: socket.socket, statuses: list[str]) -> None:
    """Read all answers and keep the first status."""
    with suppress(OSError):
        while data := sock.recv(1 << 20):
            if not statuses and data.startswith(b"HTTP/1.1 "):
                statuses.append(data[9:12].decode())


def wait_for(statuses: list[str]) -> None:
    """Wait for the first answer."""
    end = time.monotonic() + PATIENCE_S
    while not statuses and time.monotonic() < end:
        time.sleep(0.005)


def search(  # noqa: PLR0913
    measure: Callable[[Recipe], Cost],
    population: Population,
    seeds: Mapping[str, Recipe] = SEEDS,
    *,
    minutes: float = MINUTES,
    tries: int | None = None,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Measure the seeds, then mutations of the costliest inputs, for some minutes or tries.

    after: called after each try.
    """
    waiting = list(seeds.values()) if not population.tries else []
    began, before, first = time.monotonic(), population.minutes, population.tries
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Search", total=tries or minutes)
        while (spent := (time.monotonic() - began) / 60) < minutes:
            if tries is not None and population.tries - first >= tries:
                break
            chance = f"{population.seed} {population.tries}"
            rng = random.Random(chance)  # noqa: S311 (the same each time)
            recipe = waiting.pop(0) if waiting else mutant(rng, population)
            found = Found(recipe, measure(recipe), population.tries)
            if population.is_record(found):
                again = measure(recipe)  # the high cost may have been chance
                found = Found(
                    recipe, min(found.cost, again, key=lambda cost: cost.cpu_s), found.number
                )
            population.add(found)
            population.tries += 1
            population.minutes = before + (time.monotonic() - began) / 60
            status = found.cost.status
            population.statuses[status] = population.statuses.get(status, 0) + 1
            best = population.dearest("cpu_s")[0].cost.cpu_s
            done = population.tries - first if tries else spent
            bar.update(task, completed=done, description=f"{population.tries} tries, {best:.2f} s")
            after()


def mutant(rng: random.Random, population: Population) -> Recipe:
    """Return a mutation: half of the time of one of the costliest inputs, else of a random kind."""
    kinds = sorted({each.kind for each in population.found}, key=str)
    kind = rng.choice(kinds)
    some = [each for each in population.found if each.kind == kind]
    if rng.random() < 0.5:
        some = population.dearest(rng.choice(tuple(AIMS)), 10)
    return mutated(rng, rng.choice(some).recipe, rng.choice(population.found).recipe)


def rows(population: Population) -> list[Row]:
    """Return the results as rows of a table."""
    test = f"{population.tries:,} costly inputs, {population.minutes:.0f} minutes"
    dearest = population.dearest("cpu_s")[0]
    ended = population.statuses.get("ended", 0)
    return [
        Row(
            test,
            f"CPU time of the costliest request <= {MOST_CPU_S:g} s",
            f"{dearest.cost.cpu_s:.2f} s ({text_of(dearest.recipe)})",
            dearest.cost.cpu_s <= MOST_CPU_S,
        ),
        Row(test, "0 worker crashes", str(ended), not ended),
    ]


def show_dearest(population: Population, count: int = 8) -> None:
    """Print the costliest inputs by each aim."""
    table = Table(
        "costliest by", "CPU s", "bytes", "CPU s/kB", "peak MB", "kept MB", "status", "recipe"
    )
    for aim in AIMS:
        for each in population.dearest(aim, count):
            cost = each.cost
            table.add_row(
                *(aim, f"{cost.cpu_s:.3f}", f"{cost.size:,}", f"{cost.cpu_s_per_kb:.4f}"),
                *(
                    f"{cost.peak_mb:.0f}",
                    f"{cost.kept_mb:.0f}",
                    cost.status,
                    text_of(each.recipe) or "(a small JPEG)",
                ),
            )
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def run(
    minutes: float = MINUTES,
    tries: int | None = None,
    seed: int = 1,
    output: Path | None = None,
    stop_at_s: float = STOP_AT_S,
) -> Population:
    """Start a service and search.

    Continues an interrupted search in output; a completed one is started again.
    """
    population = Population(seed)
    if output is not None and output.exists():
        population = Population.read(output)
        if population.seed != seed:
            raise ValueError(
                f"{output} holds a search with seed {population.seed}, not {seed}; "
                "use that seed or another output"
            )
        if population.minutes > 0.99 * minutes:
            population = Population(seed)
    with suppress(KeyboardInterrupt), Meter(stop_at_s=stop_at_s) as meter:
        search(
            *(meter.cost, population),
            minutes=minutes - population.minutes,
            tries=tries,
            after=lambda: population.write(output) if output is not None else None,
        )
    return population


def main() -> int:
    """Parse the command line, search, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hardening.cost",
        description=(__doc__ or "").partition("\n")[0],
        epilog="example: python -m bench.hardening.cost --minutes 10 --output runs/cost.json",
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="duration (%(default)s)")
    parser.add_argument("--tries", type=int, help="stop after this many inputs")
    parser.add_argument("--seed", type=int, default=1, help="random seed (%(default)s)")
    parser.add_argument(
        "--stop-at",
        type=float,
        default=STOP_AT_S,
        help="kill the worker after this many CPU seconds (%(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, help="JSON file; an interrupted search in it continues"
    )
    parser.add_argument(
        "--recipe", help="measure only this recipe, such as 'format=webp detector=haar'"
    )
    args = parser.parse_args()
    try:
        if args.recipe is not None:
            recipe = recipe_of(args.recipe)
            with Meter(stop_at_s=args.stop_at) as meter:
                print(meter.cost(recipe))
            return 0
        population = run(args.minutes, args.tries, args.seed, args.output, args.stop_at)
    except ValueError as error:
        parser.error(str(error))
    show_dearest(population)
    found = rows(population)
    show(found)
    return 0 if all(row.met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
