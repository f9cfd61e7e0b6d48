"""What the detector learns from each picture: its faces, and areas to ignore.

Data sets draw different boxes: around the face, the whole head, or the mask alone. The detector
learns boxes of faces, so a box of another kind is replaced by the face that a detector sees there,
or else says only that a face is somewhere in it. Faces that no one annotated are looked for too:
a detector that is punished for finding them learns to miss faces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.detectors.faces import Face, FaceDetector
from model.images import ImageError, decode
from model.training.data import dataset
from model.training.data.boxes import COVERED, HEADS, INSIDE, contained, part
from model.training.data.dataset import Corners, Sample, corners, overlap

STATES = {"with_mask": 0, "without_mask": 1, "incorrect_mask": 2}  # indices of graph.STATES
UNKNOWN = -1
FACE_AROUND_MASK = (-0.02, -1.0, 1.02, 1.1)
NO_FACES = {"karan_scenes", "prajnasb_synthetic_masks"}  # drawings and pasted masks
SAME = 0.4  # intersection over union of an annotated and a detected face
CLOSE = 0.5  # the same, from which a detected box is better than an estimated one
SEEN, SURE = 0.3, 0.6  # confidence of a detector
CONFIRMED = 0.5  # confidence of the second detector from which an unannotated face is one


@dataclass(frozen=True)
class Target:
    """A face in a picture, or an area to ignore.

    box: left, top, right, bottom in pixels. state: an index of graph.STATES or UNKNOWN. exact: the
    box is that of the face. landmarks: 10 numbers, x and y in pixels, or none. ignored: it may be
    a face or not.
    """

    box: Corners
    state: int = UNKNOWN
    exact: bool = False
    landmarks: tuple[float, ...] = ()
    ignored: bool = False


@dataclass(frozen=True)
class Labelled:
    """A picture, its data set, its split, and what is in it.

    traps: boxes of what a detector took for a face and is none. missed: boxes of faces that it did
    not find.
    """

    path: str
    source: str
    split: str
    targets: tuple[Target, ...]
    traps: tuple[Corners, ...] = ()
    missed: tuple[Corners, ...] = ()


def label(
    samples: Sequence[Sample], detector: FaceDetector, labeller: FaceDetector
) -> list[Labelled]:
    """Label every picture of some samples; unreadable pictures are left out with a message.

    detector: gives boxes and landmarks. labeller: tells which unannotated detections are faces.
    """
    by_path: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.source not in NO_FACES:
            by_path.setdefault(sample.path, []).append(sample)
    pictures = []
    for path, annotated in track(by_path.items(), "Labelling pictures"):
        try:
            image = decode(Path(path).read_bytes())
        except (ImageError, OSError) as error:
            print(f"Left out {path}: {error}")
            continue
        found = detector.detect(image, SEEN)
        # A picture with one label and no box shows one face, which the detector finds or not.
        scene = any(sample.human or sample.mask_only for sample in annotated)
        checked = labeller.detect(image, SEEN) if scene else []
        targets = targets_of(annotated, found, checked)
        if any(not target.ignored for target in targets):
            pictures.append(Labelled(path, annotated[0].source, annotated[0].split, targets))
    return pictures


def revised(
    pictures: Sequence[Labelled], detector: FaceDetector, labeller: FaceDetector
) -> list[Labelled]:
    """Revise the labels with a trained detector, and add its mistakes.

    It knows covered faces better than the detector that labelled the pictures. What it takes for a
    face, and the labeller does not, is a trap.
    """
    result = []
    for picture in track(pictures, "Revising labels"):
        image = decode(Path(picture.path).read_bytes())
        found = detector.detect(image, SEEN)
        targets = tuple(revised_target(target, found) for target in picture.targets)
        known = [target.box for target in targets]
        traps = [face for face in found if not touched(face, known)]
        if traps:
            faces = [corners(face.box) for face in labeller.detect(image, SEEN / 2)]
            traps = [trap for trap in traps if not touched(trap, faces)]
        missed = [
            target.box
            for target in targets
            if not target.ignored and not any(shows(corners(f.box), target) for f in found)
        ]
        result.append(
            replace(
                picture,
                targets=targets,
                traps=tuple(corners(trap.box) for trap in traps),
                missed=tuple(missed),
            )
        )
    return result


def revised_target(target: Target, found: Sequence[Face]) -> Target:
    """Return a face with the box of a detector that is sure of it.

    Where no detector is, the estimated box counts as exact: a face without a box to learn has one
    cell that answers for it, and its neighbours are told that they see nothing.
    """
    if target.exact or target.ignored:
        return target
    sure = [f for f in found if f.confidence >= SURE]
    face = max(sure, key=lambda f: overlap(corners(f.box), target.box), default=None)
    if face is None or overlap(corners(face.box), target.box) < CLOSE:
        return replace(target, exact=True)
    return replace(target, box=corners(face.box), exact=True, landmarks=landmarks_of(face))


def shows(box: Corners, target: Target) -> bool:
    """Return whether a detection's box shows an annotated face."""
    inside = not target.exact and contained(box, target.box) >= INSIDE
    return inside or overlap(box, target.box) >= SAME


