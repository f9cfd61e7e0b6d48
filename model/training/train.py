"""Train the mask network by transfer learning: first its head, then the base's upper blocks."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras

from model.detectors.facemask import FaceMask
from model.training.data import dataset
from model.training.data.dataset import Sample
from model.training.data.located import locate
from model.training.data.windows import Window, cut_windows
from model.training.evaluation import figures
from model.training.feed import BATCH, Draws, Teacher, Validation, validation_of
from model.training.network import BackboneUnavailable, build, narrowed, unfreeze
from model.training.recipes import ALL, DEFAULT, RECIPES, UPPER, Phase, Recipe

MEASURED = 20  # batches, after which the time of the training is estimated
# CPU time of a batch per pixel, relative to training the head alone; measured on two cores.
EFFORT = {None: 1.0, UPPER: 1.9, ALL: 3.6}


@dataclass
class State:
    """The progress of a run; with last.keras it is enough to resume."""

    recipe: str
    phase: int = 0
    epoch: int = 0  # epochs finished in this phase
    worse: int = 0  # epochs since the best one
    best_loss: float = math.inf
    history: list[dict[str, float | str]] = field(default_factory=list)


def prepare(model: keras.Model, phase: Phase, recipe: Recipe, steps: int) -> None:
    """Unfreeze a phase's layers and set up an optimizer with a cosine-decaying learning rate."""
    if phase.first:
        unfreeze(model, phase.first, statistics=recipe.width < 1)
    rate = keras.optimizers.schedules.CosineDecay(phase.rate, phase.epochs * steps, alpha=0.02)
    average = {"use_ema": True, "ema_momentum": recipe.average} if recipe.average else {}
    model.compile(
        optimizer=keras.optimizers.Adam(rate, **average),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.smoothing),
        metrics=["accuracy"],
    )


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Use the moving average of the weights within the block (Polyak averaging)."""
    weights = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    yield
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)


def samples_of(run: Path, data: Path, leave_out: frozenset[str]) -> list[Sample]:
    """Read and locate the faces of the data, except those of left-out sets, once per run."""
    run.mkdir(parents=True, exist_ok=True)
    file = run / "samples.jsonl"
    if not file.exists():
        samples = dataset.read(data, mask_boxes=True)
        if unknown := leave_out - {s.source for s in samples}:
            raise dataset.DatasetError(f"{data} has no set {', '.join(sorted(unknown))}.")
        kept = [s for s in samples if s.source not in leave_out]
        dataset.save(locate(kept, FaceMask.load()), file)
    return dataset.load(file)


def teacher_of(run: Path, recipe_name: str) -> tuple[keras.Model, Teacher]:
    """Load the network of a finished run, and make a teacher from it."""
    model = keras.saving.load_model(run / "best.keras")
    taught = json.loads((run / "state.json").read_text())["recipe"]
    print(f"Recipe '{recipe_name}' is taught by {run}, recipe '{taught}'")
    return model, Teacher(model, RECIPES[taught].phases[-1].size)


def resume(
    run: Path, begin: Callable[[], keras.Model], recipe_name: str, steps: int
) -> tuple[keras.Model, State]:
    """Load the run's last finished epoch, or start a new run with the model of begin()."""
    recipe = RECIPES[recipe_name]
    if (run / "state.json").exists():
        state = State(**json.loads((run / "state.json").read_text()))
        if state.recipe != recipe_name:
            raise dataset.DatasetError(
                f"{run} was started with recipe '{state.recipe}'. Use that recipe or another run."
            )
        print(f"Resuming {run}: {recipe.phases[state.phase].name}, {state.epoch} epochs done")
        return keras.saving.load_model(run / "last.keras"), state
    model = begin()
    prepare(model, recipe.phases[0], recipe, steps)
    return model, State(recipe_name)


def save(run: Path, model: keras.Model, state: State) -> None:
    """Write a checkpoint atomically, the state last, so that an interruption loses nothing."""
    model.save(run / "next.keras")
    (run / "next.keras").replace(run / "last.keras")
    (run / "state.tmp").write_text(json.dumps(asdict(state), indent=1))
    (run / "state.tmp").replace(run / "state.json")


