"""Judge pictures on which users once got wrong answers, and compare with what they expect.

The pictures are other people's and not part of the repository. How a file's name starts says what
is expected (EXPECTED).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from model.images import ImageError, open_picture
from model.pipeline import Analysis, MaskPipeline, Verdict
from model.training.data.boxes import INSIDE, contained
from model.training.data.dataset import corners

WIDE_PX = (40, 100)  # shorter sides of the masked faces in the wide pictures
NAMED = re.compile("^This is an? ")


@dataclass(frozen=True)
class Expected:
    """What a user expects of a picture: in words, and whether an analysis fulfils it."""

    words: str
    fulfilled: Callable[[Analysis], bool]


def largest(analysis: Analysis) -> str:
    """Return the label of the largest face, "" without one."""
    faces = sorted(analysis.verdicts, key=size)
    return faces[-1].label if faces else ""


def size(verdict: Verdict) -> int:
    """Return the area of a face's box in pixels."""
    return verdict.face.box.width * verdict.face.box.height


def nested(analysis: Analysis) -> bool:
    """Tell whether the box of one face lies in that of another."""
    boxes = [corners(verdict.face.box) for verdict in analysis.verdicts]
    return any(contained(inner, outer) >= INSIDE for inner, outer in permutations(boxes, 2))


def small_and_masked(analysis: Analysis) -> bool:
    """Tell whether masked faces of WIDE_PX are found, and none of that size is called bare."""
    low, high = WIDE_PX
    labels = [v.label for v in analysis.verdicts if low <= v.face.box.short_side < high]
    return "mask" in labels and "no_mask" not in labels


MASK = Expected("`mask`", lambda a: largest(a) == "mask")
BARE = Expected("`no_mask`", lambda a: largest(a) == "no_mask")
ONE = Expected("one box a face", lambda a: bool(a.verdicts) and not nested(a))
JUDGED = Expected("faces", lambda a: bool(a.verdicts))
# By the start of the picture's name; the first that fits counts.
EXPECTED: Mapping[str, Expected] = {
    "rot": Expected("`mask` or `uncertain`", lambda a: largest(a) in {"mask", "uncertain"}),
    "ppe_": MASK,
    "gasmask_": MASK,
    "sunglasses": MASK,
    "closeup_": MASK,
    "lips_": MASK,
    "panda_": MASK,
    "nested": ONE,
    "hand_": BARE,
    "profile_unmasked_": BARE,
    "back_of_head_": Expected("no face", lambda a: not a.verdicts),
    "wide": Expected("masked faces of 40 to 100 px", small_and_masked),
    "no_eoi": JUDGED,
    "c.jfif": JUDGED,
    "phone.avif": JUDGED,
    "pano": Expected(
        "faces from 50 px, or smallest_face", lambda a: bool(a.verdicts) or a.smallest_face > 50
    ),
}
REFUSED = "judged, or refused by name"


def judged(pipeline: MaskPipeline, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Judge the pictures of each subfolder, {subfolder: [{picture, expected, answer, right}]}."""
    return {
        sub.name: [row_of(pipeline, file) for file in sorted(sub.iterdir()) if file.is_file()]
        for sub in sorted(folder.iterdir())
        if sub.is_dir()
    }


def row_of(pipeline: MaskPipeline, file: Path) -> dict[str, Any]:
    """Judge a picture; returns its row. A picture of a name that is not known needs a face."""
    start = next((start for start in EXPECTED if file.name.startswith(start)), None)
    expected = EXPECTED[start] if start else Expected(REFUSED, JUDGED.fulfilled)
    try:
        analysis = pipeline.analyse(open_picture(file.read_bytes()))
    except ImageError as error:
        answer, right = str(error).partition(".")[0], not start and bool(NAMED.match(str(error)))
    else:
        answer, right = said(analysis.verdicts), expected.fulfilled(analysis)
        if not analysis.verdicts:
            answer += f" of {analysis.smallest_face} px or more"
    return {"picture": file.name, "expected": expected.words, "answer": answer, "right": right}


def said(verdicts: Sequence[Verdict]) -> str:
    """Return the labels of faces in words, the largest face first."""
    if not verdicts:
        return "no face"
    ordered = sorted(verdicts, key=size, reverse=True)
    return ", ".join(f"{v.label} {v.mask:.2f}" for v in ordered[:4]) + (
        f" and {len(ordered) - 4} more" if len(ordered) > 4 else ""
    )
