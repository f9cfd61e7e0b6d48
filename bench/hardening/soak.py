"""Send valid and invalid requests for an hour, and watch the worker's memory and resources."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
import psutil
import requests
from rich.progress import Progress

from bench.frames import frame
from bench.hardening.rows import Row, finish
from bench.hardening.visitor import JPEG, TIMEOUT_S, Visitor
from bench.servers import running

REQUESTS, MOST_S = 200_000, 3600.0
CLIENTS = 4
LOOK_S = 5.0
WARM_UP = 0.2  # share of the run in which caches fill and the heap grows to its size
MOST_MB_HOUR = 2.0


@dataclass(frozen=True)
class Look:
    """The worker's resources at one moment; MB are 10^6 bytes."""

    at_s: float
    requests: int
    rss_mb: float
    pss_mb: float
    descriptors: int
    threads: int


@dataclass
class Soaked:
    """The results: measurements ("looks") during the run, idle before and after, and outcomes."""

    seconds: float = 0
    requests: int = 0
    ended_by: str = ""
    looks: list[Look] = field(default_factory=list)
    before: Look | None = None
    after: Look | None = None
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def settled(self) -> list[Look]:
        """The looks after the warm-up."""
        return [look for look in self.looks if look.at_s >= WARM_UP * self.seconds]

    def slope(self) -> tuple[float, float]:
        """Return the PSS growth in MB per hour (least-squares line) and its standard error."""
        hours = np.array([look.at_s for look in self.settled]) / 3600
        memory = np.array([look.pss_mb for look in self.settled])
        if len(hours) < 3:
            return float("nan"), float("inf")
        away = hours - hours.mean()
        slope = float((away * memory).sum() / (away**2).sum())
        rest = memory - memory.mean() - slope * away
        error = float(np.sqrt((rest**2).sum() / (len(hours) - 2) / (away**2).sum()))
        return slope, error

    def growth_mb(self) -> float:
        """Return the median PSS of the last quarter of the settled looks minus the first's."""
        memory = [look.pss_mb for look in self.settled]
        quarter = max(1, len(memory) // 4)
        return float(np.median(memory[-quarter:]) - np.median(memory[:quarter]))


def look(worker: psutil.Process, began: float, count: int) -> Look:
    """Measure the worker."""
    memory = worker.memory_full_info()
    return Look(
        round(time.monotonic() - began, 1),
        count,
        round(memory.rss / 1e6, 2),
        round(memory.pss / 1e6, 2),
        worker.num_fds(),
        worker.num_threads(),
    )


def at_rest(worker: psutil.Process, began: float, count: int) -> Look:
    """Measure the worker once it has closed abandoned connections."""
    least = look(worker, began, count)
    for _ in range(40):
        time.sleep(0.5)
        now = look(worker, began, count)
        if (now.descriptors, now.threads) == (least.descriptors, least.threads):
            break
        least = now
    return least


def run(  # noqa: C901 (client and watcher)
    requests_: int = REQUESTS, seconds: float = MOST_S, look_s: float = LOOK_S
) -> Soaked:
    """Start a service and send requests until their number or the time is reached."""
    soaked = Soaked()
    with running(LOG_LEVEL="warning") as server, Progress(disable=not sys.stderr.isatty()) as bar:
        url, worker = server.url, server.worker()
        if worker is None:
            raise RuntimeError("the service has no worker")
        began, stop, lock = time.monotonic(), threading.Event(), threading.Lock()
        task = bar.add_task("Requests", total=requests_)

        def work(seed: int) -> None:
            visitor = Visitor(url, seed)
            while not stop.is_set():
                with lock:
                    if soaked.requests >= requests_:
                        break
                    soaked.requests += 1
                try:
                    came = visitor.visit()
                except Exception as error:  # noqa: BLE001 (all are counted)
                    came = "failed"
                    soaked.failures.append(f"{type(error).__name__}: {error}"[:300])
                with lock:
                    soaked.answers[came] += 1
                bar.advance(task)
            visitor.close()

        def together(clients: int) -> None:
            threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
            for thread in threads:
                thread.start()
            due = time.monotonic()
            try:
                while any(thread.is_alive() for thread in threads):
                    time.sleep(0.1)
                    if time.monotonic() >= due:
                        due += look_s
                        soaked.looks.append(look(worker, began, soaked.requests))
                    if time.monotonic() - began > seconds:
                        stop.set()
            except KeyboardInterrupt:
                stop.set()
            for thread in threads:
                thread.join()

        # The worker starts threads when they are first needed; that does not count as growth.
        warm(url)
        soaked.before = at_rest(worker, began, 0)
        began = time.monotonic()
        together(CLIENTS)
        soaked.seconds = round(time.monotonic() - began, 1)
        soaked.ended_by = "requests" if soaked.requests >= requests_ else "time"
        soaked.after = at_rest(worker, began, soaked.requests)
        if server.worker() != worker:
            soaked.failures.append("the worker was replaced")
    if server.process.returncode != 0 or "was sent SIG" in server.said():
        soaked.failures.append("the service did not stop cleanly")
    return soaked


def warm(url: str) -> None:
    """Send requests from more clients at once than the worker has threads."""
    data = frame(320, 240, 1)

    def ask() -> None:
        for _ in range(5):
            requests.post(f"{url}/predict", data, headers=JPEG, timeout=TIMEOUT_S)

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows(soaked: Soaked) -> list[Row]:
    """Return the results as rows of a table."""
    if soaked.before is None or soaked.after is None:
        raise ValueError("the soak did not run to its end")
    before, after = soaked.before, soaked.after
    test = (
        f"soak, {soaked.requests:,} requests in {soaked.seconds:,.0f} s, ended by {soaked.ended_by}"
    )
    slope, error = soaked.slope()
    memory = (
        f"{slope:+.1f} ± {2 * error:.1f} MB/h; over the run {soaked.growth_mb():+.1f} MB "
        f"(PSS at rest {before.pss_mb:.0f}, then {after.pss_mb:.0f} MB)"
    )
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(soaked.answers.items()))
    return [
        Row(test, f"memory <= {MOST_MB_HOUR:g} MB/h per worker", memory, slope <= MOST_MB_HOUR),
        Row(
            test,
            "no growth of descriptors",
            f"{before.descriptors} -> {after.descriptors}",
            after.descriptors <= before.descriptors,
        ),
        Row(
            test,
            "no growth of threads",
            f"{before.threads} -> {after.threads}",
            after.threads <= before.threads,
        ),
        Row(test, "0 failures", f"{len(soaked.failures)} ({kinds})", not soaked.failures),
    ]


