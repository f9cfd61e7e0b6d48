"""Write a trained detector as an ONNX file with its card; all choices are made on validation."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from model.choices import DEFAULT_MIN_CONFIDENCE
from model.detectors.facemask import CARD, FILE, STATES, WEIGHTS, DetectorCard, FaceMask
from model.detectors.yunet import YuNet
from model.training.data.dataset import DatasetError, short_side
from model.training.detector import validation
from model.training.detector.graph import fused
from model.training.detector.pictures import STATES as STATE_OF_CLASS
from model.training.detector.validation import CONFIDENCE, LEAST_CONFIDENCE, SIZE, Scene


def states_of(
    detector: FaceMask, scenes: Sequence[Scene]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return the probabilities of the states (n, 3) and the true states (n,) of the faces found."""
    said, true = [], []
    for scene in scenes:
        found, _ = validation.match(detector.detect(scene.image, LEAST_CONFIDENCE), scene)
        for row in found:
            box, face = row.sample.annotated, row.face
            if face is None or face.states is None or face.confidence < CONFIDENCE or box is None:
                continue
            if short_side(box) >= SIZE:
                said.append(face.states)
                true.append(STATE_OF_CLASS[row.sample.cls])
    return np.array(said).reshape(-1, len(STATES)), np.array(true, np.int64)


def calibrated(said: npt.NDArray[np.float64], true: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the temperature and the bias of a wrongly worn mask that make the states most likely.

    Vector scaling (Guo et al. 2017) with one bias.
    """
    logits = np.log(np.clip(said, 1e-9, 1))
    wrongly = np.arange(len(STATES)) == STATES.index("incorrect")

    def loss(temperature: float, bias: float) -> float:
        scaled = logits / temperature + bias * wrongly
        total = np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1)
        return float((total - scaled[np.arange(len(true)), true]).mean())

    pairs = itertools.product(np.geomspace(0.25, 4, 100), np.linspace(-3, 1, 81))
    temperature, bias = min(pairs, key=lambda pair: loss(*pair))
    return round(float(temperature), 3), round(float(bias), 2)


def as_watchful_as_yunet(detector: FaceMask, scenes: Sequence[Scene]) -> float:
    """Return the power of the confidence that finds as many faces as YuNet.

    At the default confidence, the mean of the recalls of masked and of bare faces is at least
    YuNet's. Among all such powers it is the highest, which gives the fewest false alarms.
    """
    yunet = validation.confidences_of(YuNet(), scenes)
    ours = validation.confidences_of(detector, scenes)

    def recall(found: dict[str, list[float]], threshold: float) -> float:
        shares = [validation.share([c >= threshold for c in each]) for each in found.values()]
        return float(np.mean(shares))

    wanted = recall(yunet, DEFAULT_MIN_CONFIDENCE)
    thresholds = [t for t in np.arange(0.3, 0.95, 0.01) if recall(ours, t) >= wanted]
    threshold = max(thresholds, default=DEFAULT_MIN_CONFIDENCE)
    return round(math.log(DEFAULT_MIN_CONFIDENCE) / math.log(threshold), 3)


def export(
    run: Path, data: Path, output: Path, leave_out: frozenset[str] = frozenset()
) -> DetectorCard:
    """Calibrate a run's network on the validation scenes, and write the files to serve.

    leave_out: sets to choose nothing on. Raises DatasetError if the run has no network or the data
    no scenes boxed by people.
    """
    file = run / "last.onnx"
    if not file.exists():
        raise DatasetError(f"{file} is missing. Train first: make train-detector.")
    scenes = validation.scenes_of(data, leave_out=leave_out)
    if not scenes:
        raise DatasetError(f"{data} has no validation pictures whose faces were boxed by people.")
    network = fused(onnx.load(file)).SerializeToString()
    row = validation.measure(FaceMask(network), scenes)
    print("  ".join(f"{name} {value:.3f}" for name, value in row.items()))
    temperature, bias = calibrated(*states_of(FaceMask(network), scenes))
    card = DetectorCard(
        name="facemask",
        file=FILE,
        sha256=hashlib.sha256(network).hexdigest(),
        states=STATES,
        temperature=temperature,
        incorrect_bias=bias,
        confidence_power=as_watchful_as_yunet(FaceMask(network), scenes),
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / FILE).write_bytes(network)
    card.write(output / CARD)
    print(f"Wrote {output / FILE}")
    return card


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.detector.export",
        description=__doc__,
        epilog="Example: python -m model.training.detector.export --data pictures --run runs/first",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument(
        "--run", type=Path, default=Path("runs/detector"), help="folder of the run (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder (default: the served)")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SET", help="to test on")
    args = parser.parse_args()
    try:
        card = export(args.run, args.data, args.output, frozenset(args.leave_out))
    except DatasetError as error:
        sys.exit(str(error))
    print(json.dumps({"sha256": card.sha256, "temperature": card.temperature}))


if __name__ == "__main__":
    main()
