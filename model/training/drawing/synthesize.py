"""Make a data set from unmasked faces by drawing masks and other objects on them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from model.detectors.faces import Face
from model.images import Image, crop
from model.training.data.dataset import CLASSES, DatasetError
from model.training.drawing.fabrics import COLOURS
from model.training.drawing.masks import Worn, synthesize_any_mask, synthesize_mask
from model.training.drawing.occluders import OCCLUDERS, occlude
from model.training.drawing.unmasked import Portrait, portraits

__all__ = [
    "COLOURS",
    "KINDS",
    "Worn",
    "make_data_set",
    "occlude",
    "synthesize_any_mask",
    "synthesize_mask",
]

Draw = Callable[[Image, Face, np.random.Generator], Image]


def leave(image: Image, face: Face, random: np.random.Generator) -> Image:
    """Return the image unchanged."""
    del face, random
    return image


@dataclass(frozen=True)
class Kind:
    """A kind of picture that is made from a face.

    cls: its class folder. draw: the function that draws it. share: its share of the pictures that
    are not with_mask.
    """

    cls: str
    draw: Draw
    share: float = 0.0


KINDS: dict[str, Kind] = {
    "mask": Kind("with_mask", synthesize_any_mask),
    "plain": Kind("without_mask", leave, 0.25),
    "under_nose": Kind("incorrect_mask", partial(synthesize_any_mask, worn="under_nose"), 0.2),
    "chin": Kind("incorrect_mask", partial(synthesize_any_mask, worn="chin"), 0.15),
    "eyes": Kind("incorrect_mask", partial(synthesize_any_mask, worn="eyes"), 0.05),
    **{
        name: Kind("without_mask", partial(occlude, kind=name), 0.35 / len(OCCLUDERS))
        for name in OCCLUDERS
    },
}
JPEG_QUALITY = 95
TILE, COLUMNS, STRIP = 160, 6, 150  # montage: tile in pixels, faces per row, label in pixels


class SynthesisError(ValueError):
    """The data set cannot be made; the message says why."""


@dataclass
class Written:
    """What was written: number of pictures per class, and some example faces per kind."""

    pictures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    faces: dict[str, list[Image]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def __str__(self) -> str:
        return ", ".join(f"{count} {cls}" for cls, count in self.pictures.items())


def negatives(random: np.random.Generator) -> Iterator[str]:
    """Yield the kinds that are not a correctly worn mask, without end, in their shares."""
    shares = {name: kind.share for name, kind in KINDS.items() if kind.share}
    owed = {kind: float(random.uniform(0, share)) for kind, share in shares.items()}
    while True:
        for kind, share in shares.items():
            owed[kind] += share
        kind = max(owed, key=owed.__getitem__)
        owed[kind] -= 1
        yield kind


def synthesize(image: Image, faces: list[Face], kind: str, random: np.random.Generator) -> Image:
    """Return the image with one kind of drawing on each of its faces."""
    for face in faces:
        image = KINDS[kind].draw(image, face, random)
    return image


def check(pictures: Path, output: Path) -> None:
    """Raise SynthesisError if the output folder is inside the input or already has pictures."""
    folder = pictures if pictures.is_dir() else pictures.parent  # of an annotations.json
    if output.resolve().is_relative_to(folder.resolve()):
        raise SynthesisError(
            f"{output} is inside {folder}, so the next run would read it as input. "
            "Choose a folder outside."
        )
    if any(next((output / cls).glob("*"), None) for cls in CLASSES):
        raise SynthesisError(
            f"{output} already contains pictures; choose another folder, or empty it."
        )


def make_data_set(
    pictures: Iterable[Portrait], output: Path, seed: int, per_face: int, written: Written
) -> None:
    """Write each picture per_face times with masks, and as often without a correctly worn one.

    The results are JPEG files in output/with_mask, /without_mask and /incorrect_mask. All faces of
    a picture get the same kind of drawing. written: updated after each picture. Raises
    SynthesisError if a file cannot be written.
    """
    try:
        for cls in CLASSES:
            (output / cls).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynthesisError(f"{output} cannot be created: {error.strerror}.") from error
    random = np.random.default_rng(seed)
    deal = negatives(random)
    for name, image, faces in pictures:
        for copy in range(per_face):
            # Write masked and other pictures in pairs: the set stays balanced if interrupted.
            for kind in ("mask", next(deal)):
                made = synthesize(image, faces, kind, random)
                cls = KINDS[kind].cls
                save(made, output / cls / f"{name}_{copy}_{kind}.jpg")
                written.pictures[cls] += 1
                if len(written.faces[kind]) < COLUMNS:
                    written.faces[kind].append(crop(made, faces[0].box, 0.4, TILE))


def save(image: Image, file: Path) -> None:
    """Write an RGB image as JPEG. Raises SynthesisError if it cannot be written."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    try:
        file.write_bytes(data.tobytes())
    except OSError as error:
        raise SynthesisError(f"{file} cannot be written: {error.strerror}.") from error


def montage(faces: dict[str, list[Image]]) -> Image:
    """Return a picture with a row of faces for each kind, next to its name and label."""
    rows = []
    for kind, tiles in faces.items():
        if not tiles:
            continue
        label = CLASSES[KINDS[kind].cls]
        row = np.full((TILE, STRIP + COLUMNS * TILE, 3), 255, np.uint8)
        colour = (0, 110, 40) if label == "mask" else (170, 20, 20)
        for text, y, size in ((kind, 75, 0.65), (label, 102, 0.55)):
            where = (10, y)
            cv2.putText(row, text, where, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
        shown = np.hstack(tiles)
        row[:, STRIP : STRIP + shown.shape[1]] = shown
        rows.append(row)
    return np.vstack(rows)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main() -> None:
    """Parse the command line and make a data set."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.drawing.synthesize",
        description="Make a balanced data set from unmasked faces. with_mask/ gets masks worn "
        "correctly; incorrect_mask/ gets masks under the nose, on the chin or over the eyes; "
        "without_mask/ gets plain faces, scarves, hands, cups, bottles, beards, paper and phones. "
        "montage.jpg shows examples.",
        epilog="Example: python -m model.training.drawing.synthesize --input faces --output made",
    )
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="folder of unmasked faces, or a data set, whose without_mask faces are used",
    )
    parser.add_argument(
        "--split",
        choices=("train", "val", "all"),
        default="all",
        help="part of the data set to use (default all)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default 1)")
    parser.add_argument(
        "--per-face",
        type=positive,
        default=2,
        metavar="N",
        help="number of masked and of other pictures per face (default 2)",
    )
    args = parser.parse_args()
    if args.seed < 0:
        parser.error("argument --seed: must be at least 0")
    written, interrupted = Written(), False
    try:
        found = portraits(args.input, args.split)
        check(args.input, args.output)
        make_data_set(found, args.output, args.seed, args.per_face, written)
    except (SynthesisError, DatasetError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        interrupted = True
    if any(written.pictures.values()):
        save(montage(written.faces), args.output / "montage.jpg")
    if interrupted:
        print(f"Interrupted; written so far to {args.output}: {written}.", file=sys.stderr)
        sys.exit(130)
    if not any(written.pictures.values()):
        sys.exit(f"Found no picture with a face in {args.input}.")
    print(f"Wrote to {args.output}: {written}; for examples see {args.output / 'montage.jpg'}")


if __name__ == "__main__":
    main()
