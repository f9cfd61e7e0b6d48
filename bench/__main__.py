"""Compare the service with a tutorial-style service and with the cost of the inference alone."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from rich.progress import Progress

from bench import floor, report
from bench.frames import frame
from bench.load import post
from bench.servers import COMMANDS, BenchError, Server, running
from model.cascade import STAGES

SCENES = {
    "640x480, 1 face": (640, 480, 1),
    "640x480, 4 faces": (640, 480, 4),
    "640x480, 10 faces": (640, 480, 10),
    "1280x720, 1 face": (1280, 720, 1),
}
CLIENTS = (1, 4, 16)
DEFAULT_SERVERS = ("ours", "ours fast", "peer", "empty")
FEWEST = 16  # requests per run

Row = dict[str, Any]


def rounds(servers: Sequence[Server], count: int, seconds: float) -> list[Row]:
    """Measure every scene, number of clients and server in turn; count: number of rounds."""
    frames = {name: frame(*size) for name, size in SCENES.items()}
    cells = [(s, c, server) for s in SCENES for c in CLIENTS for server in servers]
    rows: list[Row] = []
    # Measured rates give the number of requests for runs of about the requested time.
    rates = {(s, v.name): post(v, frames[s], FEWEST, 1).requests_s for s in SCENES for v in servers}
    with Progress() as progress:
        task = progress.add_task("Rounds", total=count * len(cells))
        for index in range(count):
            for scene, clients, server in cells:
                wanted = max(FEWEST, clients, round(rates[scene, server.name] * seconds))
                load = post(server, frames[scene], wanted, clients)
                row: Row = {"round": index, "scene": scene, "clients": clients}
                rows.append(row | {"server": server.name} | vars(load))
                progress.advance(task)
            for scene in SCENES:
                for model in STAGES:
                    cpu = floor.cpu_ms(frames[scene], model)
                    row = {"round": index, "scene": scene, "clients": 0, "server": f"floor {model}"}
                    rows.append(row | {"cpu_ms": cpu})
    return rows


def medians(rows: Sequence[Row]) -> list[Row]:
    """Return each cell's median over the rounds, with the lowest and highest CPU time."""
    cells: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["scene"], row["clients"], row["server"]), []).append(row)
    table = []
    for (scene, clients, server), part in cells.items():
        cell: Row = {"scene": scene, "clients": clients, "server": server}
        for figure in ("requests_s", "p50_ms", "p99_ms", "cpu_ms"):
            values = [row[figure] for row in part if figure in row]
            if values:
                cell[figure] = round(statistics.median(values), 2)
        costs = [row["cpu_ms"] for row in part]
        cell["cpu_ms_spread"] = [round(min(costs), 2), round(max(costs), 2)]
        table.append(cell)
    return table


def measure(names: Sequence[str], count: int, seconds: float) -> Row:
    """Start all servers and measure them one at a time while the others are idle."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running(name, LOG_LEVEL="warning")) for name in names]
        rows = rounds(servers, count, seconds)
        about = {
            s.name: {
                "start_s": round(s.start_s, 2),
                "worker_mib": round(s.worker_mib(), 1),
                "total_mib": round(s.total_mib(), 1),
            }
            for s in servers
        }
    return {
        "machine": {"cpu": platform.processor(), "cores": len(psutil.Process().cpu_affinity())},
        "rounds": count,
        "servers": about,
        "medians": medians(rows),
        "rows": rows,
    }


def main() -> None:
    """Parse the command line, measure, print the table, write JSON and plots."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="Example: python -m bench --output runs/bench.json --servers ours peer",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/bench/bench.json"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="approximate time of one run")
    parser.add_argument("--servers", nargs="+", choices=COMMANDS, default=DEFAULT_SERVERS)
    args = parser.parse_args()
    try:
        result = measure(args.servers, args.rounds, args.seconds)
    except BenchError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; nothing was written.")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    plot = args.output.with_suffix(".png")
    report.plot(result["medians"], plot)
    print(report.table(result))
    print(f"Written: {args.output}, {plot}")


if __name__ == "__main__":
    main()
