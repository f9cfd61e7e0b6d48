from itertools import pairwise

import numpy as np
import pytest

from model.choices import Label
from model.classifier import WEIGHTS, ModelCard
from model.detectors.faces import Face
from model.images import Box
from model.pipeline import Verdict
from model.video.evidence import LEAST_LOOKS, MOST_UNFIT, Evidence

CARD = ModelCard.read(WEIGHTS / "mask_detector.json")
FACE = Face(Box(0, 0, 60, 60), 0.9)


def labels(*masks: float, fit: bool = True) -> tuple[list[Label], Evidence]:
    """Return the label after each look with these probabilities of mask."""
    evidence = Evidence(CARD)
    seen = []
    for mask in masks:
        evidence.add(Verdict(FACE, "uncertain", mask, fit))
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


def test_a_change_is_believed_after_three_looks() -> None:
    seen, _ = labels(*[0.99] * 30, *[0.01] * 4)
    assert seen[29:32] == ["mask"] * 3
    assert seen[32:] == ["no_mask"] * 2


def test_a_face_at_the_edge_does_not_flicker() -> None:
    low, high = CARD.abstain
    random = np.random.default_rng(1)
    looks = [0.9] * 3 + list(random.uniform(low - 0.05, high + 0.25, 300))
    seen, _ = labels(*looks)
    single = ["mask" if m >= high else "no_mask" if m <= low else "uncertain" for m in looks]
    changes, flicker = (sum(a != b for a, b in pairwise(row)) for row in (seen, single))
    assert flicker > 50
    assert changes <= flicker / 10


def test_looks_at_an_unfit_face_count_for_nothing() -> None:
    assert set(labels(*[0.99] * 9, fit=False)[0]) == {"uncertain"}
    _, evidence = labels(*[0.99] * 5)
    for _ in range(MOST_UNFIT - 1):
        evidence.add(Verdict(FACE, "uncertain", 0.01, fit=False))
    assert evidence.label == "mask"
    assert evidence.mask > 0.9
    evidence.add(Verdict(FACE, "uncertain", 0.01, fit=False))
    assert evidence.label == "uncertain"  # earlier looks are out of date


def test_after_doubt_new_looks_weigh_more() -> None:
    _, evidence = labels(*[0.99] * 30)
    evidence.doubt()
    assert not evidence.settled
    evidence.add(Verdict(FACE, "uncertain", 0.01, fit=True))
    evidence.add(Verdict(FACE, "uncertain", 0.01, fit=True))
    assert evidence.label == "no_mask"
