"""Read and write a system's predictions as JSON lines, so that any system can be evaluated.

Each line is one detected face:

    {"image": "street/1.jpg", "box": [12, 20, 60, 81], "label": "mask", "mask": 0.98}

image: the path relative to the data's folder. box: left, top, right, bottom in pixels of the
upright picture. label: mask, no_mask or uncertain. mask: the probability of mask, 0..1. Either
label or mask may be missing; without a label it is `mask` if the probability is at least .5.
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
    """A predictions file cannot be used; the message says where and why."""


def read(file: Path, data: Path) -> dict[str, list[Answer]]:
    """Return the answers for each picture, by its path. Raises PredictionError."""
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
    """Return a line's picture and answer; raises PredictionError if the line is invalid."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise PredictionError(f"not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise PredictionError(f"{row!r} is not an object with image, box, and label or mask")
    image, label = row.get("image"), row.get("label")
    mask: Any = row.get("mask")
    if not isinstance(image, str) or not image:
        raise PredictionError(f"image is {image!r}, not a path relative to the data's folder")
    if mask is not None and not (is_number(mask) and 0 <= mask <= 1):
        raise PredictionError(f"mask is {mask!r}, not a probability between 0 and 1")
    if label is None and mask is None:
        raise PredictionError("both label and mask are missing; give one of them")
    if label is None:
        label = "mask" if mask >= 0.5 else "no_mask"
    if label not in ANSWERS:
        raise PredictionError(f"label is {label!r}, not one of {', '.join(ANSWERS)}")
    return image, Answer(box_of(row.get("box")), label, mask)


def box_of(value: Any) -> Corners:
    """Return a box as four numbers; raises PredictionError if it is invalid."""
    if not (isinstance(value, list) and len(value) == 4 and all(map(is_number, value))):
        raise PredictionError(f"box is {value!r}, not four numbers: left, top, right, bottom")
    left, top, right, bottom = map(float, value)
    if right <= left or bottom <= top:
        raise PredictionError(f"box is {value!r}; right must exceed left, and bottom exceed top")
    return left, top, right, bottom


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def write(answers: Mapping[str, Sequence[Answer]], file: Path, data: Path) -> None:
    """Write answers so that read() returns the same ones, without landmarks and traits."""
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