def targets_of(
    annotated: Sequence[Sample], found: Sequence[Face], checked: Sequence[Face]
) -> tuple[Target, ...]:
    """Join annotations with what two detectors found in the same picture."""
    targets = [target_of(sample, found) for sample in annotated]
    known = [target.box for target in targets]
    for face in checked:
        if touched(face, known):
            continue
        sure = face.confidence >= CONFIRMED
        targets.append(Target(corners(face.box), ignored=not sure))
        known.append(corners(face.box))
    if not checked:
        targets += [
            Target(corners(face.box), ignored=face.confidence < SURE)
            for face in found
            if not touched(face, known)
        ]
    return tuple(targets)


def target_of(sample: Sample, found: Sequence[Face]) -> Target:
    """Return the face of one annotation."""
    state = STATES[sample.cls]
    if sample.annotated is None:
        face = max(found, key=lambda f: f.box.width * f.box.height, default=None)
        if face is None:
            return Target((0.0, 0.0, 1.0, 1.0), ignored=True)
        return Target(corners(face.box), state, exact=True, landmarks=landmarks_of(face))
    box, head = sample.annotated, HEADS.get((sample.source, sample.cls))
    if sample.mask_only:
        inside = [f for f in found if contained(box, corners(f.box)) >= COVERED]
        box = part(box, FACE_AROUND_MASK)
    else:
        inside = [f for f in found if overlap(box, corners(f.box)) >= SAME]
        if head:
            inside += [f for f in found if contained(corners(f.box), box) >= INSIDE]
            box = part(box, head)
    face = max(inside, key=lambda f: f.confidence, default=None)
    if face is None or face.confidence < SURE:
        return Target(box, state, exact=not head and not sample.mask_only)
    box = box if sample.human and not head else corners(face.box)
    return Target(box, state, exact=True, landmarks=landmarks_of(face))


def landmarks_of(face: Face) -> tuple[float, ...]:
    """Return a face's landmarks as ten numbers; none where the detector is not sure."""
    if face.landmarks is None or face.confidence < SURE:
        return ()
    return tuple(float(v) for v in face.landmarks.ravel())


def touched(face: Face, boxes: Iterable[Corners]) -> bool:
    """Return whether a detected face is one of those in boxes."""
    box = corners(face.box)
    return any(overlap(box, b) >= SAME / 2 or contained(box, b) >= INSIDE for b in boxes)


def weights_of(pictures: Sequence[Labelled]) -> npt.NDArray[np.float64]:
    """Return each picture's probability of being drawn; sum 1.

    A set weighs the square root of its pictures, a set of scenes three times as much as one of
    portraits: scenes hold the small faces and all that is no face. A picture is drawn twice as
    often as the others of its set for traps, for missed faces and for a wrongly worn mask each.
    """
    count = Counter(p.source for p in pictures)
    faces = Counter(p.source for p in pictures for _ in p.targets)
    scenes = {source for source in count if faces[source] > 1.2 * count[source]}
    weights = np.array(
        [
            count[p.source] ** -0.5
            * (3 if p.source in scenes else 1)
            * (2 if p.traps else 1)
            * (2 if p.missed else 1)
            * (2 if any(t.state == STATES["incorrect_mask"] for t in p.targets) else 1)
            for p in pictures
        ]
    )
    return np.asarray(weights / weights.sum())


def save(pictures: Sequence[Labelled], file: Path) -> None:
    """Write pictures as JSON, one a line."""
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(asdict(picture)) + "\n" for picture in pictures))
    temporary.replace(file)


def load(file: Path) -> list[Labelled]:
    """Read what save() wrote."""
    pictures = []
    for line in file.read_text().splitlines():
        row = json.loads(line)
        targets = tuple(
            Target(**(t | {"box": tuple(t["box"]), "landmarks": tuple(t["landmarks"])}))
            for t in row.pop("targets")
        )
        traps, missed = (
            tuple(tuple(box) for box in row.pop(name, ())) for name in ("traps", "missed")
        )
        pictures.append(Labelled(**row, targets=targets, traps=traps, missed=missed))
    return pictures


def label_all(data: Path, detector: FaceDetector, labeller: FaceDetector) -> list[Labelled]:
    """Label the training pictures of the data. Raises DatasetError."""
    samples = dataset.read(data, mask_boxes=True)
    return label([s for s in samples if s.split == "train"], detector, labeller)


def chosen(pictures: Sequence[Labelled], leave_out: frozenset[str]) -> list[Labelled]:
    """Return the pictures of all sets but those left out. Raises DatasetError for unknown sets."""
    if unknown := leave_out - {p.source for p in pictures}:
        raise dataset.DatasetError(f"There is no set {', '.join(sorted(unknown))} to leave out.")
    return [p for p in pictures if p.source not in leave_out]
