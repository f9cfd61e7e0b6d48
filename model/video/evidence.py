"""Weigh what was seen of one face over time: log-odds with decay, a label with hysteresis."""

from __future__ import annotations

import math

from model.choices import Label
from model.classifier import ModelCard
from model.pipeline import Verdict

LEAST_LOOKS = 3  # before a label is given
NEWEST = 0.25  # the share of the newest look; the older ones decay by as much
SUREST = 4.0  # log-odds that one look can bring, a probability of .982
MOST_UNFIT = 5  # looks in a row that told nothing, after which older ones are out of date
SETTLED = 1.5  # log-odds, a probability of .82


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)), within -SUREST..SUREST."""
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return min(max(math.log(limited / (1 - limited)), -SUREST), SUREST)


class Evidence:
    """What the looks at one face add up to.

    The mean of the looks' log-odds in which older looks decay exponentially. It is a mean and no
    sum: the frames of a video are no independent witnesses, and the same mistake seen ten times
    does not become surer. A label is given when the mean leaves the card's abstain band, and
    changes back to uncertain only when it has come to the card's threshold (a Schmitt trigger).
    """

    def __init__(self, card: ModelCard) -> None:
        low, high = card.abstain
        self._low, self._middle, self._high = map(log_odds, (low, card.threshold, high))
        self._mean = 0.0
        self._newest = 0.0
        self._looks = 0
        self._unfit = 0
        self._last = 0.5
        self.fit = False
        self.label: Label = "uncertain"

    @property
    def mask(self) -> float:
        """The probability of mask, 0..1; of a face that is never fit, the last look's."""
        if self._looks == 0:
            return self._last
        return 1 / (1 + math.exp(-self._mean))

    @property
    def settled(self) -> bool:
        """Whether there is enough evidence, all of it on one side."""
        return (
            self._looks >= LEAST_LOOKS
            and min(abs(self._mean), abs(self._newest)) >= SETTLED
            and self._mean * self._newest > 0
        )

    def add(self, verdict: Verdict) -> None:
        """Add a look; one at a face too small or too blurred to judge counts for nothing."""
        self.fit, self._last = verdict.fit, verdict.mask
        if not verdict.fit:
            self._unfit += 1
            if self._unfit >= MOST_UNFIT:
                self._looks, self.label = 0, "uncertain"
            return
        self._unfit = 0
        self._looks += 1
        self._newest = log_odds(verdict.mask)
        self._mean += (self._newest - self._mean) * max(NEWEST, 1 / self._looks)
        if self._looks >= LEAST_LOOKS:
            self.label = self._next_label()

    def doubt(self) -> None:
        """Let the next look count for half: the face was out of sight and may be another's."""
        self._looks = min(self._looks, 1)

    def _next_label(self) -> Label:
        if self._mean >= self._high:
            return "mask"
        if self._mean <= self._low:
            return "no_mask"
        crossed = {"mask": self._mean < self._middle, "no_mask": self._mean > self._middle}
        return "uncertain" if crossed.get(self.label) else self.label
