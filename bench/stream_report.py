"""Report the measurements of WS /stream as tables and a plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, TypeAlias

import matplotlib as mpl

from bench.clips import total

mpl.use("Agg")
import matplotlib.pyplot as plt

FPS = 10
Figures: TypeAlias = dict[str, Any]


CLIP_COLUMNS = (
    *("clip", "frames", "CPU a frame, ms", "of `/predict`", "people found", "faces shown"),
    *("ids a person", "alarms", "false", "pictures", "changes a minute", "first verdict, s"),
)


def tables(found: dict[str, Any]) -> str:
    """Return the clips, and goals and measurements, as two Markdown tables."""
    parts = []
    if "clips" in found:
        parts.append(markdown(CLIP_COLUMNS, clip_rows(found["clips"], found.get("cpu", []))))
    parts.append(markdown(("figure", "goal", "measured"), goal_rows(found)))
    return "\n".join(parts)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def clip_rows(clips: list[Figures], cpu: list[Figures]) -> list[list[str]]:
    """Return a row for each clip, and one for all."""
    spent = {row["clip"]: row for row in [*cpu, *([mean_cpu(cpu)] if cpu else [])]}
    rows = []
    for row in [*clips, total(clips)]:
        cost = spent.get(row["clip"])
        cells = [row["clip"], str(row["frames"])]
        cells += [f"{cost['stream_ms']:.1f}", f"{ratio(cost):.2f}"] if cost else ["-", "-"]
        alarms, (shown, plain) = row["alarms"], row["shown"]
        if row["known"]:
            cells += [
                f"{row['found']}/{row['persons']}",
                f"{shown / plain:.3f}" if plain else "-",
                f"{mean(row['ids']):.2f}" if row["ids"] else "-",
                f"{alarms['true']}/{alarms['of']}",
                str(alarms["false"]),
                str(alarms["pictures"]),
                f"{row['changes'] / row['minutes']:.1f}" if row["minutes"] else "-",
                f"{median(row['first_s']):.2f}" if row["first_s"] else "-",
            ]
        else:  # no one has written down what there is to see
            cells += ["-", "-", "-", str(alarms["false"]), *["-"] * 4]
        rows.append(cells)
    return rows


def mean_cpu(cpu: list[Figures]) -> Figures:
    """Return the CPU per frame over all clips."""
    frames = sum(row["frames"] for row in cpu)
    ways = ("stream_ms", "predict_ms")
    return {"clip": "all"} | {w: sum(r[w] * r["frames"] for r in cpu) / frames for w in ways}


def ratio(cost: Figures) -> float:
    """Return the stream's CPU per frame divided by that of /predict."""
    return float(cost["stream_ms"] / cost["predict_ms"])


def goal_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what is wanted and what was measured."""
    rows = []
    if cpu := found.get("cpu"):
        most = max(cpu, key=ratio)
        text = f"{mean_cpu(cpu)['stream_ms']:.1f} ms; {ratio(most):.2f} ({most['clip']})"
        rows.append(("CPU a frame over all clips; the dearest, of `/predict`", "<= 4; <= 1", text))
    if "clips" in found:
        row = total(found["clips"])
        alarms, (shown, plain) = row["alarms"], row["shown"]
        rows += [
            ("alarms about no one, or about people with a mask", "0", str(alarms["false"])),
            ("alarms about people without a mask", "all", f"{alarms['true']} of {alarms['of']}"),
            ("faces of `/predict` that the stream confirms", ">= .97", f"{shown / plain:.3f}"),
            (
                "ids a person, in clips of up to four people",
                "<= 1.3",
                f"{mean(row['ids']):.2f}, at most {max(row['ids'])}",
            ),
            (
                "label changes a minute of people who change nothing",
                "<= 1",
                f"{row['changes'] / row['minutes']:.1f}",
            ),
            (
                "first verdict",
                "<= 0.3 s",
                f"{median(row['first_s']):.2f} s median, {max(row['first_s']):.2f} s at most",
            ),
            (
                "mask put on until `mask`",
                "<= 1 s",
                ", ".join("never" if s is None else f"{s:.2f} s" for s in row["worn_s"]),
            ),
        ]
    if "delay" in found:
        longest, middle = max(found["delay"]), median(found["delay"])
        text = f"{longest} s at most, {middle} s median"
        rows.append((f"mask taken off until `no_mask`, {FPS} frames/s, films", "<= 1 s", text))
    if "held" in found:
        good = [r for r in found["held"] if r["p95_ms"] < 150 and r["answered"] >= 0.98]
        most = max(good, key=lambda row: row["streams"], default=found["held"][0])
        text = f"{most['streams'] if good else 0} (p95 {most['p95_ms']} ms)"
        rows.append(
            (f"streams of {FPS} frames/s held: p95 under 150 ms, 98 % answered", ">= 20", text)
        )
    if "flood" in found:
        f = found["flood"]
        text = (
            f"{f['memory_growth_mb']:+} MB; at most {f['longest_backlog_frames']} frames unanswered"
        )
        rows.append(("60 frames/s: memory and frames in flight", "flat, bounded", text))
    return rows


def plot(found: dict[str, Any], file: Path) -> None:
    """Plot the time to answer and the memory."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for share in ("p50_ms", "p95_ms"):
        rows = found.get("held", [])
        axes[0].plot([r["streams"] for r in rows], [r[share] for r in rows], label=share[:3])
    axes[0].axhline(150, linestyle=":", color="grey")
    axes[0].set(title="Streams of 10 frames/s", xlabel="streams", ylabel="frame to answer, ms")
    if "held" in found:
        axes[0].legend()
    memory = found.get("flood", {}).get("memory_mb", [])
    axes[1].plot([at / 60 for at, _ in memory], [mb for _, mb in memory])
    axes[1].set(title="A client that sends 60 frames/s", xlabel="minutes", ylabel="resident MB")
    axes[1].set_ylim(0, 1.2 * max([mb for _, mb in memory], default=1))
    figure.savefig(file, dpi=110)