def plot(soaked: Soaked, path: Path) -> None:
    """Plot memory, descriptors and threads over time."""
    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 (after the choice of the backend)

    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    minutes = [each.at_s / 60 for each in soaked.looks]
    for name, label in (("rss_mb", "RSS"), ("pss_mb", "PSS")):
        axes[0].plot(minutes, [getattr(each, name) for each in soaked.looks], label=label)
    axes[0].axvspan(0, WARM_UP * soaked.seconds / 60, alpha=0.1, label="warm-up")
    axes[0].set(xlabel="minutes", ylabel="MB of the worker", ylim=(0, None))
    for name in ("descriptors", "threads"):
        axes[1].plot(minutes, [getattr(each, name) for each in soaked.looks], label=name)
    axes[1].set(xlabel="minutes", ylim=(0, None))
    for axis in axes:
        axis.legend()
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def report(soaked: Soaked, output: Path | None) -> int:
    """Print failures and the table, write JSON and the plot; return the exit code."""
    for failure, count in Counter(soaked.failures).most_common(10):
        print(f"{count} times: {failure}")
    found: Sequence[Row] = rows(soaked)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".details.json").write_text(
            json.dumps(vars(soaked), default=vars) + "\n"
        )
        plot(soaked, output.with_suffix(".png"))
    return finish(found, output)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hardening.soak",
        description=__doc__,
        epilog="Example: python -m bench.hardening.soak --seconds 180 --output runs/soak.json",
    )
    parser.add_argument("--requests", type=int, default=REQUESTS, help="limit (%(default)s)")
    parser.add_argument("--seconds", type=float, default=MOST_S, help="limit (%(default)s)")
    parser.add_argument("--output", type=Path, help="write rows to this JSON file, and a plot")
    args = parser.parse_args()
    sys.exit(report(run(args.requests, args.seconds), args.output))


if __name__ == "__main__":
    main()
