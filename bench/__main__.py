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
from bench.frames import frame, scenes
from bench.load import faces_found, post
from bench.servers import COMMANDS, BenchError, Server, running
from model.cascade import STAGES

# Few scenes have exactly ten faces.
SCENES = {"1 face": range(1, 2), "4 faces": range(4, 5), "10 faces": range(9, 13)}
DATA = Path("../shared/data")
CLIENTS = (1, 4, 16)
DEFAULT_SERVERS = ("ours", "ours fast", "peer", "empty")
FEWEST = 16  # requests per run
MEASURED = ("requests_s", "p50_ms", "p99_ms", "cpu_ms", "main_ms", "switches", "faults", "faces")
FIGURES = (*MEASURED, *(f"{part}_ms" for part in (*floor.STAGES, "rest")))

Row = dict[str, Any]
Frames = dict[str, list[bytes]]


def frames_in(data: Path) -> tuple[Frames, str]:
    """Return the frames of each scene and their origin: scenes in a folder, or drawn ones."""
    frames = {name: scenes(data, faces) for name, faces in SCENES.items()}
    origin = f"scenes of {data}, by the number of faces that people annotated"
    if not all(frames.values()):
        frames = {name: [frame(640, 480, int(name.split()[0]))] for name in SCENES}
        origin = f"drawn, 640 x 480 pixels, because {data} has no scenes"
    return frames | {"1280x720, 1 face": [frame(1280, 720, 1)]}, origin


def rounds(servers: Sequence[Server], frames: Frames, count: int, seconds: float) -> list[Row]:
    """Measure every scene, number of clients and server in turn; count: number of rounds."""
    cells = [(s, c, server) for s in frames for c in CLIENTS for server in servers]
    rows: list[Row] = []
    # Measured rates give the number of requests for runs of about the requested time.
    first = {(s, v.name): post(v, frames[s], FEWEST, 1) for s in frames for v in servers}
    found = {(s, v.name): faces_found(v, frames[s]) for s in frames for v in servers}
    with Progress() as progress:
        task = progress.add_task("Rounds", total=count * len(cells))
        for index in range(count):
            for scene, clients, server in cells:
                wanted = max(FEWEST, clients, round(first[scene, server.name].requests_s * seconds))
                load = post(server, frames[scene], wanted, clients)
                row: Row = {"round": index, "scene": scene, "clients": clients}
                faces = {"faces": found[scene, server.name]}
                rows.append(row | {"server": server.name} | faces | vars(load))
                progress.advance(task)
            for scene in frames:
                for model in STAGES:
                    parts = floor.by_part(frames[scene], model)
                    row = {"round": index, "scene": scene, "clients": 0, "server": f"floor {model}"}
                    named = {f"{part}_ms": cpu for part, cpu in parts.items()}
                    rows.append(row | named | {"cpu_ms": sum(parts.values())})
    return rows


def medians(rows: Sequence[Row]) -> list[Row]:
    """Return each cell's median over the rounds, with the lowest and highest CPU time."""
    cells: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["scene"], row["clients"], row["server"]), []).append(row)
    table = []
    for (scene, clients, server), part in cells.items():
        cell: Row = {"scene": scene, "clients": clients, "server": server}
        for figure in FIGURES:
            values = [row[figure] for row in part if figure in row]
            if values:
                cell[figure] = round(statistics.median(values), 2)
        costs = [row["cpu_ms"] for row in part]
        cell["cpu_ms_spread"] = [round(min(costs), 2), round(max(costs), 2)]
        table.append(cell)
    return table


def measure(names: Sequence[str], data: Path, count: int, seconds: float) -> Row:
    """Start all servers and measure them one at a time while the others are idle."""
    frames, origin = frames_in(data)
    with ExitStack() as stack:
        servers = [stack.enter_context(running(name, LOG_LEVEL="warning")) for name in names]
        rows = rounds(servers, frames, count, seconds)
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
        "frames": origin,
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
    parser.add_argument("--data", type=Path, default=DATA, help="folder with scenes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="approximate time of one run")
    parser.add_argument("--servers", nargs="+", choices=COMMANDS, default=DEFAULT_SERVERS)
    args = parser.parse_args()
    try:
        result = measure(args.servers, args.data, args.rounds, args.seconds)
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
