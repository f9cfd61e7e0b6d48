"""What annotated boxes enclose, and when a detection is the annotated face.

Most sets box the face. Some box the whole head, which no face detector's box overlaps well; there,
a detection matches if it lies in the box.
"""

from __future__ import annotations

from model.training.data.dataset import SAME_FACE, Corners, Sample, overlap

INSIDE = 0.7  # of a detection's area that lies in the box of a head
COVERED = 0.5  # of the area of a mask's own box that lies in the detection of its wearer
# Sets and classes whose boxes hold more than the face, and where the face lies in such a box: the
# median of the faces that YuNet is sure of (left, top, right, bottom in widths and heights of the
# box).
FACE_IN_HEAD = (0.18, 0.27, 0.84, 0.93)
HEADS: dict[tuple[str, str], Corners] = {
    ("haonanshi", "with_mask"): (0.0, 0.0, 1.0, 1.0),  # ears included; the height fits
    ("leoring", "with_mask"): FACE_IN_HEAD,
    ("leoring", "without_mask"): FACE_IN_HEAD,
    ("wangrongsheng", "with_mask"): FACE_IN_HEAD,
    ("wangrongsheng", "without_mask"): FACE_IN_HEAD,
}


def encloses_head(sample: Sample) -> bool:
    """Return whether a sample's box encloses the whole head."""
    return (sample.source, sample.cls) in HEADS


def contained(inner: Corners, outer: Corners) -> float:
    """Return the share of a box's area that lies in another, 0..1."""
    width = max(0.0, min(inner[2], outer[2]) - max(inner[0], outer[0]))
    height = max(0.0, min(inner[3], outer[3]) - max(inner[1], outer[1]))
    return width * height / max((inner[2] - inner[0]) * (inner[3] - inner[1]), 1e-9)


def part(box: Corners, share: Corners) -> Corners:
    """Return a box given in widths and heights of another."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return (
        left + share[0] * width,
        top + share[1] * height,
        left + share[2] * width,
        top + share[3] * height,
    )


def agreement(box: Corners, annotated: Corners, *, head: bool) -> float:
    """Return how well a detection agrees with an annotated face, 0..1; 0 if it is not that face.

    The intersection over union from SAME_FACE on; for the box of a head, half of SAME_FACE if the
    detection lies in it.
    """
    shared = overlap(box, annotated)
    if shared >= SAME_FACE:
        return shared
    return SAME_FACE / 2 if head and contained(box, annotated) >= INSIDE else 0.0
