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


def ratios(medians: Sequence[Row]) -> list[str]:
    """Return the ratios for the goals, one Markdown line each."""
    cpu = {(r["scene"], r["clients"], r["server"]): r["cpu_ms"] for r in medians}
    p99 = {(r["scene"], r["clients"], r["server"]): r.get("p99_ms", 0.0) for r in medians}
    lines = []
    for scene in dict.fromkeys(r["scene"] for r in medians):
        for ours, model in (("ours", DEFAULT_MODEL), ("ours fast", "fast")):
            own, floor = cpu.get((scene, 4, ours)), cpu.get((scene, 0, f"floor {model}"))
            if own is None or floor is None:
                continue
            cells = [scene, ours, f"{own / floor:.2f}"]
            if (scene, 4, "peer") in cpu:
                cells.append(f"1/{cpu[scene, 4, 'peer'] / own:.1f}")
                cells.append(f"1/{p99[scene, 4, 'peer'] / p99[scene, 4, ours]:.1f}")
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def table(result: Row) -> str:
    """Return all results as Markdown tables."""
    lines = [
        "| scene | clients | server | requests/s | p50 ms | p99 ms | CPU ms | lowest, highest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["medians"]:
        figures = [row.get(name, "") for name in ("requests_s", "p50_ms", "p99_ms")]
        low, high = row["cpu_ms_spread"]
        cells = [row["scene"], row["clients"] or "", row["server"], *figures, row["cpu_ms"]]
        lines.append(f"| {' | '.join(map(str, cells))} | {low}, {high} |")
    lines += [
        "",
        "| server | start s | largest process MiB | all processes MiB |",
        "|---|---|---|---|",
    ]
    for name, row in result["servers"].items():
        lines.append(f"| {name} | {row['start_s']} | {row['worker_mib']} | {row['total_mib']} |")
    lines += [
        "",
        "| scene, 4 clients | server | CPU / floor | CPU / peer | p99 / peer |",
        "|---|---|---|---|---|",
        *ratios(result["medians"]),
    ]
    return "\n".join(lines)


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
