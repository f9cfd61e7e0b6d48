"""The ways of training that were tried, as data; EXPERIMENTS.md has what each one reached."""

from __future__ import annotations

from dataclasses import dataclass

from model.training.network import MARGIN


@dataclass(frozen=True)
class Phase:
    """One stage: what is trained, at how many pixels, how long and how fast.

    first: the base's first layer that is trained, None for the head alone. patience: worse epochs
    after which the stage ends.
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

    camera: crops vary as cameras, blur, noise and low light make them, else in distance, light and
    JPEG only. synthetic: the share of unmasked faces on which something is drawn. average: the
    momentum of the weights' moving average, 0 for none. taught: the weight of a teacher's answer to
    the same crop against the true label, 0 for no teacher; with one, its weights are the beginning.
    width: the share of its channels that is kept, below 1 only with a teacher.
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
    """Return the phases by which recipes are compared: few epochs at few pixels."""
    if first is None:
        return (Phase("head", None, 128, 6, 1e-3, 6),)
    return (Phase("head", None, 128, 1, 1e-3, 1), Phase("base", first, 128, 5, rate, 5))


RECIPES: dict[str, Recipe] = {
    # Each of these adds to the one before.
    "head": Recipe(short(None), camera=False, synthetic=0.0, average=0.0),
    "upper": Recipe(short(UPPER), camera=False, synthetic=0.0, average=0.0),
    "camera": Recipe(short(UPPER), synthetic=0.0, average=0.0),
    "synthetic": Recipe(short(UPPER), average=0.0),
    "averaged": Recipe(short(UPPER)),
    # Variations of the last one.
    "whole": Recipe(short(ALL, rate=1e-4)),
    "wide": Recipe(short(UPPER), margin=0.3),
    "drawn": Recipe(short(UPPER), synthetic=0.8),
    # What is shipped: the averaged recipe, longer, and at the pixels that are served.
    "full": Recipe(
        (
            Phase("head", None, 128, 1, 1e-3, 1),
            Phase("small crops", UPPER, 128, 6, 2e-4, 3),
            Phase("full crops", UPPER, 224, 3, 1e-4, 3),
        ),
        synthetic=0.6,
    ),
    # The same network for few pixels, taught by the full one (distillation, Hinton et al. 2015).
    "fast": Recipe(
        (Phase("small crops", ALL, 112, 6, 2e-4, 6),), synthetic=0.6, smoothing=0.0, taught=0.7
    ),
    # And half of the channels (network slimming, Liu et al. 2017), the rate raised again twice.
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
