"""Draw what training and evaluation measured, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from model.images import crop, decode
from model.training.verdicts import Verdict

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 8  # of a montage


def curves(history: Sequence[dict[str, float | str]], file: Path) -> None:
    """Draw loss and accuracy by epoch; the best epoch and the begin of a phase are marked."""
    epochs = np.arange(1, len(history) + 1)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        for key, text in ((name, "training"), (f"val_{name}", "validation")):
            axis.plot(epochs, [row[key] for row in history], marker="o", label=text)
        axis.set(xlabel="epoch", title=name)
        axis.grid(alpha=0.3)
        for index in range(1, len(history)):
            if history[index]["phase"] != history[index - 1]["phase"]:
                axis.axvline(index + 0.5, color="grey", linestyle=":")
                place = (index + 0.55, axis.get_ylim()[1])
                axis.annotate(str(history[index]["phase"]), place, verticalalignment="top")
    best = int(np.argmin([float(row["val_loss"]) for row in history])) + 1
    axes[0].axvline(best, color="tab:green", alpha=0.5, label="kept")
    axes[0].legend()
    figure.savefig(file, dpi=100)
    plt.close(figure)


def confusion(
    matrix: npt.NDArray[np.int64],
    truths: Sequence[str],
    answers: Sequence[str],
    title: str,
    file: Path,
) -> None:
    """Draw a confusion matrix, truth down and answers across, coloured by share of the row."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(matrix):
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{count}\n{share:.1%}", ha="center", va="center", color=colour)
    axis.set(xticks=range(len(answers)), xticklabels=answers, xlabel="answer", title=title)
    axis.set(yticks=range(len(truths)), yticklabels=truths, ylabel="truth")
    figure.savefig(file, dpi=100)
    plt.close(figure)


def reliability(calibration: dict[str, Any], file: Path) -> None:
    """Draw how often the more probable label is right against its probability, and how many."""
    bins = calibration["bins"]
    confidences = [row["confidence"] for row in bins]
    figure, axes = plt.subplots(
        2, 1, figsize=(5, 5.5), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    axes[0].plot([0.5, 1], [0.5, 1], color="grey", linestyle=":", label="perfect")
    axes[0].plot(confidences, [row["accuracy"] for row in bins], marker="o", label="measured")
    error = calibration["expected_calibration_error"]
    axes[0].set(title=f"Reliability, expected calibration error {error:.3f}", ylabel="right")
    axes[0].legend()
    axes[1].bar(confidences, [row["faces"] for row in bins], width=0.04)
    axes[1].set(yscale="log", ylabel="faces", xlabel="probability of the more probable label")
    figure.savefig(file, dpi=100)
    plt.close(figure)


def slices(rows: Sequence[dict[str, Any]], min_faces: int, file: Path) -> None:
    """Draw the accuracy of each slice, on boxes and end to end; small slices are pale."""
    names = [f"{row['trait']}: {row['band']} ({row['faces']})" for row in rows]
    places = np.arange(len(rows))
    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.28 * len(rows)), layout="constrained")
    for offset, key, text in ((-0.2, "on_box", "on boxes"), (0.2, "end_to_end", "end to end")):
        shades = [1.0 if row["faces"] >= min_faces else 0.3 for row in rows]
        colour = "tab:blue" if key == "on_box" else "tab:orange"
        colours = [mpl.colors.to_rgba(colour, shade) for shade in shades]
        axis.barh(places + offset, [row[key] for row in rows], 0.38, color=colours)
        axis.barh(places, 0, color=colour, label=text)
    low = min((min(row["on_box"], row["end_to_end"]) for row in rows), default=0.0)
    axis.set(yticks=places, yticklabels=names, xlim=(max(0.0, low - 0.05), 1), xlabel="accuracy")
    axis.invert_yaxis()
    axis.legend(loc="lower left")
    figure.savefig(file, dpi=100)
    plt.close(figure)


def montage(verdicts: Sequence[Verdict], file: Path) -> None:
    """Put the crops of verdicts side by side, each with its truth and its answer."""
    tiles = []
    for verdict in verdicts:
        if verdict.box is not None:
            image = decode(Path(verdict.sample.path).read_bytes())
            tile = np.full((156, 128, 3), 255, np.uint8)
            tile[:128] = crop(image, verdict.box, 0.15, 128)
            answer = f"{verdict.on_box} {verdict.mask or 0:.2f}"
            for y, text in ((139, f"is {verdict.sample.cls}"), (152, answer)):
                cv2.putText(tile, text, (2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0))
            tiles.append(tile)
    blank = np.full((156, 128, 3), 255, np.uint8)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(file), cv2.cvtColor(np.vstack(rows or [blank]), cv2.COLOR_RGB2BGR))
