"""Draw plots of training and evaluation as PNG files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from model.images import crop, decode
from model.training.evaluation.cases import WAYS, Case, Way

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

COLUMNS = 8  # of a montage
TITLES = {"on_box": "on boxes", "end_to_end": "end to end", "by_overlap": "by overlap alone"}
COLOURS = {"on_box": "tab:blue", "end_to_end": "tab:orange", "by_overlap": "tab:green"}
CORNER = 0.9  # the enlarged plot shows precision and recall above this
DASHES = {"on_box": "-", "end_to_end": "--", "by_overlap": ":"}


def curves(history: Sequence[dict[str, float | str]], file: Path) -> None:
    """Draw loss and accuracy by epoch; marks the best epoch and the start of each phase."""
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
    _save(figure, file)


def progress(history: Sequence[dict[str, float | str]], names: Sequence[str], file: Path) -> None:
    """Draw how some figures of a training changed from epoch to epoch, each on its own axis."""
    figure, axes = plt.subplots(1, len(names), figsize=(3 * len(names), 3), layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        axis.plot(np.arange(1, len(history) + 1), [row[name] for row in history], marker="o")
        axis.set(xlabel="epoch", title=name)
        axis.grid(alpha=0.3)
    _save(figure, file)


def confusion(
    matrices: Mapping[str, npt.NDArray[np.int64]],
    truths: Sequence[str],
    answers: Sequence[str],
    file: Path,
) -> None:
    """Draw confusion matrices by title, with truths in rows and answers in columns.

    Each cell is coloured by its share of the row.
    """
    figure, axes = plt.subplots(
        len(matrices), 1, figsize=(6, 2.9 * len(matrices)), squeeze=False, layout="constrained"
    )
    for axis, (title, matrix) in zip(axes.flat, matrices.items(), strict=True):
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), count in np.ndenumerate(matrix):
            share = shares[row, column]
            colour = "white" if share > 0.5 else "black"
            axis.text(column, row, f"{count}\n{share:.1%}", ha="center", va="center", color=colour)
        axis.set(xticks=range(len(answers)), xticklabels=answers, xlabel="answer", title=title)
        axis.set(yticks=range(len(truths)), yticklabels=truths, ylabel="truth")
    _save(figure, file)


def reliability(calibration: dict[str, Any], file: Path) -> None:
    """Draw how often the more probable label is right against its probability.

    The error bars are 95 % confidence intervals, because most faces are in the last bin. A second
    plot shows the number of faces per bin.
    """
    bins = calibration["bins"]
    confidences = [row["confidence"] for row in bins]
    figure, axes = plt.subplots(
        2, 1, figsize=(5, 5.5), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    axes[0].plot([0.5, 1], [0.5, 1], color="grey", linestyle=":", label="perfect")
    accuracies = np.array([row["accuracy"] for row in bins])
    low, high = np.array([row["interval"] for row in bins]).T
    # Rounding can put a bound on the wrong side of the share.
    reach = np.maximum([accuracies - low, high - accuracies], 0)
    axes[0].errorbar(confidences, accuracies, reach, marker="o", capsize=3, label="measured, 95 %")
    error = calibration["expected_calibration_error"]
    axes[0].set(title=f"Reliability, expected calibration error {error:.3f}", ylabel="right")
    axes[0].legend()
    axes[1].bar(confidences, [row["faces"] for row in bins], width=0.04)
    axes[1].set(yscale="log", ylabel="faces", xlabel="probability of the more probable label")
    _save(figure, file)


def precision_recall(
    curves: Mapping[tuple[str, str], tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]],
    areas: Mapping[str, Mapping[str, float]],
    file: Path,
) -> None:
    """Draw precision over recall for each (way, label), with its area in the legend.

    A second plot enlarges the upper right corner.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for axis, low in zip(axes, (0.0, CORNER), strict=True):
        for (way, label), (precision, recall) in curves.items():
            name = f"{label}, {TITLES[way]}: AP {areas[way][label]:.4f}"
            axis.step(np.append(0, recall), np.append(1, precision), ls=DASHES[way], label=name)
        beyond = low + (1 - low) * 1.02
        axis.set(xlabel="recall", xlim=(low, beyond), ylabel="precision", ylim=(low, beyond))
        axis.grid(alpha=0.3)
    axes[0].legend(loc="lower left")
    figure.suptitle("Precision and recall")
    _save(figure, file)


