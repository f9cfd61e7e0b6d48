"""Read and write what a system said of pictures, as JSON lines, so that any can be compared.

One line is one face that was found:

    {"image": "street/1.jpg", "box": [12, 20, 60, 81], "label": "mask", "mask": 0.98}

image is the path below the data's folder; box is left, top, right, bottom in pixels of the upright
picture; label is mask, no_mask or uncertain, mask the probability of mask, 0..1. One of the last
two is enough: without a label it is `mask` from a probability of one half on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.classifier import LABELS
from model.training.data.dataset import Corners
from model.training.evaluation.cases import UNCERTAIN, Answer

ANSWERS = (*LABELS, UNCERTAIN)


class PredictionError(ValueError):
    """A file of predictions cannot be used; the message says where and why."""


def read(file: Path, data: Path) -> dict[str, list[Answer]]:
    """Return the answers of each picture, by its path. Raises PredictionError."""
    answers: dict[str, list[Answer]] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise PredictionError(f"The predictions {file} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                image, answer = parsed(line)
            except PredictionError as error:
                raise PredictionError(f"{file}, line {number}: {error}") from error
            answers.setdefault(str(data / image), []).append(answer)
    return answers


def parsed(line: str) -> tuple[str, Answer]:
    """Return a line's picture and answer; raises PredictionError saying what is wrong with it."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise PredictionError(f"that is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise PredictionError(f"{row!r} is no object with image, box and label or mask")
    image, label = row.get("image"), row.get("label")
    mask: Any = row.get("mask")
    if not isinstance(image, str) or not image:
        raise PredictionError(f"image is {image!r}, not a path below the data's folder")
    if mask is not None and not (is_number(mask) and 0 <= mask <= 1):
        raise PredictionError(f"mask is {mask!r}, not a probability between 0 and 1")
    if label is None and mask is None:
        raise PredictionError("there is neither label nor mask")
    if label is None:
        label = "mask" if mask >= 0.5 else "no_mask"
    if label not in ANSWERS:
        raise PredictionError(f"label is {label!r}, not one of {', '.join(ANSWERS)}")
    return image, Answer(box_of(row.get("box")), label, mask)


def box_of(value: Any) -> Corners:
    """Return the four corners of a box; raises PredictionError if they are none."""
    if not (isinstance(value, list) and len(value) == 4 and all(map(is_number, value))):
        raise PredictionError(f"box is {value!r}, not four numbers: left, top, right, bottom")
    left, top, right, bottom = map(float, value)
    if right <= left or bottom <= top:
        raise PredictionError(f"box is {value!r}, whose right or bottom is not beyond its begin")
    return left, top, right, bottom


def is_number(value: Any) -> bool:
    """Tell a finite number from anything else that JSON holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def write(answers: Mapping[str, Sequence[Answer]], file: Path, data: Path) -> None:
    """Write answers such that read() gives them back, landmarks excepted."""
    rows = [
        {
            "image": Path(path).relative_to(data).as_posix(),
            "box": answer.box,
            "label": answer.label,
            "mask": answer.mask,
        }
        for path, found in answers.items()
        for answer in found
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
