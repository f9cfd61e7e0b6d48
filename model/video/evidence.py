"""Combine a face's classifications over time: decaying log-odds, and a label with hysteresis."""

from __future__ import annotations

import math

from model.choices import Label
from model.classifier import ModelCard
from model.pipeline import Verdict

# A "look" is one classification of the face.
LEAST_LOOKS = 3  # before a label is given
NEWEST = 0.25  # weight of the newest look; the older ones decay by the same share
SUREST = 4.0  # largest log-odds of one look, a probability of .982
MOST_UNFIT = 5  # unusable looks in a row, after which the older ones are out of date
SETTLED = 1.5  # log-odds, a probability of .82


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)), limited to -SUREST..SUREST."""
    limited = min(max(probability, 1e-6), 1 - 1e-6)
    return min(max(math.log(limited / (1 - limited)), -SUREST), SUREST)


class Evidence:
    """The combined evidence of all looks at one face.

    The mean of the looks' log-odds, in which older looks decay exponentially. It is a mean and not
    a sum because the frames of a video are not independent: the same mistake seen ten times is not
    more certain. A label is given when the mean leaves the card's abstain band. It changes back to
    uncertain only when the mean has returned to the card's threshold (a Schmitt trigger).
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
        self.stage = ""  # of the last look, like the next one
        self.incorrectly_worn: float | None = None
        self.label: Label = "uncertain"

    @property
    def mask(self) -> float:
        """The probability of mask, 0..1; if no look was usable, that of the last look."""
        if self._looks == 0:
            return self._last
        return 1 / (1 + math.exp(-self._mean))

    @property
    def settled(self) -> bool:
        """Whether there is enough evidence, and mean and newest look agree."""
        return (
            self._looks >= LEAST_LOOKS
            and min(abs(self._mean), abs(self._newest)) >= SETTLED
            and self._mean * self._newest > 0
        )

    def add(self, verdict: Verdict) -> None:
        """Add a look; it is ignored if the face is too small or too blurred to classify."""
        self.fit, self._last = verdict.fit, verdict.mask
        self.stage, self.incorrectly_worn = verdict.stage, verdict.incorrectly_worn
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
        """Give the next look half of the weight: after a gap the face may be another person's."""
        self._looks = min(self._looks, 1)

    def _next_label(self) -> Label:
        if self._mean >= self._high:
            return "mask"
        if self._mean <= self._low:
            return "no_mask"
        crossed = {"mask": self._mean < self._middle, "no_mask": self._mean > self._middle}
        return "uncertain" if crossed.get(self.label) else self.label