def by_size(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw accuracy over face size with 95 % confidence intervals, and the number of faces."""
    sizes = [row["pixels"] for row in rows]
    figure, axes = plt.subplots(
        2, 1, figsize=(6, 5.5), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    for way in (way for way in WAYS if all(way in row for row in rows)):
        low, high = np.array([row[way]["interval"] for row in rows]).T
        accuracies = [row[way]["accuracy"] for row in rows]
        axes[0].plot(sizes, accuracies, marker="o", color=COLOURS[way], label=TITLES[way])
        axes[0].fill_between(sizes, low, high, color=COLOURS[way], alpha=0.2, linewidth=0)
    axes[0].set(ylabel="accuracy", title="Accuracy against face size, with 95 % interval")
    axes[0].grid(alpha=0.3)
    axes[0].legend(loc="lower right")
    axes[1].bar(sizes, [row["faces"] for row in rows], width=np.array(sizes) * 0.25)
    axes[1].set(xscale="log", xlabel="pixels of the face's short side", ylabel="faces")
    axes[1].set_xticks(sizes, [f"{size:.0f}" for size in sizes], minor=False)
    axes[1].xaxis.set_minor_locator(NullLocator())
    _save(figure, file)


def slices(rows: Sequence[Mapping[str, Any]], min_faces: int, file: Path) -> None:
    """Draw the accuracy of each slice, in each way; small slices are pale."""
    names = [f"{row['trait']}: {row['band']} ({row['faces']})" for row in rows]
    places = np.arange(len(rows))
    ways = [way for way in WAYS if all(way in row for row in rows)]
    figure, axis = plt.subplots(figsize=(8, 1 + 0.28 * len(rows)), layout="constrained")
    for index, way in enumerate(ways):
        shades = [1.0 if row["faces"] >= min_faces else 0.3 for row in rows]
        colours = [mpl.colors.to_rgba(COLOURS[way], shade) for shade in shades]
        height = 0.8 / len(ways)
        offset = (index - (len(ways) - 1) / 2) * height
        axis.barh(places + offset, [row[way] for row in rows], height * 0.95, color=colours)
        axis.barh(places, 0, color=COLOURS[way], label=TITLES[way])
    low = min((row[way] for row in rows for way in ways), default=0.0)
    axis.set(yticks=places, yticklabels=names, xlim=(max(0.0, low - 0.05), 1), xlabel="accuracy")
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(ways))
    _save(figure, file)


def montage(cases: Sequence[Case], way: Way, file: Path) -> None:
    """Write a picture of the cases' crops, each with its true class and its answer."""
    tiles = []
    for case in cases:
        if case.box is not None:
            image = decode(Path(case.sample.path).read_bytes())
            tile = np.full((156, 128, 3), 255, np.uint8)
            tile[:128] = crop(image, case.box, 0.15, 128)
            mask = way.mask(case)
            answer = way.label(case) + ("" if mask is None else f" {mask:.2f}")
            for y, text in ((139, f"is {case.sample.cls}"), (152, answer)):
                cv2.putText(tile, text, (2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0))
            tiles.append(tile)
    blank = np.full((156, 128, 3), 255, np.uint8)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    with _whole(file) as part:
        cv2.imwrite(str(part), cv2.cvtColor(np.vstack(rows or [blank]), cv2.COLOR_RGB2BGR))


def _save(figure: Figure, file: Path) -> None:
    """Write a figure atomically and close it."""
    with _whole(file) as part:
        figure.savefig(part, dpi=100)
    plt.close(figure)


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces the given one when the block ends.

    If the program is interrupted, the old picture stays.
    """
    part = file.with_stem(f"{file.stem}.part")
    yield part
    part.replace(file)
