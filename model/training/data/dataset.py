"""Turn folders of labelled pictures into crops, cut exactly as in the service."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.classifier import LABELS
from model.images import Box, Image
from model.training.data import formats, voc, yolo

CLASSES = {"with_mask": "mask", "without_mask": "no_mask", "incorrect_mask": "no_mask"}
SAME_FACE = 0.4  # least intersection over union of a detection and the annotated face
TRAIN_DETECTION_CONFIDENCE = 0.5
CORRECTIONS = Path(__file__).parent / "corrections.json"
MASK_BOX = "mask_box"  # the origin of a box around only the mask
VALIDATION_SHARE = 0.1  # for a data set without its own split

Corners = formats.Corners
DatasetError = formats.DatasetError


@dataclass(frozen=True)
class Sample:
    """One labelled face.

    annotated: the data set's box, (left, top, right, bottom) in pixels; None for a picture with a
    label only. detected: our detector's box of the same face; None before located.locate() or if
    not found. human: whether a person drew the annotated box. mask_only: whether the box encloses
    only the mask. roll: degrees by which the face is turned clockwise, of a turned face found.
    """

    path: str
    cls: str
    source: str
    group: str
    split: str
    annotated: Corners | None = None
    detected: Corners | None = None
    human: bool = False
    mask_only: bool = False
    roll: float = 0.0

    @property
    def label(self) -> int:
        """The index in LABELS; an incorrectly worn mask is no_mask."""
        return LABELS.index(CLASSES[self.cls])


def read(folder: Path, *, mask_boxes: bool = False) -> list[Sample]:
    """Read every data set in a folder.

    A data set is a folder with an annotations.json (a list of {image, group, split, boxes: [{xyxy,
    cls, origin}]}), with Pascal VOC or YOLO annotations, or with class folders with_mask/,
    without_mask/ and optionally incorrect_mask/. The folder is a data set or contains data sets;
    the path of an annotations.json means its folder. Boxes of origin mask_box enclose a mask and
    not a face; they are left out unless mask_boxes is set. Raises DatasetError.
    """
    samples = find(folder, mask_boxes=mask_boxes)
    if not samples:
        raise DatasetError(
            f"{folder} is not a data set and contains none. Expected is annotations.json, the "
            "folders with_mask/ and without_mask/, or faces in Pascal VOC or YOLO format. "
            "Boxes of masks (origin mask_box) do not count as faces."
        )
    return samples


def find(folder: Path, *, mask_boxes: bool = False) -> list[Sample]:
    """Read every data set in a folder as read() does; returns an empty list if there is none."""
    if folder.name == "annotations.json":
        folder = folder.parent
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder.")
    samples = read_one(folder) or [s for sub in sorted(folder.iterdir()) for s in read_one(sub)]
    unknown = {s.cls for s in samples} - CLASSES.keys()
    if unknown:
        raise DatasetError(
            f"{folder} has unknown classes {sorted(unknown)}; allowed are {list(CLASSES)}."
        )
    return [s for s in samples if mask_boxes or not s.mask_only]


def read_one(folder: Path) -> list[Sample]:
    """Read one data set; returns an empty list if the folder is not one."""
    if (folder / "annotations.json").is_file():
        return read_manifest(folder)
    pictures = voc.read(folder) or yolo.read(folder) or formats.class_folders(folder)
    return together([s for picture in pictures for s in samples_of(picture, folder.name)])


def read_manifest(folder: Path) -> list[Sample]:
    """Read a folder's annotations.json."""
    file = folder / "annotations.json"
    try:
        rows = json.loads(file.read_text())
        samples = [manifest_sample(folder, row, box) for row in rows for box in row["boxes"]]
    except DatasetError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{file} cannot be read: {error!r}") from error
    return corrected(samples, folder)


