"""Judge labelled faces as they are served, and note what kind of face each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import track

from model.faces import Face
from model.images import Box, Image, ImageError
from model.pipeline import Judgement, MaskPipeline
from model.training import traits
from model.training.dataset import SAME_FACE, Sample, corners, nonempty, overlap

NOT_FOUND = "not found"


@dataclass(frozen=True)
class Verdict:
    """A labelled face and what was answered.

    on_box: the label given on the annotated box, mask: the probability of mask there, 0..1, None
    if the picture could not be judged. end_to_end: the label of the detection of this face, or
    NOT_FOUND. box: where it was judged. traits: see traits.of().
    """

    sample: Sample
    on_box: str
    end_to_end: str
    mask: float | None = None
    box: Box | None = None
    traits: dict[str, str] = field(default_factory=dict)


def judge(pipeline: MaskPipeline, samples: Sequence[Sample]) -> list[Verdict]:
    """Send each picture the whole way, then judge its annotated boxes too.

    An annotated face counts as found when a detection overlaps it by SAME_FACE; each detection
    serves one face. Of a picture with a label and no box the largest detected face is judged.
    """
    by_path: dict[str, list[Sample]] = {}
    for sample in samples:
        by_path.setdefault(sample.path, []).append(sample)
    verdicts: list[Verdict] = []
    for path, faces in track(by_path.items(), "Judging"):
        try:
            analysis = pipeline.analyse(Path(path).read_bytes())
        except (ImageError, OSError) as error:
            print(f"Not judged, counted as not found: {path}: {error}")
            verdicts += [Verdict(sample, NOT_FOUND, NOT_FOUND) for sample in faces]
            continue
        found = matched(analysis.judgements, faces)
        pairs = zip(faces, found, strict=True)
        verdicts += [verdict(pipeline, analysis.image, *pair) for pair in pairs]
    return verdicts


def verdict(
    pipeline: MaskPipeline, image: Image, sample: Sample, found: Judgement | None
) -> Verdict:
    """Judge one labelled face on its annotated box, beside what was found of it."""
    on_box = found
    if sample.annotated is not None:
        box = nonempty(image, sample.annotated)
        on_box = pipeline.judge(image, [Face(box, 1.0)])[0]
    if on_box is None:
        return Verdict(sample, NOT_FOUND, NOT_FOUND)
    return Verdict(
        sample=sample,
        on_box=on_box.label,
        end_to_end=found.label if found else NOT_FOUND,
        mask=on_box.mask,
        box=on_box.face.box,
        traits=traits.of(image, on_box.face.box, found.face.landmarks if found else None, sample),
    )


def matched(judgements: Sequence[Judgement], faces: Sequence[Sample]) -> list[Judgement | None]:
    """Return what was found of each labelled face of a picture, the best overlaps first."""
    boxes = [corners(judgement.face.box) for judgement in judgements]
    found: list[Judgement | None] = [None] * len(faces)
    pairs = []
    for i, face in enumerate(faces):
        if face.annotated is not None:
            pairs += [(overlap(face.annotated, box), i, j) for j, box in enumerate(boxes)]
        elif boxes:
            sizes = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
            found[i] = judgements[int(np.argmax(sizes))]
    taken: set[int] = set()
    for share, i, j in sorted(pairs, reverse=True):
        if share >= SAME_FACE and found[i] is None and j not in taken:
            found[i] = judgements[j]
            taken.add(j)
    return found
