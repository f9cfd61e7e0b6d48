"""Train the verifier: a network that tells faces from what the detector takes for faces.

It starts from the network of a finished `make train`, which knows faces already.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.choices import DEFAULT_MIN_CONFIDENCE
from model.detectors import facemask
from model.detectors.facemask import FaceMask
from model.detectors.faces import DetectorUnavailable, Face, FaceDetector
from model.detectors.verifier import CARD, FACE, FILE, VerifierCard, log_odds
from model.detectors.yunet import YuNet
from model.images import Box, Image, crop, decode
from model.training import augment
from model.training.convert import convert, probabilities, quantize
from model.training.data.dataset import Corners, DatasetError, corners, short_side
from model.training.detector import candidates, centerface, pictures, validation
from model.training.detector.candidates import Candidate, Search
from model.training.detector.centerface import CenterFace
from model.training.evaluation import figures
from model.training.network import base_of, headed, unfreeze

SIZE, MARGIN = 96, 0.4  # pixels of a crop; with so much around the face, a hand shows its arm
REACH = 1.25  # of a crop's side: room to shift and to turn
MOST_FACES, MOST_OTHERS = 10, 6  # of one picture
SIDES, CONFIDENCE = (640, 400), 0.03  # sizes and confidence at which our detector collects
YUNET_CONFIDENCE = 0.25
SHIFT, SCALE = 0.1, 0.15  # relative to the box
FAR, LEAST_SEEN = 0.4, 20  # share of crops seen from farther away; their least pixels
TILT, TILTED, TURNED = 25.0, 0.5, 0.15  # degrees; shares turned by up to TILT, and by any angle
BATCH, DRAWS, EPOCHS, SEED = 32, 9600, 20, 1
HEAD_RATE, RATE, WARM_UP = 1e-3, 1.5e-4, 200
LOSS = "categorical_crossentropy"
CERTAINTY = 0.98  # the label of a face; the others share the rest
DOUBT = (0.2, 0.6)  # confidences of the detector in which the verifier is asked
ALARMS = 0.06  # false alarms a validation scene that the default confidence lets through
CALIBRATING = 256  # crops for the ranges of the activations


@dataclass(frozen=True)
class Window:
    """A candidate with its surroundings: uint8 RGB pixels, and its box in them."""

    pixels: Image
    box: Corners
    source: str
    is_face: bool


def chosen(rows: Sequence[Candidate]) -> list[Candidate]:
    """Return at most MOST_FACES faces and MOST_OTHERS surest other places of each picture."""
    by_path: dict[str, list[Candidate]] = defaultdict(list)
    for row in rows:
        by_path[row.path].append(row)
    kept = []
    for each in by_path.values():
        faces = [row for row in each if row.is_face]
        others = [row for row in each if not row.is_face]
        kept += faces[:: -(-len(faces) // MOST_FACES) or 1] + others[:MOST_OTHERS]
    return kept


def cut_windows(rows: Sequence[Candidate]) -> list[Window]:
    """Cut a window for each candidate, in the same order."""
    windows: list[Window] = []
    path, image = "", np.zeros((1, 1, 3), np.uint8)
    for row in track(rows, "Cutting candidates out"):
        if row.path != path:
            path, image = row.path, decode(Path(row.path).read_bytes())
        left, top, right, bottom = row.box
        reach = max(right - left, bottom - top) * (1 + 2 * MARGIN) * REACH / 2
        x, y = (left + right) / 2, (top + bottom) / 2
        place = Box.within(image, x - reach, y - reach, x + reach, y + reach)
        pixels = image[place.y : place.y + place.height, place.x : place.x + place.width]
        scale = min(1.0, SIZE * 1.35 / max(place.long_side, 1))
        if scale < 1:
            pixels = np.asarray(
                cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
            )
        x0, y0 = place.x, place.y
        box = ((left - x0) * scale, (top - y0) * scale, (right - x0) * scale, (bottom - y0) * scale)
        windows.append(Window(np.ascontiguousarray(pixels), box, row.source, row.is_face))
    return windows


class Draws(keras.utils.PyDataset):  # type: ignore[misc]
    """Augmented crops, half of them faces; within a class, a set weighs the root of its number."""

    def __init__(self, windows: Sequence[Window], draws: int, seed: int) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self._faces = np.array([window.is_face for window in windows])
        self._windows, self._draws, self._random = windows, draws, np.random.default_rng(seed)
        groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for index, window in enumerate(windows):
            groups[window.source, window.is_face].append(index)
        weights = np.zeros(len(windows))
        for members in groups.values():
            weights[members] = len(members) ** -0.5
        for is_face in (False, True):
            weights[self._faces == is_face] /= 2 * weights[self._faces == is_face].sum()
        self._weights = weights
        self.on_epoch_end()

    def __len__(self) -> int:
        return self._draws // BATCH

    def on_epoch_end(self) -> None:
        """Draw the crops of the next epoch."""
        self._order = self._random.choice(len(self._weights), self._draws, p=self._weights)
        self._seeds = self._random.integers(2**62, size=self._draws)

    def __getitem__(self, index: int) -> tuple[Image, npt.NDArray[np.float32]]:
        part = slice(index * BATCH, (index + 1) * BATCH)
        crops = [
            view(self._windows[i], np.random.default_rng(seed))
            for i, seed in zip(self._order[part], self._seeds[part], strict=True)
        ]
        labels = one_hot(self._faces[self._order[part]])
        return np.stack(crops), labels * (2 * CERTAINTY - 1) + (1 - CERTAINTY)


def view(window: Window, random: np.random.Generator) -> Image:
    """Return an augmented crop: shifted, scaled, turned, mirrored and seen by some camera."""
    left, top, right, bottom = window.box
    side = max(right - left, bottom - top)
    x = (left + right) / 2 + side * random.uniform(-SHIFT, SHIFT)
    y = (top + bottom) / 2 + side * random.uniform(-SHIFT, SHIFT)
    side *= (1 + 2 * MARGIN) * random.uniform(1 - SCALE, 1 + SCALE)
    seen = min(SIZE, max(12, int(side)))
    if random.random() < FAR:
        seen = int(np.exp(random.uniform(np.log(min(LEAST_SEEN, seen)), np.log(seen))))
    turn = 0.0
    if random.random() < TILTED:
        turn = random.uniform(-TILT, TILT)
    elif random.random() < TURNED / (1 - TILTED):
        turn = random.uniform(-180, 180)
    mirror = -1.0 if random.random() < 0.5 else 1.0
    cut = augment.cut(window.pixels, (x, y), side, seen, np.deg2rad(turn), mirror)
    return augment.camera(cut, SIZE, random)


@dataclass(frozen=True)
class Detections:
    """What the detector finds in validation scenes.

    crops: as the verifier is given them. is_face (n,). odds: the detector's log-odds (n,). sides:
    the boxes' shorter sides in pixels (n,). scenes: their number.
    """

    crops: list[Image]
    is_face: npt.NDArray[np.bool_]
    odds: npt.NDArray[np.float64]
    sides: npt.NDArray[np.float64]
    scenes: int


def detections_of(
    detector: FaceMask, scenes: Sequence[validation.Scene], labeller: FaceDetector
) -> Detections:
    """Search validation scenes; what no one boxed, but the labeller sees, is left out."""
    rows: list[tuple[Image, bool, float, int]] = []

    def add(image: Image, face: Face, *, true: bool) -> None:
        seen = crop(image, face.box, MARGIN, SIZE, face.roll)
        rows.append((seen, true, log_odds(face.confidence), face.box.short_side))

    for scene in track(scenes, "Searching validation"):
        found, others = validation.match(
            detector.detect(scene.image, DOUBT[0], FaceMask.LONG_SIDE), scene
        )
        for row in found:
            box = row.sample.annotated
            if row.face and box and short_side(box) >= validation.SIZE:
                add(scene.image, row.face, true=True)
        known = [corners(f.box) for f in labeller.detect(scene.image, pictures.SEEN)]
        for face in others:
            if face.box.short_side >= validation.SIZE and not pictures.touched(face, known):
                add(scene.image, face, true=False)
    crops, is_face, odds, sides = zip(*rows, strict=True)
    return Detections(
        list(crops), np.array(is_face), np.array(odds), np.array(sides, float), len(scenes)
    )


def train(windows: Sequence[Window], seen: Detections, run: Path, start: Path, epochs: int) -> None:
    """Train, and keep the epoch with the lowest validation loss as best.keras in the run's folder.

    Writes history.csv and curves.png too. The same call goes on after the last finished epoch.
    """
    keras.utils.set_random_seed(SEED)
    model = headed(base_of(keras.saving.load_model(start)), statistics=False)
    backup, history, best = run / "backup", run / "history.csv", run / "best.keras"
    if not backup.exists():
        base_of(model).trainable = False
        model.compile(keras.optimizers.Adam(HEAD_RATE), LOSS, metrics=["accuracy"])
        model.fit(Draws(windows, DRAWS // 2, SEED))
    unfreeze(model, "Conv1")
    steps = epochs * (DRAWS // BATCH) - WARM_UP
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 100, steps, alpha=0.02, warmup_target=RATE, warmup_steps=WARM_UP
    )
    model.compile(keras.optimizers.Adam(rate), LOSS, metrics=["accuracy"])
    model.fit(
        Draws(windows, DRAWS, SEED + 1),
        epochs=epochs,
        validation_data=(np.stack(seen.crops), one_hot(seen.is_face)),
        callbacks=[
            keras.callbacks.ModelCheckpoint(best, save_best_only=True),
            keras.callbacks.CSVLogger(history, append=True),
            keras.callbacks.BackupAndRestore(backup, delete_checkpoint=False),
        ],
    )
    with history.open() as file:
        figures.curves([*map(row_of, csv.DictReader(file))], run / "curves.png")


def write(run: Path, windows: Sequence[Window]) -> None:
    """Write verifier.onnx, the best epoch quantized to 8 bits, into the run's folder."""
    sample = [windows[i] for i in range(0, len(windows), -(-len(windows) // CALIBRATING))]
    crops = [crop(w.pixels, Box.within(w.pixels, *w.box), MARGIN, SIZE) for w in sample]
    network = convert(keras.saving.load_model(run / "best.keras"), SIZE)
    (run / FILE).write_bytes(quantize(network, crops))


def one_hot(is_face: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return labels one-hot encoded, float32 (n, 2)."""
    return np.asarray(np.eye(2)[is_face.astype(int)], np.float32)


def row_of(values: dict[str, str]) -> dict[str, float | str]:
    """Return a row of the history as figures.curves() wants it."""
    return {"phase": "verifier"} | {key: float(value) for key, value in values.items()}


def fitted(seen: Detections, network: bytes) -> tuple[float, float, float]:
    """Return the weights of detector and verifier by logistic regression, and the constant.

    The constant lets ALARMS false alarms a scene reach the default confidence.
    """
    said = probabilities(network, seen.crops)[:, FACE]
    inputs = np.column_stack([seen.odds, [log_odds(p) for p in said], np.ones(len(said))])
    weights = np.zeros(3)
    for _ in range(50):  # Newton's method
        estimate = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (seen.is_face - estimate)
        curvature = (inputs.T * (estimate * (1 - estimate))) @ inputs + 1e-3 * np.eye(3)
        weights += np.linalg.solve(curvature, slope)
    alarm = ~seen.is_face & (seen.sides >= validation.ALARM)
    scores = np.sort((inputs[:, :2] @ weights[:2])[alarm])[::-1]
    highest = scores[min(round(ALARMS * seen.scenes), len(scores) - 1)] if len(scores) else 0.0
    constant = log_odds(DEFAULT_MIN_CONFIDENCE) - highest
    return round(float(weights[0]), 3), round(float(weights[1]), 3), round(float(constant), 3)


def export(
    run: Path, scenes: Sequence[validation.Scene], seen: Detections, output: Path
) -> VerifierCard:
    """Fit the weights on the validation part, and write network and card."""
    network = (run / FILE).read_bytes()
    digest = hashlib.sha256(network).hexdigest()
    card = VerifierCard(FILE, digest, SIZE, MARGIN, fitted(seen, network), DOUBT)
    (output / FILE).write_bytes(network)
    card.write(output / CARD)
    for name, each in (
        ("without", FaceMask.load(output, unaided=True)),
        ("with", FaceMask.load(output)),
    ):
        row = validation.measure(each, scenes, DEFAULT_MIN_CONFIDENCE)
        print(f"{name} verifier: " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()))
    return card


def collect(
    file: Path, labels: Path, detector: FaceMask, labeller: FaceDetector, leave_out: frozenset[str]
) -> None:
    """Write the candidates of the labelled training pictures to a file. Raises DatasetError."""
    if not labels.exists():
        raise DatasetError(f"{labels} is missing. Train the detector first: make train-detector.")
    yunet = YuNet(glance=False)

    def ours(side: int, image: Image) -> list[Face]:
        return detector.detect(image, CONFIDENCE, side)

    def theirs(image: Image) -> list[Face]:
        return yunet.detect(image, YUNET_CONFIDENCE)

    searches: list[Search] = [*(partial(ours, side) for side in SIDES), theirs]
    shown = pictures.chosen(pictures.load(labels), leave_out)
    candidates.save(candidates.collect(shown, searches, labeller), file)


def main() -> None:
    """Parse the command line, train and export."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.detector.verifier",
        description=__doc__,
        epilog="Example: python -m model.training.detector.verifier --data pictures "
        "--labels runs/detector/pictures.jsonl --start runs/train/best.keras. The same command "
        "resumes.",
    )
    parser.add_argument("--data", type=Path, required=True, help="data sets, see dataset.read")
    parser.add_argument(
        "--run", type=Path, default=Path("runs/verifier"), help="folder of the run (%(default)s)"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        default=Path("runs/detector/pictures.jsonl"),
        help="the detector's labelled pictures (%(default)s)",
    )
    parser.add_argument(
        "--start",
        type=Path,
        default=Path("runs/train/best.keras"),
        help="a trained mask network (%(default)s)",
    )
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SET", help="to test on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument(
        "--output", type=Path, default=facemask.WEIGHTS, help="folder (default: the served)"
    )
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    second, leave_out = args.labels.with_name("centerface.onnx"), frozenset(args.leave_out)
    try:
        centerface.fetch(second)
        labeller = CenterFace(second)
        detector = FaceMask.load(args.output, unaided=True)
        collected = args.run / "candidates.jsonl"
        if not collected.exists():
            collect(collected, args.labels, detector, labeller, leave_out)
        scenes = validation.scenes_of(args.data, leave_out=leave_out)
        if not scenes:
            sys.exit(f"{args.data} has no validation pictures whose faces were boxed by people.")
        seen = detections_of(detector, scenes, labeller)
        if not (args.run / FILE).exists():
            windows = cut_windows(chosen(candidates.load(collected)))
            train(windows, seen, args.run, args.start, args.epochs)
            write(args.run, windows)
        card = export(args.run, scenes, seen, args.output)
    except (DatasetError, DetectorUnavailable) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted. The same command resumes at the last epoch saved in {args.run}.")
    print(f"Wrote {args.output / FILE}, sha256 {card.sha256}")


if __name__ == "__main__":
    main()
