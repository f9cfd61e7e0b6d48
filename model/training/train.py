"""Train the mask network by transfer learning: first its head, then the base's upper blocks."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.faces import YuNet
from model.images import Image
from model.training import dataset, figures
from model.training.dataset import Sample
from model.training.network import INPUT_SIZE, build, unfreeze_upper_blocks

MARGIN = 0.15
BATCH = 32


@dataclass(frozen=True)
class Phase:
    """One stage of the recipe: how long, how fast, and after how many worse epochs it ends."""

    name: str
    epochs: int
    rate: float
    patience: int


PHASES = (Phase("head", 3, 1e-3, 2), Phase("upper blocks", 12, 2e-4, 4))


@dataclass
class State:
    """Where a run stands; together with last.keras all that is needed to go on."""

    phase: int = 0
    epoch: int = 0  # epochs finished in this phase
    worse: int = 0  # epochs since the best one
    best_loss: float = math.inf
    history: list[dict[str, float | str]] = field(default_factory=list)


class Draws(keras.utils.PyDataset):  # type: ignore[misc]
    """One epoch of augmented crops, drawn by weight; the same for the same seed and epoch."""

    def __init__(self, samples: list[Sample], draws: int, seed: int, epoch: int) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self._samples = samples
        random = np.random.default_rng((seed, epoch))
        weights = dataset.sampling_weights(samples)
        self._order = random.choice(len(samples), size=draws, p=weights)
        self._seeds = random.integers(2**63, size=draws)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / BATCH)

    def __getitem__(self, index: int) -> tuple[Image, npt.NDArray[np.float32]]:
        rows = slice(index * BATCH, (index + 1) * BATCH)
        chosen = [self._samples[i] for i in self._order[rows]]
        crops = [
            dataset.cut_augmented(sample, MARGIN, INPUT_SIZE, np.random.default_rng(seed))
            for sample, seed in zip(chosen, self._seeds[rows], strict=True)
        ]
        return np.stack(crops), one_hot([sample.label for sample in chosen])


def one_hot(labels: list[int]) -> npt.NDArray[np.float32]:
    """Return labels as float32 (n, 2)."""
    return np.eye(2, dtype=np.float32)[labels]


def compile_for(model: keras.Model, phase: Phase, steps: int) -> None:
    """Give the model a fresh optimizer whose rate falls along a cosine over the phase."""
    rate = keras.optimizers.schedules.CosineDecay(phase.rate, phase.epochs * steps, alpha=0.05)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.05),
        metrics=["accuracy"],
    )


def samples_of(run: Path, data: Path, leave_out: frozenset[str]) -> list[Sample]:
    """Read and locate the faces of the data, sets left out excepted, once per run."""
    run.mkdir(parents=True, exist_ok=True)
    file = run / "samples.jsonl"
    if not file.exists():
        samples = dataset.read(data)
        if unknown := leave_out - {s.source for s in samples}:
            raise dataset.DatasetError(f"{data} has no set {', '.join(sorted(unknown))}.")
        kept = [s for s in samples if s.source not in leave_out]
        dataset.save(dataset.locate(kept, YuNet()), file)
    return dataset.load(file)


def resume(run: Path, backbone: Path | None, steps: int) -> tuple[keras.Model, State]:
    """Load the run's last finished epoch, or begin."""
    if (run / "state.json").exists():
        state = State(**json.loads((run / "state.json").read_text()))
        print(f"Resuming {run}: {PHASES[state.phase].name}, {state.epoch} epochs done")
        return keras.saving.load_model(run / "last.keras"), state
    model = build(backbone)
    compile_for(model, PHASES[0], steps)
    return model, State()


def save(run: Path, model: keras.Model, state: State) -> None:
    """Write a checkpoint; the state last and in one stroke, so that an interruption loses none."""
    model.save(run / "next.keras")
    (run / "next.keras").replace(run / "last.keras")
    (run / "state.tmp").write_text(json.dumps(asdict(state), indent=1))
    (run / "state.tmp").replace(run / "state.json")


def train(samples: list[Sample], run: Path, backbone: Path | None, draws: int, seed: int) -> None:
    """Train on the train part and keep the epoch with the lowest loss on the validation part.

    Writes best.keras, last.keras, state.json and curves.png into the run's folder; called again
    after an interruption it goes on at the last finished epoch. Raises DatasetError.
    """
    train_part = [s for s in samples if s.split == "train"]
    val_part = [s for s in samples if s.split == "val"]
    if not train_part or not val_part:
        raise dataset.DatasetError(
            f"There are {len(train_part)} faces to train on and {len(val_part)} to validate; "
            "both must be more than none."
        )
    print(f"{len(train_part)} faces to train on, {len(val_part)} to validate")
    crops = [dataset.cut(s, MARGIN, INPUT_SIZE) for s in track(val_part, "Cutting validation")]
    labels = one_hot([s.label for s in val_part])
    validation = (np.stack(crops), labels, dataset.sampling_weights(val_part) * len(val_part))
    steps = math.ceil(draws / BATCH)
    keras.utils.set_random_seed(seed)
    model, state = resume(run, backbone, steps)
    while True:
        phase = PHASES[state.phase]
        if state.epoch == phase.epochs or state.worse >= phase.patience:
            if state.phase + 1 == len(PHASES):
                break
            state.phase, state.epoch, state.worse = state.phase + 1, 0, 0
            model = keras.saving.load_model(run / "best.keras")
            unfreeze_upper_blocks(model)
            compile_for(model, PHASES[state.phase], steps)
            continue
        total = len(state.history) + 1
        print(f"Epoch {total}: {phase.name} {state.epoch + 1} of at most {phase.epochs}")
        epoch_draws = Draws(train_part, draws, seed, total)
        logs = model.fit(epoch_draws, validation_data=validation, verbose="auto").history
        row: dict[str, float | str] = {name: float(values[-1]) for name, values in logs.items()}
        state.history.append({"phase": phase.name, **row})
        state.epoch += 1
        loss = float(logs["val_loss"][-1])
        if loss < state.best_loss:
            state.best_loss, state.worse = loss, 0
            model.save(run / "best.keras")
        else:
            state.worse += 1
        save(run, model, state)
        figures.curves(state.history, run / "curves.png")
    print(f"Done: {run / 'best.keras'}, validation loss {state.best_loss:.4f}; see curves.png")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.train",
        description=__doc__,
        epilog="Example: python -m model.training.train --data pictures --run runs/first, where "
        "pictures/ holds with_mask/ and without_mask/. The same command resumes.",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--run", type=Path, default=Path("runs/train"), help="folder of this run")
    parser.add_argument("--backbone", type=Path, help="ImageNet weights; else Keras fetches them")
    parser.add_argument("--draws", type=int, default=9600, help="crops drawn an epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="SET", help="to test on later"
    )
    args = parser.parse_args()
    leave_out = frozenset(args.leave_out)
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        samples = samples_of(args.run, args.data, leave_out)
        train(samples, args.run, args.backbone, args.draws, args.seed)
    except dataset.DatasetError as error:
        sys.exit(str(error))
    except BaseException:
        # TensorFlow makes other errors of a Ctrl-C that reaches it in a callback.
        if not interrupted.is_set():
            raise
        sys.exit(f"\nInterrupted. The same command goes on at the last epoch saved in {args.run}.")


if __name__ == "__main__":
    main()
