"""When a detection is the annotated face, for boxes of faces and of heads."""

import pytest

from model.training.data.boxes import agreement, encloses_head
from model.training.data.dataset import Sample

ANNOTATED = (0.0, 0.0, 100.0, 120.0)


@pytest.mark.parametrize(
    ("box", "face", "head"),
    [
        ((5.0, 5.0, 95.0, 115.0), True, True),  # overlaps well
        ((25.0, 60.0, 75.0, 110.0), False, True),  # lies inside
        ((80.0, 60.0, 140.0, 120.0), False, False),  # lies half outside
    ],
)
def test_a_small_detection_inside_counts_for_the_box_of_a_head_alone(
    box: tuple[float, float, float, float], *, face: bool, head: bool
) -> None:
    assert bool(agreement(box, ANNOTATED, head=False)) == face
    assert bool(agreement(box, ANNOTATED, head=True)) == head


def test_the_sets_that_box_heads_are_known_by_class() -> None:
    masked = Sample("a.jpg", "with_mask", "haonanshi", "g", "val", ANNOTATED, human=True)
    bare = Sample("a.jpg", "without_mask", "haonanshi", "g", "val", ANNOTATED, human=True)
    assert encloses_head(masked)
    assert not encloses_head(bare)
