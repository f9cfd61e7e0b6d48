"""The training recipes that were tried, as data; for their results see EXPERIMENTS.md."""

from __future__ import annotations

from dataclasses import dataclass

from model.training.network import MARGIN


@dataclass(frozen=True)
class Phase:
    """One training phase.

    first: the first layer of the base to train; None trains only the head. size: pixels of the
    crops. rate: learning rate. patience: epochs without improvement after which the phase ends.
    """

    name: str
    first: str | None
    size: int
    epochs: int
    rate: float
    patience: int


@dataclass(frozen=True)
class Recipe:
    """How to train.

    camera: vary crops also by rotation, blur, noise and low light; otherwise only by distance,
    light and JPEG quality. synthetic: share of unmasked faces on which something is drawn. average:
    momentum of the weights' moving average, 0 for none. taught: weight of a teacher's answer
    against the true label, 0 for no teacher; training starts from the teacher's weights. width:
    share of the teacher's channels to keep; below 1 only with a teacher.
    """

    phases: tuple[Phase, ...]
    camera: bool = True
    synthetic: float = 0.5
    average: float = 0.99
    smoothing: float = 0.05
    taught: float = 0.0
    width: float = 1.0
    margin: float = MARGIN


UPPER = "block_8_expand"
ALL = "Conv1"


def short(first: str | None, rate: float = 2e-4) -> tuple[Phase, ...]:
    """Return the short phases used to compare recipes: few epochs at few pixels."""
    if first is None:
        return (Phase("head", None, 128, 6, 1e-3, 6),)
    return (Phase("head", None, 128, 1, 1e-3, 1), Phase("base", first, 128, 5, rate, 5))


RECIPES: dict[str, Recipe] = {
    # Each of these adds something to the previous one.
    "head": Recipe(short(None), camera=False, synthetic=0.0, average=0.0),
    "upper": Recipe(short(UPPER), camera=False, synthetic=0.0, average=0.0),
    "camera": Recipe(short(UPPER), synthetic=0.0, average=0.0),
    "synthetic": Recipe(short(UPPER), average=0.0),
    "averaged": Recipe(short(UPPER)),
    # Variations of `averaged`.
    "whole": Recipe(short(ALL, rate=1e-4)),
    "wide": Recipe(short(UPPER), margin=0.3),
    "drawn": Recipe(short(UPPER), synthetic=0.8),
    # The shipped model: the averaged recipe, longer, and at the size used in serving.
    "full": Recipe(
        (
            Phase("head", None, 128, 1, 1e-3, 1),
            Phase("small crops", UPPER, 128, 6, 2e-4, 3),
            Phase("full crops", UPPER, 224, 3, 1e-4, 3),
        ),
        synthetic=0.6,
    ),
    # The same network for smaller crops, taught by `full` (distillation, Hinton et al. 2015).
    "fast": Recipe(
        (Phase("small crops", ALL, 112, 6, 2e-4, 6),), synthetic=0.6, smoothing=0.0, taught=0.7
    ),
    # The same with half of the channels (network slimming, Liu et al. 2017); the learning rate is
    # raised again twice.
    "narrow": Recipe(
        (
            Phase("small crops", ALL, 112, 12, 1e-3, 12),
            Phase("again", ALL, 112, 9, 1e-3, 9),
            Phase("and again", ALL, 112, 10, 7e-4, 10),
        ),
        synthetic=0.6,
        smoothing=0.0,
        taught=0.7,
        width=0.5,
    ),
}
DEFAULT = "full"
