"""Train the face detector: fine-tune YuNet on masked, covered and turned faces."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf

from model.detectors.facemask import FaceMask
from model.detectors.faces import DetectorUnavailable
from model.detectors.yunet import YuNet
from model.training.data.dataset import DatasetError
from model.training.detector import pictures, validation
from model.training.detector.centerface import CenterFace, fetch
from model.training.detector.graph import (
    FRESH_NAMES,
    Network,
    Weights,
    fused,
    template,
    weights_of,
    with_weights,
)
from model.training.detector.losses import Targets, cells_of, losses
from model.training.detector.views import batches
from model.training.evaluation import figures

EPOCH = 400  # batches
WARM_UP = 300  # batches in which the rate rises
LAST_RATE = 0.02  # of the highest
DECAY = (0.9, 0.999)  # Adam's
AVERAGE = 0.998  # of the moving average of the weights, each batch
LARGEST_GRADIENT = 5.0  # its norm
SHOWN = ("loss", "ap", "masked", "bare", "alarms", "right")  # of the history, in curves.png


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train. pull: strength of the pull back to YuNet's weights.

    start: a network of an earlier run to start from instead of YuNet. It revises the labels, and
    its mistakes in the training pictures are shown more often.
    """

    batches: int
    rate: float = 3e-3
    pull: float = 1e-4
    seed: int = 1
    start: Path | None = None


