"""Report the benchmark's results as a table and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from model.choices import DEFAULT_MODEL

Row = dict[str, Any]
OURS = {"ours": DEFAULT_MODEL, "ours fast": "fast"}


def ratios(medians: Sequence[Row]) -> list[str]:
    """Return the ratios for the goals, one Markdown line each."""
    cpu = {(r["scene"], r["clients"], r["server"]): r["cpu_ms"] for r in medians}
    p99 = {(r["scene"], r["clients"], r["server"]): r.get("p99_ms", 0.0) for r in medians}
    lines = []
    for scene in dict.fromkeys(r["scene"] for r in medians):
        for ours, model in OURS.items():
            own, floor = cpu.get((scene, 4, ours)), cpu.get((scene, 0, f"floor {model}"))
            if own is None or floor is None:
                continue
            cells = [scene, ours, f"{own / floor:.2f}"]
            if (scene, 4, "peer") in cpu:
                cells.append(f"1/{cpu[scene, 4, 'peer'] / own:.1f}")
                cells.append(f"1/{p99[scene, 4, 'peer'] / p99[scene, 4, ours]:.1f}")
            lines.append(line(cells))
    return lines


def parts(medians: Sequence[Row]) -> list[str]:
    """Return where our server's CPU time goes, one Markdown line for each scene and model.

    The analysis is that of the floor. What the slots' threads take beyond it is the hand-over, and
    what the networks take longer when other threads use the caches as well.
    """
    cells = {(r["scene"], r["clients"], r["server"]): r for r in medians}
    lines = []
    for scene in dict.fromkeys(r["scene"] for r in medians):
        for ours, model in OURS.items():
            own, floor = cells.get((scene, 4, ours)), cells.get((scene, 0, f"floor {model}"))
            if own is None or floor is None:
                continue
            stages = [floor[f"{stage}_ms"] for stage in ("decode", "detect", "classify")]
            more = round(own["cpu_ms"] - own["main_ms"] - sum(stages), 2)
            figures = [*stages, more, own["main_ms"], own["cpu_ms"]]
            counts = [own["switches"], own["faults"]]
            lines.append(line([scene, ours, *figures, *counts]))
    return lines


def per_face(row: Row) -> float | str:
    """Return the CPU ms per face found, "" where no faces are found."""
    return round(row["cpu_ms"] / row["faces"], 2) if row.get("faces") else ""


def table(result: Row) -> str:
    """Return all results as Markdown tables."""
    medians = result["medians"]
    lines = [f"Frames: {result['frames']}."]
    names = ["scene", "clients", "server", "requests/s", "p50 ms", "p99 ms", "CPU ms"]
    lines += head([*names, "lowest, highest", "faces found", "CPU ms per face"])
    for row in medians:
        figures = [row.get(name, "") for name in ("requests_s", "p50_ms", "p99_ms")]
        low, high = row["cpu_ms_spread"]
        cells = [row["scene"], row["clients"] or "", row["server"], *figures, row["cpu_ms"]]
        lines.append(line([*cells, f"{low}, {high}", row.get("faces", ""), per_face(row)]))
    lines += head(["server", "start s", "largest process MiB", "all processes MiB"])
    for name, row in result["servers"].items():
        lines.append(line([name, row["start_s"], row["worker_mib"], row["total_mib"]]))
    lines += head(["scene, 4 clients", "server", "CPU / floor", "CPU / peer", "p99 / peer"])
    lines += ratios(medians)
    stages = ["decode", "detect", "classify", "more in the slots' threads", "event loop"]
    lines += head(["scene, 4 clients", "server", *stages, "CPU ms", "switches", "page faults"])
    return "\n".join(lines + parts(medians))


def head(names: Sequence[str]) -> list[str]:
    """Return the lines above the rows of a Markdown table."""
    return ["", line(names), line(["---"] * len(names))]


def line(cells: Sequence[object]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def plot(medians: Sequence[Row], path: Path) -> None:
    """Plot throughput and p99 against clients, one column per scene."""
    scenes = list(dict.fromkeys(row["scene"] for row in medians))
    figure, axes = plt.subplots(
        2, len(scenes), figsize=(3.4 * len(scenes), 6), sharex=True, squeeze=False
    )
    for column, scene in enumerate(scenes):
        served = [r for r in medians if r["scene"] == scene and r["clients"]]
        for name in dict.fromkeys(r["server"] for r in served):
            part = sorted((r for r in served if r["server"] == name), key=lambda r: r["clients"])
            clients = [r["clients"] for r in part]
            axes[0][column].plot(clients, [r["requests_s"] for r in part], "o-", label=name)
            axes[1][column].plot(clients, [r["p99_ms"] for r in part], "o-", label=name)
        axes[0][column].set_title(scene)
        axes[1][column].set_xlabel("clients")
        for row in (0, 1):
            axes[row][column].set_xscale("log", base=2)
            axes[row][column].set_yscale("log")
            axes[row][column].grid(visible=True, alpha=0.3)
    axes[0][0].set_ylabel("requests/s")
    axes[1][0].set_ylabel("p99, ms")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
