"""Measure how cost grows with faces, pixels, clients and time, and the effect of overload."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.progress import track

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench import floor
from bench.frames import frame
from bench.load import post
from bench.servers import BenchError, Server, running
from model.cascade import STAGES

FACES = (1, 2, 5, 10, 20, 35, 50)
SIZES = ((640, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (6000, 4000))
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
SLOTS, QUEUE = 2, 16
WARM_UP = 1500  # requests with each picture
STEP = 1000  # requests between two measurements of memory

Points = list[dict[str, Any]]


def by_faces() -> Points:
    """Return the CPU time of a 1280 x 720 frame by number of faces, for each model."""
    return [
        {"faces": count}
        | {model: round(floor.cpu_ms(frame(1280, 720, count), model), 2) for model in STAGES}
        for count in track(FACES, "Faces")
    ]


def by_megapixels() -> Points:
    """Return the CPU time of a frame with one face by megapixels, for each model."""
    return [
        {"megapixels": round(width * height / 1e6, 2)}
        | {model: round(floor.cpu_ms(frame(width, height, 1), model), 2) for model in STAGES}
        for width, height in track(SIZES, "Megapixels")
    ]


def by_clients(server: Server, rounds: int) -> Points:
    """Return throughput, p99 and CPU time by number of concurrent clients."""
    points: Points = []
    picture = frame(640, 480, 1)
    for clients in track(CLIENTS, "Clients"):
        runs = [post(server, picture, max(200, 8 * clients), clients) for _ in range(rounds)]
        points.append(
            {
                "clients": clients,
                "requests_s": round(statistics.median(run.requests_s for run in runs), 1),
                "p99_ms": round(statistics.median(run.p99_ms for run in runs), 1),
                "cpu_ms": round(statistics.median(run.cpu_ms for run in runs), 2),
                "refused": sum(run.statuses.get("503", 0) for run in runs),
            }
        )
    return points


def over_time(server: Server, requests: int) -> Points:
    """Return the resident memory of the largest process, in MiB, over a number of requests."""
    pictures = [frame(640, 480, faces) for faces in (1, 4, 0)]
    for picture in pictures:
        post(server, picture, WARM_UP, 4)
    points = [{"requests": 0, "worker_mib": round(server.worker_mib(), 2)}]
    for done in track(range(STEP, requests + 1, STEP), "Memory"):
        post(server, pictures[(done // STEP) % 3], STEP, 4)
        points.append({"requests": done, "worker_mib": round(server.worker_mib(), 2)})
    return points


def overload(server: Server, rounds: int) -> dict[str, float]:
    """Return the p99 of accepted requests with the queue just full, and at four times that rate."""
    picture, full = frame(640, 480, 1), SLOTS + QUEUE
    p99: dict[str, list[float]] = {"full": [], "overloaded": []}
    refused = 0
    for _ in track(range(rounds), "Overload"):
        most = post(server, picture, 40 * full, full)
        p99["full"].append(most.p99_ms)
        load = post(server, picture, 160 * full, 4 * full, rate=4 * most.requests_s)
        p99["overloaded"].append(load.p99_ms)
        refused += load.statuses.get("503", 0)
    medians = {name: round(statistics.median(values), 1) for name, values in p99.items()}
    return medians | {
        "ratio": round(medians["overloaded"] / medians["full"], 2),
        "refused": refused,
    }


def plot(result: dict[str, Any], path: Path) -> None:
    """Plot cost by faces, megapixels and clients, and memory over time."""
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.6))
    for model in STAGES:
        for axis, points, key in (
            (axes[0], result["by_faces"], "faces"),
            (axes[1], result["by_megapixels"], "megapixels"),
        ):
            axis.plot([p[key] for p in points], [p[model] for p in points], "o-", label=model)
            axis.set(xlabel=key, ylabel="CPU ms per frame")
    axes[0].legend()
    clients = [p["clients"] for p in result["by_clients"]]
    axes[2].plot(clients, [p["requests_s"] for p in result["by_clients"]], "o-")
    axes[2].set(xlabel="clients", ylabel="requests/s", xscale="log", ylim=(0, None))
    requests = [p["requests"] for p in result["over_time"]]
    axes[3].plot(requests, [p["worker_mib"] for p in result["over_time"]], "-")
    axes[3].set(xlabel="requests", ylabel="resident MiB", ylim=(0, None))
    for axis in axes:
        axis.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Parse the command line, measure, write JSON and a plot."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/bench/growth.json"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20_000, help="for the memory measurement")
    args = parser.parse_args()
    try:
        result: dict[str, Any] = {"by_faces": by_faces(), "by_megapixels": by_megapixels()}
        with running(
            INFERENCE_SLOTS=str(SLOTS), QUEUE_SIZE=str(QUEUE), LOG_LEVEL="warning"
        ) as server:
            result["by_clients"] = by_clients(server, args.rounds)
            result["overload"] = overload(server, args.rounds)
            result["over_time"] = over_time(server, args.requests)
    except BenchError as error:
        sys.exit(str(error))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, args.output.with_suffix(".png"))
    memory = [point["worker_mib"] for point in result["over_time"]]
    for name in ("by_faces", "by_megapixels", "by_clients"):
        print(*result[name], sep="\n")
    print(f"Overload: {result['overload']}")
    print(f"Memory over {args.requests} requests: {memory[0]} -> {memory[-1]} MiB")
    print(f"Written: {args.output}, {args.output.with_suffix('.png')}")


if __name__ == "__main__":
    main()