def parts_of(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the training and validation faces; raises DatasetError if either part is empty."""
    train_part = [s for s in samples if s.split == "train"]
    val_part = [s for s in samples if s.split == "val"]
    if not train_part or not val_part:
        raise dataset.DatasetError(
            f"There are {len(train_part)} faces to train on and {len(val_part)} to validate; "
            "at least one of each is required."
        )
    print(f"{len(train_part)} faces to train on, {len(val_part)} to validate")
    return train_part, val_part


def begin_phase(state: State, run: Path, steps: int) -> keras.Model:
    """Start the next phase of the recipe from the best epoch so far."""
    recipe = RECIPES[state.recipe]
    before = recipe.phases[state.phase]
    state.phase, state.epoch, state.worse = state.phase + 1, 0, 0
    phase = recipe.phases[state.phase]
    model = keras.saving.load_model(run / "best.keras")
    prepare(model, phase, recipe, steps)
    if phase.size != before.size:
        state.best_loss = math.inf  # losses at different sizes are not comparable
    return model


def finish_epoch(
    model: keras.Model, state: State, run: Path, validation: Validation
) -> dict[str, float]:
    """Validate the averaged weights, and save them if they are the best so far."""
    crops, labels, weights = validation
    with averaged(model):
        loss, accuracy = model.evaluate(crops, labels, sample_weight=weights, verbose=0)
        if loss < state.best_loss:
            state.best_loss, state.worse = float(loss), 0
            model.save(run / "best.keras")
        else:
            state.worse += 1
    state.epoch += 1
    return {"val_loss": float(loss), "val_accuracy": float(accuracy)}


def remaining(state: State, batch_s: float, steps: int) -> float:
    """Estimate the seconds of all epochs to come, from those of a batch of the current phase."""
    phases = RECIPES[state.recipe].phases[state.phase :]
    efforts = [phase.size**2 * EFFORT[phase.first] for phase in phases]
    epochs = [phases[0].epochs - state.epoch, *(phase.epochs for phase in phases[1:])]
    relative = sum(count * effort for count, effort in zip(epochs, efforts, strict=True))
    return batch_s * steps * relative / efforts[0]


def forecast(state: State, steps: int) -> keras.callbacks.Callback:
    """Make a callback that measures the first batches and prints how long the training takes."""
    last = min(MEASURED, steps) - 1
    began = 0.0

    def measure(batch: int, **_: object) -> None:
        nonlocal began
        if batch == 0:  # takes longer: TensorFlow compiles the network
            began = time.perf_counter()
        elif batch == last:
            seconds = remaining(state, (time.perf_counter() - began) / last, steps)
            print(
                f"\nThis training takes at most about {duration(seconds)} on this machine, less if "
                "it stops improving. Ctrl-C interrupts it; the same command continues."
            )

    return keras.callbacks.LambdaCallback(on_train_batch_end=measure)


def duration(seconds: float) -> str:
    """Return a duration in words, such as "2 h 5 min"."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def train(  # noqa: PLR0913
    samples: Sequence[Sample],
    run: Path,
    backbone: Path | None,
    recipe_name: str,
    *,
    draws: int,
    seed: int,
    windows: Sequence[Window] = (),
    teacher: Path | None = None,
) -> None:
    """Train on the training part and keep the epoch with the lowest validation loss.

    windows: those of the training part; cut here if not given. teacher: the folder of a finished
    run, required for recipes with `taught` and refused for others. Writes best.keras, last.keras,
    state.json and curves.png into the run's folder. If called again after an interruption, it
    continues after the last finished epoch. Raises DatasetError.
    """
    recipe = RECIPES[recipe_name]
    train_part, val_part = parts_of(samples)
    steps = math.ceil(draws / BATCH)
    keras.utils.set_random_seed(seed)
    if bool(recipe.taught) != bool(teacher):
        needs = "needs --teacher RUN, a finished run" if recipe.taught else "takes no --teacher"
        raise dataset.DatasetError(f"Recipe '{recipe_name}' {needs}.")
    began, tutor = teacher_of(teacher, recipe_name) if teacher else (None, None)
    if began and recipe.width < 1:
        began = narrowed(began, recipe.width)
    model, state = resume(run, lambda: began or build(backbone), recipe_name, steps)
    windows = windows or cut_windows(train_part)
    validations: dict[int, Validation] = {}
    callbacks = [forecast(state, steps)]
    while True:
        phase = recipe.phases[state.phase]
        if state.epoch == phase.epochs or state.worse >= phase.patience:
            if state.phase + 1 == len(recipe.phases):
                break
            model = begin_phase(state, run, steps)
            continue
        if phase.size not in validations:
            validations = {phase.size: validation_of(val_part, recipe.margin, phase.size)}
        total = len(state.history) + 1
        print(f"Epoch {total}: {phase.name} {state.epoch + 1} of at most {phase.epochs}")
        epoch = Draws(train_part, windows, recipe, phase.size, draws, (seed, total), tutor)
        logs = model.fit(epoch, verbose="auto", callbacks=callbacks).history
        callbacks = []
        row = {name: float(logs[name][-1]) for name in ("loss", "accuracy")}
        row |= finish_epoch(model, state, run, validations[phase.size])
        print("  ".join(f"{name} {value:.4f}" for name, value in row.items()))
        state.history.append({"phase": phase.name, **row})
        save(run, model, state)
        figures.curves(state.history, run / "curves.png")
    print(f"Done: {run / 'best.keras'}, validation loss {state.best_loss:.4f}; see curves.png")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.train",
        description=__doc__,
        epilog="Example: python -m model.training.train --data pictures --run runs/first, where "
        "pictures/ contains with_mask/ and without_mask/. The same command resumes.",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--run", type=Path, default=Path("runs/train"), help="folder of this run")
    parser.add_argument(
        "--backbone", type=Path, help="file of ImageNet weights (default: Keras downloads them)"
    )
    parser.add_argument("--recipe", choices=RECIPES, default=DEFAULT, help="see recipes.py")
    parser.add_argument("--teacher", type=Path, help="a finished run, for recipes such as 'fast'")
    parser.add_argument("--draws", type=int, default=9600, help="crops per epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="SET", help="sets not to train on"
    )
    args = parser.parse_args()
    if args.backbone and not args.backbone.is_file():
        parser.error(f"--backbone {args.backbone}: no such file")
    leave_out = frozenset(args.leave_out)
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        samples = samples_of(args.run, args.data, leave_out)
        train(
            samples,
            args.run,
            args.backbone,
            args.recipe,
            draws=args.draws,
            seed=args.seed,
            teacher=args.teacher,
        )
    except (dataset.DatasetError, BackboneUnavailable) as error:
        sys.exit(str(error))
    except BaseException:
        # TensorFlow turns a Ctrl-C that arrives in a callback into other errors.
        if not interrupted.is_set():
            raise
        sys.exit(f"\nInterrupted. The same command resumes after the last epoch in {args.run}.")


if __name__ == "__main__":
    main()
