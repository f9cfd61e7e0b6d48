"""Combine a face's classifications over time: decaying log-odds, and a label with hysteresis."""

from __future__ import annotations

import math

from model.choices import Label
from model.classifier import ModelCard

# A "look" is one classification of the face.
LEAST_LOOKS = 3  # before a label is given
NEWEST = 0.25  # largest weight of the newest look; the older ones decay by the same share
# Looks that follow each other faster weigh less: in this time the older ones fall to 37 %.
MEMORY_S = 0.4
HELD_S = 2.0  # without a usable look the evidence falls to 37 % in this time
SUREST = 4.0  # largest log-odds of one look, a probability of .982
SETTLED = 1.5  # log-odds, a probability of .82
CHANGES = 2.5  # log-odds for the other label from which the label changes, a probability of .92


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)), limited to -SUREST..SUREST."""
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return min(max(math.log(limited / (1 - limited)), -SUREST), SUREST)


class Evidence:
    """The combined evidence of all looks at one face.

    The mean of the looks' log-odds, in which older looks decay exponentially. It is a mean and not
    a sum because the frames of a video are not independent: the same mistake seen ten times is not
    more certain. A label is given when the mean leaves the card's abstain band. It changes to the
    other one when the evidence for that is settled (a Schmitt trigger), and back to uncertain when
    the evidence fades: if the face could not be judged for some seconds.
    """

    def __init__(self, card: ModelCard) -> None:
        low, high = card.abstain
        self._low, self._high = log_odds(low), log_odds(high)
        self._mean = 0.0
        self._newest = 0.0
        self._looks = 0
        self.label: Label = "uncertain"

    @property
    def mask(self) -> float:
        """The probability of mask, 0..1."""
        return 1 / (1 + math.exp(-self._mean))

    @property
    def fresh(self) -> bool:
        """Whether there are too few looks for a label."""
        return self._looks < LEAST_LOOKS

    @property
    def settled(self) -> bool:
        """Whether there is enough evidence, and mean and newest look agree."""
        return (
            not self.fresh
            and min(abs(self._mean), abs(self._newest)) >= SETTLED
            and self._mean * self._newest > 0
        )

    def agrees(self, mask: float) -> bool:
        """Tell whether a probability of mask is on the side of the evidence."""
        return self._mean * log_odds(mask) > 0

    def add(self, mask: float, seconds: float) -> None:
        """Add a look; mask: the probability of mask, 0..1; seconds: the time since the last one."""
        self._looks += 1
        self._newest = log_odds(mask)
        weight = min(NEWEST, 1 - math.exp(-seconds / MEMORY_S))
        self._mean += (self._newest - self._mean) * max(weight, 1 / self._looks)
        if not self.fresh:
            self.label = self._next_label()

    def fade(self, seconds: float) -> None:
        """Weaken the evidence by a time in which the face could not be judged."""
        self._newest = 0.0
        self._mean *= math.exp(-seconds / HELD_S)
        if self._low < self._mean < self._high:
            self._looks, self.label = min(self._looks, 1), "uncertain"

    def doubt(self) -> None:
        """Give the next look half of the weight: after a gap the face may be another person's."""
        self._looks = min(self._looks, 1)

    def _next_label(self) -> Label:
        edge = 0.0 if self.label == "uncertain" else CHANGES
        if self._mean >= max(self._high, edge):
            return "mask"
        if self._mean <= min(self._low, -edge):
            return "no_mask"
        return self.label
