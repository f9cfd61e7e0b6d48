"""Train recipes without some data sets, and evaluate them on these unseen sets."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from model.classifier import LABELS
from model.training.data import dataset
from model.training.data.dataset import CLASSES, Sample, short_side
from model.training.data.windows import Window, cut_windows
from model.training.feed import validation_of
from model.training.recipes import DEFAULT, RECIPES
from model.training.train import samples_of, train

Located: TypeAlias = tuple[Sample, Window | None]  # None: not used for training

MIN_SIZE = 20  # pixels of a face's short side
SIZES = {">= 20": (20.0, np.inf), ">= 32": (32.0, np.inf), "20-32": (20.0, 32.0)}


def judged(
    samples: Sequence[Sample], masks: npt.NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """Return, for each set, the balanced accuracy by size and the accuracy by class.

    masks: the probability of mask on each annotated box, shape (len(samples),).
    """
    labels = np.array([LABELS[sample.label] == "mask" for sample in samples])
    sizes = np.array([short_side(sample.annotated or (0, 0, 0, 0)) for sample in samples])
    right = (masks >= 0.5) == labels
    figures: dict[str, dict[str, float]] = {}
    for source in sorted({sample.source for sample in samples}):
        here = np.array([sample.source == source for sample in samples])
        row = figures[source] = {"faces": int(here.sum())}
        for name, (low, high) in SIZES.items():
            part = here & (sizes >= low) & (sizes < high)
            shares = [right[part & (labels == label)] for label in (True, False)]
            if all(map(len, shares)):
                row[name] = round(float(np.mean([share.mean() for share in shares])), 4)
        for cls in CLASSES:
            part = here & np.array([sample.cls == cls for sample in samples])
            if part.any():
                row[cls] = round(float(right[part].mean()), 4)
    return figures


def located_faces(args: argparse.Namespace) -> list[Located]:
    """Read all faces, and cut windows for those to train on."""
    samples = samples_of(args.run, args.data, frozenset())
    windows = iter(cut_windows([s for s in samples if s.split == "train"]))
    return [(s, next(windows) if s.split == "train" else None) for s in samples]


def run_of(recipe: str, left_out: str, args: argparse.Namespace) -> Path:
    """Return the folder of one training run."""
    run: Path = args.run / f"{recipe}_without_{left_out.replace(',', '_')}_{args.seed}"
    return run


def experiment(
    recipe: str,
    left_out: str,
    located: Sequence[Located],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Train a recipe without some sets, given as a,b; evaluate it on all their annotated faces."""
    began = time.monotonic()
    run = run_of(recipe, left_out, args)
    run.mkdir(parents=True, exist_ok=True)
    here = [(sample, window) for sample, window in located if sample.source in left_out.split(",")]
    kept = [pair for pair in located if pair[0].source not in left_out.split(",")]
    samples, windows = [s for s, _ in kept], [w for _, w in kept if w is not None]
    dataset.save(samples, run / "samples.jsonl")  # so that the run can be exported
    train(
        samples,
        run,
        args.backbone,
        recipe,
        draws=args.draws,
        seed=args.seed,
        windows=windows,
        teacher=run_of(args.teacher, left_out, args) if RECIPES[recipe].taught else None,
    )
    seconds = round(time.monotonic() - began)
    # Use the annotators' boxes, whether or not our detector finds the faces.
    unseen = [replace(s, detected=None) for s, _ in here if s.annotated is not None]
    unseen = [s for s in unseen if s.annotated and short_side(s.annotated) >= MIN_SIZE]
    margin, size = RECIPES[recipe].margin, RECIPES[recipe].phases[-1].size
    crops, _, _ = validation_of(unseen, margin, size)
    model = keras.saving.load_model(run / "best.keras")
    masks = model.predict(crops, verbose=0)[:, LABELS.index("mask")]
    return {
        "recipe": recipe,
        "left_out": left_out,
        "seed": args.seed,
        "draws": args.draws,
        "seconds": seconds,
        "sets": judged(unseen, masks),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return results as a Markdown table, one line per recipe and set."""
    columns = ("faces", *SIZES, *CLASSES)
    lines = [
        f"| recipe | seed | set left out | {' | '.join(columns)} |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for row in rows:
        for source, figures in row["sets"].items():
            shown = " | ".join(str(figures.get(column, "")) for column in columns)
            lines.append(f"| {row['recipe']} | {row['seed']} | {source} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run the missing trainings, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.experiments",
        description=__doc__,
        epilog="Example: python -m model.training.experiments --data pictures --leave-out street "
        "--recipes camera synthetic. After an interruption the same command continues.",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument(
        "--leave-out",
        nargs="+",
        required=True,
        metavar="SET[,SET]",
        help="sets to train without and evaluate on; each argument is one training",
    )
    alone = [name for name, recipe in RECIPES.items() if not recipe.taught]
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=alone)
    parser.add_argument(
        "--teacher",
        choices=alone,
        default=DEFAULT,
        help="recipe that teaches recipes such as 'fast', trained without the same sets",
    )
    parser.add_argument("--run", type=Path, default=Path("runs/experiments"))
    parser.add_argument(
        "--backbone", type=Path, help="file of ImageNet weights (default: Keras downloads them)"
    )
    parser.add_argument("--draws", type=int, default=4800, help="crops per epoch")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    file = args.run / "results.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(row["recipe"], row["left_out"], row["seed"], row["draws"]) for row in rows}
    recipes = sorted(args.recipes, key=lambda recipe: RECIPES[recipe].taught > 0)
    trained = {(row["recipe"], row["left_out"], row["seed"]) for row in rows}
    needed = {(args.teacher, left_out, args.seed) for left_out in args.leave_out}
    if RECIPES[recipes[-1]].taught and args.teacher not in recipes and needed - trained:
        parser.error(
            f"{recipes[-1]} is taught by {args.teacher}, which is not trained yet. Use "
            f"--recipes {args.teacher} {recipes[-1]} --teacher {args.teacher}"
        )
    wanted = [(recipe, left_out) for left_out in args.leave_out for recipe in recipes]
    wanted = [pair for pair in wanted if (*pair, args.seed, args.draws) not in done]
    try:
        located = located_faces(args) if wanted else []
        for recipe, left_out in wanted:
            rows.append(experiment(recipe, left_out, located, args))
            with file.open("a") as results:
                results.write(json.dumps(rows[-1]) + "\n")
            print(table(rows[-1:]))
    except dataset.DatasetError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted. Results so far are in {file}; the same command continues.")
    print(table(rows))


if __name__ == "__main__":
    main()
