"""Report the measurements of WS /stream as a table and a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

FPS = 10


def table(found: dict[str, Any]) -> str:
    """Return goals and measurements as a Markdown table."""
    rows = []
    if "cpu" in found:
        ratios = [row["ratio"] for row in found["cpu"]]
        shown = ", ".join(f"{row['stream_ms']} of {row['predict_ms']} ms" for row in found["cpu"])
        text = f"{min(ratios)}-{max(ratios)} ({shown})"
        rows.append(("CPU per frame, stream to /predict, 1-4 steady faces", "<= 0.5", text))
    if "held" in found:
        good = [r for r in found["held"] if r["p95_ms"] < 150 and r["answered"] >= 0.98]
        most = max(good, key=lambda row: row["streams"], default=found["held"][0])
        text = f"{most['streams'] if good else 0} (p95 {most['p95_ms']} ms)"
        rows.append(
            (f"streams of {FPS} frames/s held: p95 under 150 ms, 98 % answered", ">= 8", text)
        )
    if "steadiness" in found:
        single, tracked = (
            found["steadiness"][way]["label_changes_per_minute"] for way in ("frames", "tracks")
        )
        text = f"{tracked} against {single}"
        rows.append(("label changes per minute, steady noisy faces", "<= 1/10", text))
    if "delay" in found:
        longest, middle = max(found["delay"]), median(found["delay"])
        text = f"{longest} s at most, {middle} s median"
        rows.append((f"from mask taken off to no_mask, {FPS} frames/s", "<= 1 s", text))
    for name in ("steadiness", "movement"):
        if name in found:
            single, tracked = (found[name][way] for way in ("frames", "tracks"))
            text = f"{tracked['recall']} against {single['recall']}"
            rows.append((f"recall of faces, films of {name}", "no less", text))
            text = f"{tracked['classifications_per_face_and_frame']}"
            rows.append((f"classifications per face and frame, {name}", "-", text))
    if "flood" in found:
        f = found["flood"]
        text = (
            f"{f['memory_growth_mb']:+} MB; at most {f['longest_backlog_frames']} frames unanswered"
        )
        rows.append(("60 frames/s: memory and frames in flight", "flat, bounded", text))
    lines = ["| figure | goal | measured |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def plot(found: dict[str, Any], file: Path) -> None:
    """Plot the evidence over time, the time to answer, and the memory."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    for name, curve in found.get("evidence", {}).items():
        axes[0].plot(np.arange(len(curve)) / FPS, curve, label=name, marker=".", linewidth=1)
    axes[0].set(title="A mask comes off after 6 s", xlabel="seconds", ylabel="probability of mask")
    if "evidence" in found:
        axes[0].legend()
    for share in ("p50_ms", "p95_ms"):
        rows = found.get("held", [])
        axes[1].plot([r["streams"] for r in rows], [r[share] for r in rows], label=share[:3])
    axes[1].axhline(150, linestyle=":", color="grey")
    axes[1].set(title="Streams of 10 frames/s", xlabel="streams", ylabel="frame to answer, ms")
    if "held" in found:
        axes[1].legend()
    memory = found.get("flood", {}).get("memory_mb", [])
    axes[2].plot([at / 60 for at, _ in memory], [mb for _, mb in memory])
    axes[2].set(title="A client that sends 60 frames/s", xlabel="minutes", ylabel="resident MB")
    axes[2].set_ylim(0, 1.2 * max([mb for _, mb in memory], default=1))
    figure.savefig(file, dpi=110)
