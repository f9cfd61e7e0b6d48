"""Export a trained network as an ONNX file with its card, calibrated on the validation part."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import keras
import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.classifier import CARD, LABELS, WEIGHTS, ModelCard, calibrated
from model.detectors.faces import Face
from model.images import Box, Image, decode
from model.pipeline import MaskPipeline
from model.quality import sharpness
from model.training.convert import convert, probabilities, quantize
from model.training.data import dataset
from model.training.data.dataset import Sample, nonempty
from model.training.data.located import cut
from model.training.recipes import RECIPES
from model.training.train import parts_of

FILE = "mask_detector.onnx"
THRESHOLD = 0.5
ABSTAINED_SHARE = 0.01  # share of the validation faces, nearest to the threshold, to abstain on
WIDEST_BAND = 0.3  # limit from the threshold; an easy validation part would give too wide a band
MIN_FACE = 12  # pixels; a smaller face is a smudge that a person could not label either
BLURS = (0.0, 0.04, 0.08, 0.12, 0.17, 0.24)  # sigmas of a Gaussian, in short sides of the face
RIGHT_ENOUGH = 0.9  # least share of right labels among blurred faces
TOO_BLURRED = 0.01  # largest share of validation faces of MIN_CLEAR pixels or more to reject
MIN_CLEAR = 20
TOLERANCE = 1e-4  # between Keras and ONNX Runtime, before the network is quantized
CHANGED = 0.02  # largest share of validation labels that quantization may change
COMPARED = 256  # most crops on which Keras and ONNX Runtime are compared
CALIBRATING = 256  # most training crops used for the ranges of the activations


class ExportError(RuntimeError):
    """The network cannot be exported."""


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
    """Return the band around the threshold that holds a share of the probabilities.

    The band is at most WIDEST_BAND to either side.
    """
    half = min(float(np.quantile(np.abs(masks - THRESHOLD), share)), WIDEST_BAND)
    return round(THRESHOLD - half, 3), round(THRESHOLD + half, 3)


@dataclass(frozen=True)
class Trial:
    """A label given to a face: the face's sharpness, whether the label is right, its weight."""

    sharpness: float
    right: bool
    weight: float


def blurred(image: Image, box: Box, sigma: float) -> tuple[Image, Box]:
    """Cut out a face with its surroundings and blur it; sigma is in short sides of the box.

    Returns the blurred RGB image and the face's box in it.
    """
    reach = box.long_side
    left, top = max(box.x - reach, 0), max(box.y - reach, 0)
    around = image[top : box.y + box.height + reach, left : box.x + box.width + reach]
    if sigma:
        around = np.asarray(cv2.GaussianBlur(around, (0, 0), sigma * box.short_side), np.uint8)
    return around, Box(box.x - left, box.y - top, box.width, box.height)


def blur_trials(
    pipeline: MaskPipeline, samples: Sequence[Sample]
) -> tuple[list[Trial], list[float]]:
    """Classify each face, as in serving, at each blur in BLURS.

    Returns the labels that were given, except `uncertain`, and the sharpness of the unblurred faces
    of at least MIN_CLEAR pixels.
    """
    trials, clear = [], []
    weights = dataset.sampling_weights(samples)
    for sample, weight in zip(track(samples, "Blurring validation"), weights, strict=True):
        image = decode(Path(sample.path).read_bytes())
        corners = sample.detected or sample.annotated
        if corners is None:
            continue
        for sigma in BLURS:
            face, box = blurred(image, nonempty(image, corners), sigma)
            label, detail = pipeline.judge(face, [Face(box, 1.0)])[0].label, sharpness(face, box)
            if label in LABELS:
                trials.append(Trial(detail, label == LABELS[sample.label], weight))
            if not sigma and box.short_side >= MIN_CLEAR:
                clear.append(detail)
    return trials, clear


def least_sharpness(trials: Sequence[Trial], clear: Sequence[float]) -> float:
    """Return the sharpness below which labels are right less than RIGHT_ENOUGH of the time.

    This is where an isotonic fit of right labels over sharpness crosses RIGHT_ENOUGH (Barlow et al.
    1972): the cut below which the labels fall furthest short of that share. It rejects at most
    TOO_BLURRED of the clear faces. It is 0 if no label falls short.
    """
    ordered = sorted(trials, key=lambda trial: trial.sharpness)
    surplus = np.cumsum([0.0] + [t.weight * (t.right - RIGHT_ENOUGH) for t in ordered])
    cut = int(np.argmin(surplus))  # number of labels below the cut
    limits = [ordered[min(cut, len(ordered) - 1)].sharpness if cut else 0.0]
    if clear:
        limits.append(float(np.quantile(clear, TOO_BLURRED, method="lower")))
    return math.floor(min(limits) * 1e4) / 1e4


