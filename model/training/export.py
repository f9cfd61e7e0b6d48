"""Write a trained network as a LiteRT file with its card, calibrated on the validation part."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.progress import track

from model.classifier import CARD, LABELS, WEIGHTS, MaskClassifier, ModelCard, calibrated
from model.training import dataset
from model.training.network import INPUT_SIZE
from model.training.train import MARGIN

FILE = "mask_detector.tflite"
THRESHOLD = 0.5
ABSTAINED_SHARE = 0.01  # of the validation faces, those nearest to the threshold
WIDEST_BAND = 0.3  # from the threshold; an easy validation part would make every doubt uncertain
MIN_FACE = 12  # pixels; below it a face is a smudge of which no label could be drawn by hand
TOLERANCE = 1e-4  # between Keras and LiteRT
COMPARED = 256  # crops at the most on which the two are compared


class ExportError(RuntimeError):
    """The network cannot be exported."""


def convert(model: keras.Model) -> bytes:
    """Convert a Keras model to a LiteRT file that takes one uint8 crop at a time."""
    one = keras.Input(batch_shape=(1, INPUT_SIZE, INPUT_SIZE, 3), dtype="uint8")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(one, model(one)))
    return bytes(converter.convert())


def fit_temperature(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> float:
    """Return the temperature with the lowest negative log-likelihood (Guo et al. 2017)."""
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        right = calibrated(probabilities, temperature)[rows, labels]
        return float(-(weights * np.log(np.maximum(right, 1e-12))).sum())

    return round(float(min(np.geomspace(0.25, 4, 200), key=loss)), 3)


def abstain_band(masks: npt.NDArray[np.float32], share: float) -> tuple[float, float]:
    """Return the band around the threshold with a share of the probabilities, or the widest."""
    half = min(float(np.quantile(np.abs(masks - THRESHOLD), share)), WIDEST_BAND)
    return round(THRESHOLD - half, 3), round(THRESHOLD + half, 3)


def export(run: Path, output: Path) -> ModelCard:
    """Export run/best.keras to output and check that both give the same answers.

    Raises ExportError if the run has no model or LiteRT's probabilities differ by more than
    TOLERANCE from Keras's on the validation crops.
    """
    if not (run / "best.keras").exists():
        raise ExportError(f"{run} holds no best.keras. Train first: python -m model.training.train")
    model = keras.saving.load_model(run / "best.keras")
    samples = [s for s in dataset.load(run / "samples.jsonl") if s.split == "val"]
    crops = [dataset.cut(s, MARGIN, INPUT_SIZE) for s in track(samples, "Cutting validation")]
    weights = convert(model)
    output.mkdir(parents=True, exist_ok=True)
    (output / FILE).write_bytes(weights)
    card = ModelCard(
        name=f"mobilenetv2-{INPUT_SIZE}",
        file=FILE,
        sha256=hashlib.sha256(weights).hexdigest(),
        labels=LABELS,
        input_size=INPUT_SIZE,
        margin=MARGIN,
        threshold=THRESHOLD,
        temperature=1.0,
        abstain=(THRESHOLD, THRESHOLD),
        min_face=MIN_FACE,
    )
    write(card, output)
    classifier = MaskClassifier.load(output)
    exported = np.concatenate([classifier.predict([c]) for c in track(crops, "Judging validation")])
    compared = crops[:: math.ceil(len(crops) / COMPARED)]
    ours = exported[:: math.ceil(len(crops) / COMPARED)]
    difference = float(np.abs(ours - model.predict(np.stack(compared), verbose=0)).max())
    print(f"Largest difference of LiteRT to Keras on {len(compared)} crops: {difference:.1e}")
    if not difference <= TOLERANCE:  # so that NaN fails too
        raise ExportError(f"LiteRT differs from Keras by {difference:.1e}, over {TOLERANCE:.0e}.")
    labels = np.array([s.label for s in samples])
    temperature = fit_temperature(exported, labels, dataset.sampling_weights(samples))
    masks = calibrated(exported, temperature)[:, LABELS.index("mask")]
    band = abstain_band(masks, ABSTAINED_SHARE)
    card = ModelCard(**asdict(card) | {"temperature": temperature, "abstain": band})
    write(card, output)
    return card


def write(card: ModelCard, folder: Path) -> None:
    """Write a card beside its weights."""
    (folder / CARD).write_text(json.dumps(asdict(card), indent=2) + "\n")


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.export",
        description=__doc__,
        epilog="Example: python -m model.training.export --run runs/first --output /tmp/model",
    )
    parser.add_argument("--run", type=Path, default=Path("runs/train"), help="folder of a training")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="default: the served model")
    args = parser.parse_args()
    try:
        card = export(args.run, args.output)
    except (ExportError, dataset.DatasetError) as error:
        sys.exit(str(error))
    print(f"{args.output / FILE} version {card.version}, temperature {card.temperature}")
    print(f"uncertain between {card.abstain[0]} and {card.abstain[1]}")


if __name__ == "__main__":
    main()
