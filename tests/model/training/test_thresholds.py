"""Which thresholds of the cascade are chosen."""

from model.cascade import DETECTOR, Cascade
from model.detectors.faces import Face
from model.images import Box
from model.training.thresholds import CANDIDATES, Reading, chosen, decided_by, flagged, wrong

CARD = Cascade.load("mobilenetv2-224").card
FACE = Face(Box(0, 0, 50, 50), 1.0, states=(0.2, 0.2, 0.6))


def reading(detector: float, fast: float, full: float, *, cls: str = "with_mask") -> Reading:
    label = "mask" if cls == "with_mask" else "no_mask"
    masks = {DETECTOR: detector, "fast": fast, "mobilenetv2-224": full}
    return Reading(FACE, masks, ("a set", cls), label)


def test_the_first_stage_that_is_sure_enough_decides() -> None:
    sure = {DETECTOR: 0.95, "fast": 0.9}
    assert decided_by(reading(0.95, 0.5, 0.5), sure) == DETECTOR
    assert decided_by(reading(0.04, 0.5, 0.5), sure) == DETECTOR
    assert decided_by(reading(0.94, 0.09, 0.5), sure) == "fast"
    assert decided_by(reading(0.94, 0.5, 0.5), sure) == "mobilenetv2-224"


def test_cheap_stages_decide_all_they_get_right() -> None:
    readings = [reading(0.91, 0.99, 0.99), reading(0.999, 0.99, 0.99)]
    assert chosen(CARD, readings)[DETECTOR] == CANDIDATES[0]


def test_a_stage_that_errs_where_the_full_network_does_not_must_be_surer() -> None:
    wrongly_sure = reading(0.02, 0.5, 0.99)  # .98 sure of no mask, but there is one
    sure = chosen(CARD, [wrongly_sure, reading(0.999, 0.99, 0.99)])
    assert sure[DETECTOR] > 0.98
    assert not wrong(CARD, [wrongly_sure], sure)["a set with_mask"]


def test_wrongly_worn_masks_are_flagged_unless_a_stage_is_sure_of_a_mask() -> None:
    sure = {DETECTOR: 1.0, "fast": 0.9}
    readings = [reading(0.2, 0.05, 0.05, cls="incorrect_mask"), reading(0.2, 0.99, 0.99)]
    # 95 % no worn mask, three quarters of it a wrongly worn one.
    assert flagged(readings, sure, "incorrect_mask", 0.7) == 1
    assert flagged(readings, sure, "incorrect_mask", 0.72) == 0
    assert flagged(readings, sure, "with_mask", 0.1) == 0
