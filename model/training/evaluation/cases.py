"""Hold what was answered against labelled faces, and note what kind of face each one is."""

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
from model.pipeline import MaskPipeline
from model.training.data.dataset import SAME_FACE, Corners, Sample, corners, nonempty, overlap
from model.training.evaluation import traits

NOT_FOUND = "not found"
UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Answer:
    """What a system said of one face that it found.

    box: pixels of the upright picture. label: one of LABELS or UNCERTAIN. mask: the probability of
    mask, 0..1, None of a system that gives none. landmarks: see model.detectors.faces.Face.
    """

    box: Corners
    label: str
    mask: float | None = None
    landmarks: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Case:
    """A labelled face and what was answered.

    end_to_end: the label of the detection of this face, or NOT_FOUND; found_mask: the probability
    of mask there. on_box: the label given on the annotated box, None of a system whose detections
    alone are known; mask: the probability of mask there. Probabilities are 0..1, None where there
    was none. box: where it was judged. traits: see traits.of().
    """

    sample: Sample
    end_to_end: str
    found_mask: float | None = None
    on_box: str | None = None
    mask: float | None = None
    box: Box | None = None
    traits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """One of the two ways to ask: the label answered, and the probability of mask if any."""

    label: Callable[[Case], str]
    mask: Callable[[Case], float | None]

    def right(self, case: Case) -> bool:
        """Tell whether the label is the face's; uncertain and not found are not."""
        return self.label(case) == LABELS[case.sample.label]


WAYS = {
    "on_box": Way(lambda c: c.on_box or NOT_FOUND, lambda c: c.mask),
    "end_to_end": Way(lambda c: c.end_to_end, lambda c: c.found_mask),
}


def ways_of(cases: Sequence[Case]) -> dict[str, Way]:
    """Return the ways that were asked, on boxes first if these were judged."""
    boxed = any(c.on_box is not None for c in cases)
    return {name: way for name, way in WAYS.items() if boxed or name != "on_box"}


def share(values: Iterable[bool]) -> float:
    """Return the share of true values, rounded to four places; 0 of none."""
    counted = list(values)
    return round(sum(counted) / max(len(counted), 1), 4)


def answers_of(pipeline: MaskPipeline, samples: Sequence[Sample]) -> dict[str, list[Answer]]:
    """Send each picture the whole way; of one that cannot be decoded there is no answer."""
    answers: dict[str, list[Answer]] = {}
    for path in track(by_path(samples), "Finding and judging"):
        try:
            verdicts = pipeline.analyse(open_picture(Path(path).read_bytes())).verdicts
        except (ImageError, OSError):  # judge() comes upon it too, and says so
            verdicts = []
        answers[path] = [
            Answer(corners(v.face.box), v.label, v.mask, v.face.landmarks) for v in verdicts
        ]
    return answers


def judge(
    samples: Sequence[Sample],
    answers: Mapping[str, Sequence[Answer]],
    pipeline: MaskPipeline | None = None,
) -> list[Case]:
    """Hold the answers of each picture against its labelled faces.

    An annotated face counts as found when a detection overlaps it by SAME_FACE; each detection
    serves one face. Of a picture with a label and no box the largest detected face counts. A
    pipeline judges the annotated boxes too.
    """
    cases: list[Case] = []
    for path, faces in track(by_path(samples).items(), "Comparing"):
        try:
            image = decode(Path(path).read_bytes())
        except (ImageError, OSError) as error:
            print(f"Not judged, counted as not found: {path}: {error}")
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
    """Hold one labelled face against what was found of it, and judge its annotated box."""
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
        traits=traits.of(image, box, found.landmarks if found else None, sample),
    )


def nowhere(sample: Sample, pipeline: MaskPipeline | None) -> Case:
    """Return the case of a face that has neither a box nor a detection."""
    missed = NOT_FOUND if pipeline else None
    return Case(sample, NOT_FOUND, on_box=missed, traits=traits.of_set(sample))


def matched(answers: Sequence[Answer], faces: Sequence[Sample]) -> list[Answer | None]:
    """Return what was found of each labelled face of a picture, the best overlaps first."""
    found: list[Answer | None] = [None] * len(faces)
    pairs = []
    for i, face in enumerate(faces):
        if face.annotated is not None:
            pairs += [(overlap(face.annotated, a.box), i, j) for j, a in enumerate(answers)]
        elif answers:
            sizes = [(a.box[2] - a.box[0]) * (a.box[3] - a.box[1]) for a in answers]
            found[i] = answers[int(np.argmax(sizes))]
    taken: set[int] = set()
    for share, i, j in sorted(pairs, reverse=True):
        if share >= SAME_FACE and found[i] is None and j not in taken:
            found[i] = answers[j]
            taken.add(j)
    return found