def checked(model: keras.Model, size: int, crops: Sequence[Image]) -> bytes:
    """Convert a network; raises ExportError if ONNX Runtime's answers differ from Keras's."""
    network = convert(model, size)
    compared = crops[:: math.ceil(len(crops) / COMPARED)]
    keras_says = model.predict(np.stack(compared), verbose=0)
    difference = float(np.abs(probabilities(network, compared) - keras_says).max())
    print(f"Largest difference of ONNX Runtime to Keras on {len(compared)} crops: {difference:.1e}")
    if not difference <= TOLERANCE:  # so that NaN fails too
        raise ExportError(
            f"ONNX Runtime differs from Keras by {difference:.1e}; at most {TOLERANCE:.0e} "
            "is allowed."
        )
    return network


def export(run: Path, output: Path) -> ModelCard:
    """Export run/best.keras to output, quantized to 8 bits, and check that its answers agree.

    Raises ExportError if the run has no model, if ONNX Runtime's probabilities differ from Keras's
    by more than TOLERANCE, or if quantization changes more than CHANGED of the validation labels.
    """
    for name in ("best.keras", "state.json", "samples.jsonl"):
        if not (run / name).exists():
            raise ExportError(f"{run} has no {name}. Train first: python -m model.training.train")
    model = keras.saving.load_model(run / "best.keras")
    parts = parts_of(dataset.load(run / "samples.jsonl"))
    recipe = RECIPES[json.loads((run / "state.json").read_text())["recipe"]]
    size = recipe.phases[-1].size
    calibrating, val = parts[0][:: math.ceil(len(parts[0]) / CALIBRATING)], parts[1]
    seen, crops = (
        [cut(sample, recipe.margin, size) for sample in track(part, f"Cutting {name}")]
        for name, part in (("training", calibrating), ("validation", val))
    )
    network = checked(model, size, crops)
    weights = quantize(network, seen)
    raw = probabilities(weights, track(crops, "Judging validation"))
    changed = float((raw.argmax(axis=1) != probabilities(network, crops).argmax(axis=1)).mean())
    print(f"Quantization changes {changed:.2%} of the labels of {len(crops)} validation crops")
    if changed > CHANGED:
        raise ExportError(
            f"Quantization changes {changed:.1%} of the labels; at most {CHANGED:.0%} is allowed."
        )
    temperature = fit_temperature(
        raw, np.array([s.label for s in val]), dataset.sampling_weights(val)
    )
    masks = calibrated(raw, temperature)[:, LABELS.index("mask")]
    card = ModelCard(
        name=f"mobilenetv2-{size}",
        file=FILE,
        sha256=hashlib.sha256(weights).hexdigest(),
        labels=LABELS,
        input_size=size,
        margin=recipe.margin,
        threshold=THRESHOLD,
        temperature=temperature,
        abstain=abstain_band(masks, ABSTAINED_SHARE),
        min_face=MIN_FACE,
        min_sharpness=0.0,
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / FILE).write_bytes(weights)
    write(card, output)
    pipeline = MaskPipeline.load("mobilenetv2-224", (), output)
    card = replace(card, min_sharpness=least_sharpness(*blur_trials(pipeline, val)))
    write(card, output)
    return card


def write(card: ModelCard, folder: Path) -> None:
    """Write a card into the folder of its weights."""
    (folder / CARD).write_text(json.dumps(asdict(card), indent=2) + "\n")


def may_write(output: Path) -> bool:
    """Ask whether a model in the folder may be replaced; exits where no one can be asked."""
    if not (output / FILE).exists():
        return True
    if not sys.stdin.isatty():
        sys.exit(
            f"{output} already holds a model. To replace it, add --yes (make export ARGS=--yes). "
            "To keep it, choose another folder with --output."
        )
    return input(f"Replace the model in {output}? [y/N] ").strip().lower() in {"y", "yes"}


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.export",
        description=__doc__,
        epilog="Example: python -m model.training.export --run runs/first --output /tmp/model",
    )
    parser.add_argument("--run", type=Path, default=Path("runs/train"), help="folder of a run")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="default: the served model")
    parser.add_argument("--yes", action="store_true", help="replace a model without asking")
    args = parser.parse_args()
    if not (args.yes or may_write(args.output)):
        sys.exit(f"{args.output} is unchanged.")
    try:
        card = export(args.run, args.output)
    except (ExportError, dataset.DatasetError) as error:
        sys.exit(str(error))
    print(f"{args.output / FILE} version {card.version}, temperature {card.temperature}")
    print(
        f"uncertain between {card.abstain[0]} and {card.abstain[1]}, below {card.min_face} pixels, "
        f"or below a sharpness of {card.min_sharpness}"
    )


if __name__ == "__main__":
    main()
