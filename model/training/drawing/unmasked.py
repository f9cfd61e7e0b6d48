"""Find unmasked faces to draw on, in a folder of pictures or in a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.progress import track

from model.detectors.faces import Face, FaceDetector
from model.detectors.yunet import YuNet
from model.images import Image, ImageError, decode
from model.training.data import dataset
from model.training.data.dataset import (
    SAME_FACE,
    TRAIN_DETECTION_CONFIDENCE,
    Corners,
    DatasetError,
    Sample,
    corners,
    match,
    nonempty,
    overlap,
)
from model.training.data.formats import SUFFIXES

Portrait = tuple[str, Image, list[Face]]

# Margins around a face on each side, relative to its box; the second if the first has other faces.
SURROUNDINGS = (0.6, 0.3)


def portraits(folder: Path, split: str) -> Iterator[Portrait]:
    """Return pictures of unmasked faces, each with a unique name and its faces.

    For a data set: the faces labelled without_mask in a split (train, val or all), cut out, one per
    picture. For another folder: its pictures unchanged. Unusable files and faces are printed.
    Raises DatasetError.
    """
    samples = dataset.find(folder)
    if samples:
        chosen = [s for s in samples if s.cls == "without_mask" and split in ("all", s.split)]
        if not chosen:
            raise DatasetError(f"{folder} has no face without a mask in '{split}'.")
        return labelled(samples, chosen)
    if split != "all":
        raise DatasetError(
            f"{folder} is not a data set, so it has no split '{split}'. Leave --split out."
        )
    return loose(folder)


def loose(folder: Path) -> Iterator[Portrait]:
    """Read a folder of pictures in which all faces are unmasked."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    detector = YuNet(glance=False)
    for number, file in enumerate(track(files, "Drawing masks")):
        image = opened(file)
        faces = [] if image is None else detector.detect(image, TRAIN_DETECTION_CONFIDENCE)
        if image is not None and faces:
            yield f"{number:05d}_{file.stem}", image, faces
        elif image is not None:
            print(f"Skipped {file}: no face found")


def labelled(samples: Sequence[Sample], chosen: Sequence[Sample]) -> Iterator[Portrait]:
    """Cut the chosen faces of a data set out of their pictures."""
    neighbours: dict[str, list[Corners]] = {}
    for sample in samples:
        if sample.annotated is not None:
            neighbours.setdefault(sample.path, []).append(sample.annotated)
    detector = YuNet(glance=False)
    for number, sample in enumerate(track(chosen, "Drawing masks")):
        file = Path(sample.path)
        image = opened(file)
        if image is None:
            continue
        portrait = cut_out(image, sample.annotated, neighbours.get(sample.path, []), detector)
        if portrait is None:
            print(f"Skipped a face in {file}: not found, or other faces are too close")
        else:
            yield f"{number:05d}_{file.stem}", *portrait


def opened(file: Path) -> Image | None:
    """Read a picture; prints the reason and returns None if it cannot be read."""
    try:
        return decode(file.read_bytes())
    except (ImageError, OSError) as error:
        print(f"Skipped {file}: {error}")
        return None


def cut_out(
    image: Image, annotated: Corners | None, neighbours: Sequence[Corners], detector: FaceDetector
) -> tuple[Image, list[Face]] | None:
    """Cut out a face so that it is the only one in the cutout; None if that is impossible.

    Without an annotated box, it is the largest face. neighbours: all annotated boxes in the image.
    """
    detected = [corners(f.box) for f in detector.detect(image, TRAIN_DETECTION_CONFIDENCE)]
    box = annotated or match(None, detected)
    if box is None:
        return None
    for margin in SURROUNDINGS:
        cut = nonempty(image, surroundings(box, [*neighbours, *detected], margin))
        part = image[cut.y : cut.y + cut.height, cut.x : cut.x + cut.width]
        faces = detector.detect(part, TRAIN_DETECTION_CONFIDENCE)
        moved = (box[0] - cut.x, box[1] - cut.y, box[2] - cut.x, box[3] - cut.y)
        if len(faces) == 1 and match(moved, [corners(faces[0].box)]):
            return part, faces
    return None


def surroundings(box: Corners, others: Iterable[Corners], margin: float) -> Corners:
    """Widen a box on each side by a margin relative to its size, without cutting into other faces.

    others may include the face itself.
    """
    left, top, right, bottom = box
    width, height = (right - left) * margin, (bottom - top) * margin
    cut = [left - width, top - height, right + width, bottom + height]
    for other in others:
        gaps = (left - other[2], top - other[3], other[0] - right, other[1] - bottom)
        side = gaps.index(max(gaps))  # the side with the largest gap loses the least room
        edge = other[(side + 2) % 4]
        if overlap(box, other) >= SAME_FACE:
            continue
        if side < 2:
            cut[side] = max(cut[side], min(edge, box[side]))
        else:
            cut[side] = min(cut[side], max(edge, box[side]))
    return (cut[0], cut[1], cut[2], cut[3])
