"""Judge the exported model as it is served, on the labelled faces of data sets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.classifier import LABELS, WEIGHTS, ModelError
from model.faces import Face
from model.images import ImageError
from model.pipeline import Analysis, MaskPipeline
from model.training import dataset, figures
from model.training.dataset import SAME_FACE, Sample, corners, nonempty, overlap, short_side

NOT_FOUND = "not found"
ANSWERS = (*LABELS, "uncertain", NOT_FOUND)


@dataclass(frozen=True)
class Verdict:
    """A labelled face and what was answered: on its annotated box, and end to end."""

    sample: Sample
    on_box: str
    end_to_end: str


def judge(pipeline: MaskPipeline, samples: Sequence[Sample]) -> list[Verdict]:
    """Send each picture the whole way, then judge its annotated boxes too.

    An annotated face counts as found when a detection overlaps it by SAME_FACE; each detection
    serves one face. A picture with a label and no box has its largest face judged.
    """
    by_path: dict[str, list[Sample]] = {}
    for sample in samples:
        by_path.setdefault(sample.path, []).append(sample)
    verdicts = []
    for path, faces in track(by_path.items(), "Judging"):
        try:
            analysis = pipeline.analyse(Path(path).read_bytes())
        except (ImageError, OSError) as error:
            print(f"Not judged, counted as not found: {path}: {error}")
            verdicts += [Verdict(sample, NOT_FOUND, NOT_FOUND) for sample in faces]
            continue
        ends = matched(analysis, faces)
        boxes = [face.annotated and nonempty(analysis.image, face.annotated) for face in faces]
        given = pipeline.judge(analysis.image, [Face(box, 1.0) for box in boxes if box])
        labels = iter([judgement.label for judgement in given])
        on_box = [next(labels) if box else end for box, end in zip(boxes, ends, strict=True)]
        verdicts += [Verdict(*row) for row in zip(faces, on_box, ends, strict=True)]
    return verdicts


def matched(analysis: Analysis, faces: Sequence[Sample]) -> list[str]:
    """Return the label answered for each annotated face of a picture, best overlaps first."""
    boxes = [corners(judgement.face.box) for judgement in analysis.judgements]
    answers = [NOT_FOUND] * len(faces)
    for i, face in enumerate(faces):
        if face.annotated is None and boxes:
            sizes = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
            answers[i] = analysis.judgements[int(np.argmax(sizes))].label
    pairs = sorted(
        (
            (overlap(face.annotated, box), i, j)
            for i, face in enumerate(faces)
            if face.annotated is not None
            for j, box in enumerate(boxes)
        ),
        reverse=True,
    )
    taken: set[int] = set()
    for share, i, j in pairs:
        if share >= SAME_FACE and answers[i] == NOT_FOUND and j not in taken:
            answers[i] = analysis.judgements[j].label
            taken.add(j)
    return answers


def confusion(
    verdicts: Sequence[Verdict], answer: Callable[[Verdict], str]
) -> npt.NDArray[np.int64]:
    """Count answers (columns, ANSWERS) by truth (rows, LABELS)."""
    matrix = np.zeros((len(LABELS), len(ANSWERS)), np.int64)
    for verdict in verdicts:
        matrix[verdict.sample.label, ANSWERS.index(answer(verdict))] += 1
    return matrix


def figures_of(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Sum a confusion matrix up; uncertain and not found are not right.

    Balanced accuracy is the mean recall over the labels that occur.
    """
    right = np.diag(matrix[:, : len(LABELS)])
    totals = matrix.sum(axis=1)
    occurs = totals > 0
    return {
        "faces": int(totals.sum()),
        "accuracy": round(float(right.sum() / totals.sum()), 4),
        "balanced_accuracy": round(float((right[occurs] / totals[occurs]).mean()), 4),
        "confusion": {
            label: dict(zip(ANSWERS, map(int, row), strict=True))
            for label, row in zip(LABELS, matrix, strict=True)
        },
    }


def parts_of(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Name the parts that are reported: human boxes, those by class, and each set."""
    human = [v for v in verdicts if v.sample.human]
    parts = {"human boxes": human, "all": list(verdicts)}
    for cls in dataset.CLASSES:
        parts[f"human boxes, {cls}"] = [v for v in human if v.sample.cls == cls]
    for source in sorted({v.sample.source for v in verdicts}):
        parts[source] = [v for v in verdicts if v.sample.source == source]
    return {name: part for name, part in parts.items() if part}


def evaluate(data: Path, split: str, weights: Path, output: Path, min_size: int) -> dict[str, Any]:
    """Judge a split's faces whose annotated short side has at least min_size pixels.

    Writes metrics.json and confusion matrices as PNG into output, prints a table and returns the
    metrics: {model, split, parts: {name: {on_box, end_to_end}}}.
    """
    samples = [s for s in dataset.read(data) if split in ("all", s.split)]
    samples = [s for s in samples if s.annotated is None or short_side(s.annotated) >= min_size]
    if not samples:
        raise dataset.DatasetError(
            f"{data} has no face of at least {min_size} pixels in '{split}'."
        )
    pipeline = MaskPipeline.load(weights)
    parts = parts_of(judge(pipeline, samples))
    matrices = {
        name: (confusion(part, lambda v: v.on_box), confusion(part, lambda v: v.end_to_end))
        for name, part in parts.items()
    }
    metrics = {
        "model": f"{pipeline.card.name} {pipeline.card.version}",
        "split": split,
        "min_size": min_size,
        "parts": {
            name: {"on_box": figures_of(on_box), "end_to_end": figures_of(end)}
            for name, (on_box, end) in matrices.items()
        },
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    for name in ("human boxes", "all"):
        if name in matrices:
            file = output / f"confusion_{name.replace(' ', '_')}.png"
            figures.confusion(matrices[name][1], LABELS, ANSWERS, f"End to end, {name}", file)
    print_table(metrics)
    return metrics


def print_table(metrics: dict[str, Any]) -> None:
    """Print the parts' accuracies."""
    table = Table(
        title=f"{metrics['model']}, {metrics['split']}, faces >= {metrics['min_size']} px"
    )
    table.add_column("part")
    columns = ("faces", "accuracy", "balanced", "called mask", "accuracy e2e", "balanced e2e")
    for column in columns:
        table.add_column(column, justify="right")
    for name, part in metrics["parts"].items():
        on_box, end = part["on_box"], part["end_to_end"]
        wrong = on_box["confusion"]["no_mask"]
        called = f"{wrong['mask'] / sum(wrong.values()):.1%}" if sum(wrong.values()) else ""
        values = [on_box["accuracy"], on_box["balanced_accuracy"]]
        ends = [end["accuracy"], end["balanced_accuracy"]]
        shown = [f"{value:.4f}" for value in values], [f"{value:.4f}" for value in ends]
        table.add_row(name, str(on_box["faces"]), *shown[0], called, *shown[1])
    table.caption = (
        "accuracy: on annotated boxes; e2e: found by our detector and right; "
        "called mask: unmasked faces said to wear one"
    )
    Console(width=120).print(table)


def main() -> None:
    """Parse the command line and evaluate."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.evaluate",
        description=__doc__,
        epilog="Example: python -m model.training.evaluate --data pictures --split val",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--split", choices=("train", "val", "all"), default="val")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of an exported model")
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--min-size", type=int, default=20, help="pixels of a face's short side")
    args = parser.parse_args()
    try:
        evaluate(args.data, args.split, args.weights, args.output, args.min_size)
    except (dataset.DatasetError, ModelError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
