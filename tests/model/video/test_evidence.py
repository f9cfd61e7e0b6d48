from itertools import pairwise

import numpy as np
import pytest

from model.choices import Label
from model.classifier import WEIGHTS, ModelCard
from model.video.evidence import HELD_S, LEAST_LOOKS, Evidence

CARD = ModelCard.read(WEIGHTS / "mask_detector.json")
TICK_S = 0.1


def labels(*masks: float, tick_s: float = TICK_S) -> tuple[list[Label], Evidence]:
    """Return the label after each look with these probabilities of mask."""
    evidence = Evidence(CARD)
    seen = []
    for mask in masks:
        evidence.add(mask, tick_s)
        seen.append(evidence.label)
    return seen, evidence


def test_a_label_takes_some_looks_that_agree() -> None:
    seen, evidence = labels(*[0.99] * LEAST_LOOKS)
    assert seen == ["uncertain"] * (LEAST_LOOKS - 1) + ["mask"]
    assert evidence.settled
    assert evidence.mask == pytest.approx(0.98, abs=0.01)
    assert labels(*[0.01] * LEAST_LOOKS)[0][-1] == "no_mask"
    assert set(labels(*[0.5] * 20)[0]) == {"uncertain"}


def test_one_look_that_errs_changes_no_label_and_unsettles() -> None:
    seen, evidence = labels(*[0.99] * 6, 0.001)
    assert seen[-1] == "mask"
    assert not evidence.settled  # so that the next frame is analysed too


@pytest.mark.parametrize("fps", [10, 30])
def test_a_change_is_believed_within_a_second_at_any_frame_rate(fps: int) -> None:
    looks = [*[0.99] * 3 * fps, *[0.01] * fps]
    seen, _ = labels(*looks, tick_s=1 / fps)
    changed = seen.index("no_mask")
    assert 2 <= changed - 3 * fps < fps
    assert seen == ["uncertain"] * 2 + ["mask"] * (changed - 2) + ["no_mask"] * (
        len(seen) - changed
    )


def test_a_face_at_the_edge_does_not_flicker() -> None:
    low, high = CARD.abstain
    random = np.random.default_rng(1)
    looks = [0.9] * 3 + list(random.uniform(low - 0.25, high + 0.25, 300))
    seen, _ = labels(*looks)
    single = ["mask" if m >= high else "no_mask" if m <= low else "uncertain" for m in looks]
    changes, flicker = (sum(a != b for a, b in pairwise(row)) for row in (seen, single))
    assert flicker > 50
    assert changes == 1  # from uncertain at the start


def test_without_looks_a_label_is_held_and_fades_to_uncertain_but_never_flips() -> None:
    for mask, label in ((0.99, "mask"), (0.01, "no_mask")):
        _, evidence = labels(*[mask] * 9)
        sure = abs(evidence.mask - 0.5)
        seen = []
        for _ in range(80):
            evidence.fade(TICK_S)
            assert abs(evidence.mask - 0.5) < sure
            sure = abs(evidence.mask - 0.5)
            seen.append(evidence.label)
        held = seen.index("uncertain")
        assert seen == [label] * held + ["uncertain"] * (len(seen) - held)
        assert HELD_S <= held * TICK_S <= 3 * HELD_S
        assert not evidence.settled


def test_after_doubt_new_looks_weigh_more() -> None:
    _, evidence = labels(*[0.99] * 30)
    evidence.doubt()
    assert not evidence.settled
    for _ in range(5):
        evidence.add(0.01, TICK_S)
    assert evidence.label == "no_mask"
