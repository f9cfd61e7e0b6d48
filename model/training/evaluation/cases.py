"""Compare a system's answers with the labelled faces, and record each face's traits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.classifier import LABELS
from model.detectors.faces import Face
from model.images import Box, Image, ImageError, decode, open_picture
from model.pipeline import MaskPipeline, Verdict
from model.training.data.boxes import COVERED, agreement, contained, encloses_head
from model.training.data.dataset import (
    SAME_FACE,
    Corners,
    Sample,
    corners,
    nonempty,
    overlap,
)
from model.training.evaluation import traits

NOT_FOUND = "not found"
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Answer:
    """A system's answer for one face that it found.

    box: pixels of the upright picture. label: one of LABELS or UNCERTAIN. mask: the probability of
    mask, 0..1; None if the system gives none. landmarks: see model.detectors.faces.Face. traits:
    what the system tells about the face, by which accuracy is reported separately.
    """

    box: Corners
    label: str
    mask: float | None = None
    landmarks: npt.NDArray[np.float32] | None = None
    traits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A labelled face and the answers for it.

    end_to_end: the label of this face's detection, or NOT_FOUND; found_mask: its probability of
    mask. on_box: the label for the annotated box, None if the system only gives detections; mask:
    its probability of mask. Probabilities are 0..1 or None. box: the box that was classified.
    traits: see traits.of() and Answer. overlaps: whether the detection matches by intersection over
    union too, and not only because it lies in the box of a head.
    """

    sample: Sample
    end_to_end: str
    found_mask: float | None = None
    on_box: str | None = None
    mask: float | None = None
    box: Box | None = None
    traits: dict[str, str] = field(default_factory=dict)
    overlaps: bool = True


@dataclass(frozen=True)
class Way:
    """One of the ways of evaluation: its label, and its probability of mask if known."""

    label: Callable[[Case], str]
    mask: Callable[[Case], float | None]

    def right(self, case: Case) -> bool:
        """Return whether the label is right; uncertain and not found are wrong."""
        return self.label(case) == LABELS[case.sample.label]


WAYS = {
    "on_box": Way(lambda c: c.on_box or NOT_FOUND, lambda c: c.mask),
    "end_to_end": Way(lambda c: c.end_to_end, lambda c: c.found_mask),
    "by_overlap": Way(
        lambda c: c.end_to_end if c.overlaps else NOT_FOUND,
        lambda c: c.found_mask if c.overlaps else None,
    ),
}


def ways_of(cases: Sequence[Case]) -> dict[str, Way]:
    """Return the ways that were evaluated; on_box, if evaluated, comes first.

    by_overlap, which is stricter than end_to_end, differs from it only for the boxes of heads.
    """
    evaluated = {
        "on_box": any(c.on_box is not None for c in cases),
        "end_to_end": True,
        "by_overlap": any(encloses_head(c.sample) for c in cases),
    }
    return {name: way for name, way in WAYS.items() if evaluated[name]}


def share(values: Iterable[bool]) -> float:
    """Return the share of true values, rounded to four places; 0 if there are none."""
    counted = list(values)
    return round(sum(counted) / max(len(counted), 1), 4)


def answers_of(pipeline: MaskPipeline, samples: Sequence[Sample]) -> dict[str, list[Answer]]:
    """Run the whole pipeline on each picture; one that cannot be decoded gets no answers."""
    answers: dict[str, list[Answer]] = {}
    for path in track(by_path(samples), "Finding and judging"):
        try:
            verdicts = pipeline.analyse(open_picture(Path(path).read_bytes())).verdicts
        except (ImageError, OSError):  # judge() fails on it too and reports it
            verdicts = []
        answers[path] = [
            Answer(corners(v.face.box), v.label, v.mask, v.face.landmarks, told(v))
            for v in verdicts
        ]
    return answers


def told(verdict: Verdict) -> dict[str, str]:
    """Return what our system tells about a face: its roll and the stage that judged it."""
    return {"roll": traits.band(abs(verdict.face.roll), traits.ROLL), "stage": verdict.stage}


def judge(
    samples: Sequence[Sample],
    answers: Mapping[str, Sequence[Answer]],
    pipeline: MaskPipeline | None = None,
) -> list[Case]:
    """Compare the answers for each picture with its labelled faces.

    An annotated face counts as found if a detection agrees with it (boxes.agreement), and the box
    of a mask if most of it lies in a detection; each detection is used for one face. In a picture
    with a label but no box, the largest detected face counts.
    pipeline: if given, classifies the annotated boxes too.
    """
    cases: list[Case] = []
    for path, faces in track(by_path(samples).items(), "Comparing"):
        try:
            image = decode(Path(path).read_bytes())
        except (ImageError, OSError) as error:
            print(f"Cannot read {path}, counted as not found: {error}")
            cases += [nowhere(sample, pipeline) for sample in faces]
            continue
        found = matched(answers.get(path, []), faces)
        pairs = zip(faces, found, strict=True)
        cases += [case_of(image, sample, answer, pipeline) for sample, answer in pairs]
    return cases


def by_path(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Return the faces of each picture."""
    pictures: dict[str, list[Sample]] = {}
    for sample in samples:
        pictures.setdefault(sample.path, []).append(sample)
    return pictures


def case_of(
    image: Image, sample: Sample, found: Answer | None, pipeline: MaskPipeline | None
) -> Case:
    """Compare one labelled face with its detection, and classify its annotated box."""
    place = sample.annotated or (found.box if found else None)
    if place is None:
        return nowhere(sample, pipeline)
    box = nonempty(image, place)
    on_box, mask = None, None
    if pipeline:
        verdict = pipeline.judge(image, [Face(box, 1.0)])[0]
        on_box, mask = verdict.label, verdict.mask
    return Case(
        sample=sample,
        end_to_end=found.label if found else NOT_FOUND,
        found_mask=found.mask if found else None,
        on_box=on_box,
        mask=mask,
        box=box,
        traits=traits.of(image, box, found.landmarks if found else None, sample)
        | (found.traits if found else {}),
        overlaps=found is None
        or sample.annotated is None
        or overlap(found.box, sample.annotated) >= SAME_FACE,
    )


def nowhere(sample: Sample, pipeline: MaskPipeline | None) -> Case:
    """Return the case of a face that has neither a box nor a detection."""
    missed = NOT_FOUND if pipeline else None
    return Case(sample, NOT_FOUND, on_box=missed, traits=traits.of_set(sample))


def matched(answers: Sequence[Answer], faces: Sequence[Sample]) -> list[Answer | None]:
    """Return the answer for each labelled face of a picture; best overlaps are matched first."""
    found: list[Answer | None] = [None] * len(faces)
    pairs = []
    for i, face in enumerate(faces):
        if face.annotated is not None:
            pairs += [(agreed(a, face, face.annotated), i, j) for j, a in enumerate(answers)]
        elif answers:
            sizes = [(a.box[2] - a.box[0]) * (a.box[3] - a.box[1]) for a in answers]
            found[i] = answers[int(np.argmax(sizes))]
    taken: set[int] = set()
    for share, i, j in sorted(pairs, reverse=True):
        if share and found[i] is None and j not in taken:
            found[i] = answers[j]
            taken.add(j)
    return found


def agreed(answer: Answer, face: Sample, annotated: Corners) -> float:
    """Return how well an answer's box agrees with a labelled face, 0..1; 0 if it does not."""
    if face.mask_only:
        share = contained(annotated, answer.box)
        return share if share >= COVERED else 0.0
    return agreement(answer.box, annotated, head=encloses_head(face))