class Trainer(tf.Module):  # type: ignore[misc]
    """The network, Adam's moments and the moving average of the weights."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.template = template(plan.seed)
        self.network = Network(self.template)
        self._trained = list(self.network.trainable_variables)
        self._begin = [tf.constant(v.numpy()) for v in self._trained]
        if plan.start:
            self.network.take(weights_of(onnx.load(plan.start)))
        fresh = {
            id(v) for n, v in self.network.variables_by_name.items() if n.startswith(FRESH_NAMES)
        }
        self._pulled = [0.0 if id(v) in fresh else plan.pull for v in self._trained]
        self._first = [tf.Variable(tf.zeros_like(v)) for v in self._trained]
        self._second = [tf.Variable(tf.zeros_like(v)) for v in self._trained]
        self._averages = [tf.Variable(v) for v in self._trained]
        self.done = tf.Variable(0, dtype=tf.int64)
        self._steps: dict[int, Callable[..., dict[str, tf.Tensor]]] = {}

    def step(
        self, frames: npt.NDArray[np.float32], fields: tuple[npt.NDArray[np.generic], ...]
    ) -> dict[str, float]:
        """Learn one batch; returns the losses by name."""
        side = frames.shape[1]
        if side not in self._steps:
            self._steps[side] = self._compiled(side)
        values = self._steps[side](tf.constant(frames), *[tf.constant(f) for f in fields])
        return {name: float(value) for name, value in values.items()}

    def _compiled(self, side: int) -> Callable[..., dict[str, tf.Tensor]]:
        """Compile the step for frames of one size."""
        signature = [tf.TensorSpec((None, side, side, 3), tf.float32)]
        shapes = ((4,), (), (), (), (10,), (), (4,))
        types = (*[tf.float32] * 3, tf.int32, *[tf.float32] * 3)
        signature += [
            tf.TensorSpec((None, None, *shape), dtype)
            for shape, dtype in zip(shapes, types, strict=True)
        ]

        def run(frames: tf.Tensor, *fields: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._trained)
                values = losses(self.network(frames), Targets(*fields), cells_of(side, side))
                values["pull"] = tf.add_n(
                    [
                        strength * tf.reduce_sum((v - begin) ** 2)
                        for v, begin, strength in zip(
                            self._trained, self._begin, self._pulled, strict=True
                        )
                    ]
                )
                total = tf.add_n(list(values.values()))
            gradients = tape.gradient(total, self._trained)
            self._adam(tf.clip_by_global_norm(gradients, LARGEST_GRADIENT)[0])
            return values

        compiled: Callable[..., dict[str, tf.Tensor]] = tf.function(run, input_signature=signature)
        return compiled

    def _adam(self, gradients: list[tf.Tensor]) -> None:
        """Update the weights (Adam, Kingma and Ba 2015) and their moving average."""
        self.done.assign_add(1)
        number = tf.cast(self.done, tf.float32)
        share = tf.minimum(number / self.plan.batches, 1.0)
        cosine = LAST_RATE + (1 - LAST_RATE) * (1 + tf.cos(np.pi * share)) / 2
        rate = self.plan.rate * cosine * tf.minimum(number / WARM_UP, 1.0)
        average = tf.minimum(AVERAGE, (1 + number) / (10 + number))
        a, b = DECAY
        rows = zip(self._trained, gradients, self._first, self._second, self._averages, strict=True)
        for variable, gradient, first, second, averaged in rows:
            first.assign(a * first + (1 - a) * gradient)
            second.assign(b * second + (1 - b) * gradient**2)
            step = first / (1 - a**number) / (tf.sqrt(second / (1 - b**number)) + 1e-8)
            variable.assign_sub(rate * step)
            averaged.assign(average * averaged + (1 - average) * variable)

    def averaged(self) -> Weights:
        """Return the moving average of the weights."""
        weights = [v.numpy() for v in self._trained]
        for variable, value in zip(self._trained, self._averages, strict=True):
            variable.assign(value)
        result = self.network.weights()
        for variable, value in zip(self._trained, weights, strict=True):
            variable.assign(value)
        return result

    def save(self, file: Path) -> None:
        """Write a checkpoint in one stroke: an interruption leaves the one before."""
        arrays = {str(i): v.numpy() for i, v in enumerate(self.variables)}
        temporary = file.with_suffix(".tmp")
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)
        temporary.replace(file)

    def load(self, file: Path) -> None:
        """Read a checkpoint."""
        with np.load(file) as arrays:
            for i, variable in enumerate(self.variables):
                variable.assign(arrays[str(i)])


def train(run: Path, data: Path, pictures_: list[pictures.Labelled], plan: Plan) -> None:
    """Train and write last.onnx, history.json, curves.png and a checkpoint into the run's folder.

    The same call goes on after an interruption, at the last finished epoch. Raises DatasetError.
    """
    trainer = Trainer(plan)
    history: list[dict[str, float | str]] = []
    if (run / "checkpoint.npz").exists():
        history = json.loads((run / "history.json").read_text())
        trainer.load(run / "checkpoint.npz")
        print(f"Resuming {run} after {int(trainer.done)} of {plan.batches} batches")
    held_out = validation.scenes_of(data)
    began, first = time.monotonic(), int(trainer.done)
    seen: dict[str, list[float]] = {}
    for frames, fields in batches(pictures_, plan.seed, first, plan.batches):
        for name, value in trainer.step(frames, fields).items():
            seen.setdefault(name, []).append(value)
        done = int(trainer.done)
        if done % 50 == 0:
            rest = (time.monotonic() - began) / (done - first) * (plan.batches - done)
            print(f"\r{done} of {plan.batches} batches, {rest / 60:.0f} minutes left ", end="")
        if done % EPOCH == 0 or done == plan.batches:
            network = with_weights(trainer.template, trainer.averaged())
            parts = {name: float(np.mean(values)) for name, values in seen.items()}
            row: dict[str, float | str] = {"loss": sum(parts.values()), **parts}
            row |= validation.measure(served(network), held_out)
            print("\n" + "  ".join(f"{name} {value:.3f}" for name, value in row.items()))
            history.append({"phase": "detector", **row})
            (run / "last.onnx").write_bytes(network.SerializeToString())
            (run / "history.json").write_text(json.dumps(history, indent=1))
            figures.progress(history, SHOWN, run / "curves.png")
            trainer.save(run / "checkpoint.npz")
            seen = {}
    print(f"Done: {run / 'last.onnx'}")


def served(network: onnx.ModelProto) -> FaceMask:
    """Return the detector that serves a trained network."""
    return FaceMask(fused(network).SerializeToString())


def labels_of(data: Path, labels: Path, run: Path, plan: Plan) -> list[pictures.Labelled]:
    """Read the labelled pictures, or label them first; revised by the start network if any."""
    revised = run / "revised.jsonl"
    if plan.start and revised.exists():
        return pictures.load(revised)
    labeller = labels.with_name("centerface.onnx")
    fetch(labeller)
    if not labels.exists():
        found = pictures.label_all(data, YuNet(glance=False), CenterFace(labeller))
        pictures.save(found, labels)
    labelled = pictures.load(labels)
    if plan.start:
        start = served(onnx.load(plan.start))
        labelled = pictures.revised(labelled, start, CenterFace(labeller))
        pictures.save(labelled, revised)
    return labelled


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.detector.train",
        description=__doc__,
        epilog="Example: python -m model.training.detector.train --data pictures --run runs/first. "
        "The same command resumes.",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument("--run", type=Path, default=Path("runs/detector"), help="folder of the run")
    parser.add_argument(
        "--labels", type=Path, help="file of labelled pictures to share between runs"
    )
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SET", help="to test on")
    parser.add_argument("--start", type=Path, help="a network of an earlier run to start from")
    parser.add_argument("--batches", type=int, default=14000)
    parser.add_argument("--rate", type=float, default=Plan.rate)
    parser.add_argument("--pull", type=float, default=Plan.pull)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)  # the frames of a batch are the parallelism
    try:
        plan = Plan(args.batches, args.rate, args.pull, args.seed, args.start)
        labelled = labels_of(args.data, args.labels or args.run / "pictures.jsonl", args.run, plan)
        train(args.run, args.data, pictures.chosen(labelled, frozenset(args.leave_out)), plan)
    except (DatasetError, DetectorUnavailable) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted. The same command resumes at the last epoch saved in {args.run}.")


if __name__ == "__main__":
    main()