def corrected(samples: list[Sample], folder: Path) -> list[Sample]:
    """Correct wrong labels and drop samples that are not usable faces.

    corrections.json lists them: {set, image, box, was, is, why}; `is` is null for a dropped sample.
    A correction applies if set, picture, old label and box (rounded, if the face has one) match.
    """
    rows = json.loads(CORRECTIONS.read_text())
    right = {
        (row["set"], row["image"], box, row["was"]): row["is"]
        for row in rows
        for box in (tuple(row["box"]), ())
    }
    kept = []
    for sample in samples:
        image = Path(sample.path).relative_to(folder).as_posix()
        box = tuple(round(v) for v in sample.annotated or ())
        cls = right.get((sample.source, image, box, sample.cls), sample.cls)
        if cls is not None:
            kept.append(replace(sample, cls=cls))
    return kept


def manifest_sample(folder: Path, row: dict[str, Any], box: dict[str, Any]) -> Sample:
    """Make a sample from one box of a manifest's row. Raises DatasetError."""
    file = folder / "annotations.json"
    path = formats.inside(folder, folder / row["image"], file)
    for name, value in (("group", row["group"]), ("split", row["split"]), ("cls", box["cls"])):
        if not isinstance(value, str):
            raise DatasetError(
                f"{file} has the {name} {value!r} for {row['image']}; it must be a string."
            )
    # A box of the whole picture does not locate the face; the picture may show a whole person.
    whole = box.get("origin") == "full_image"
    return Sample(
        path=str(path),
        cls=box["cls"],
        source=folder.name,
        group=row["group"],
        split=row["split"],
        annotated=None if whole else formats.four(box["xyxy"], file),
        human=box.get("origin") == "gt",
        mask_only=box.get("origin") == MASK_BOX,
    )


def samples_of(picture: formats.Picture, source: str) -> list[Sample]:
    """Make a sample of each face; identical pictures form a group, and groups are split by hash."""
    digest = hashlib.sha256(picture.path.read_bytes()).hexdigest()
    by_hash = "val" if int(digest[:8], 16) < VALIDATION_SHARE * 2**32 else "train"
    split, path = picture.split or by_hash, str(picture.path)
    return [
        Sample(path, cls, source, digest[:12], split, box, human=box is not None)
        for cls, box in picture.faces
    ]


def together(samples: list[Sample]) -> list[Sample]:
    """Move groups that are in both parts entirely into the validation part."""
    val = {sample.group for sample in samples if sample.split == "val"}
    return [replace(s, split="val") if s.group in val else s for s in samples]


def corners(box: Box) -> Corners:
    """Return a box as left, top, right, bottom."""
    return (box.x, box.y, box.x + box.width, box.y + box.height)


def overlap(a: Corners, b: Corners) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / max(areas - width * height, 1e-9)


def short_side(box: Corners) -> float:
    """Return a box's shorter side in pixels."""
    return min(box[2] - box[0], box[3] - box[1])


def match(annotated: Corners | None, boxes: Iterable[Corners]) -> Corners | None:
    """Return the box of the annotated face, or the largest one if there is no annotation."""
    if annotated is None:
        return max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]), default=None)
    best = max(boxes, key=lambda b: overlap(annotated, b), default=None)
    return best if best is not None and overlap(annotated, best) >= SAME_FACE else None


def save(samples: Sequence[Sample], file: Path) -> None:
    """Write samples as JSON, one per line."""
    file.write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in samples))


def load(file: Path) -> list[Sample]:
    """Read samples written by save()."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        for key in ("annotated", "detected"):
            row[key] = tuple(row[key]) if row[key] else None
    return [Sample(**row) for row in rows]


def sampling_weights(samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
    """Return each sample's probability of being drawn, with equal labels and large sets damped.

    Within a label, each stratum (set and class) is weighted by the square root of its size, so that
    a model cannot do well by recognising the sets. Shape (len(samples),), sum 1.
    """
    strata = Counter((s.source, s.cls) for s in samples)
    weights = np.array([strata[(s.source, s.cls)] ** -0.5 for s in samples])
    labels = np.array([s.label for s in samples])
    for label in np.unique(labels):
        weights[labels == label] /= weights[labels == label].sum()
    return np.asarray(weights / weights.sum())


def nonempty(image: Image, box: Corners) -> Box:
    """Clip a box to the image, keeping at least one pixel in each direction."""
    height, width = image.shape[:2]
    left, top = min(max(box[0], 0), width - 1), min(max(box[1], 0), height - 1)
    return Box.within(image, left, top, max(box[2], left + 1), max(box[3], top + 1))
