"""Draw what training and evaluation measured, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("Agg")
from matplotlib import pyplot as plt


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
