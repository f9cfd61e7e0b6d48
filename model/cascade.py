"""Judge a face in stages: what one stage is sure of, the next one need not look at.

The first stage is the detector's own verdict, which costs nothing more. The next ones are networks
that look at a crop of the face, each slower and more accurate than the one before. Cascades of
this kind: Viola and Jones 2001. Of a turned face no stage is sure, and the mean of all counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.choices import ModelName
from model.classifier import WEIGHTS, MaskClassifier, ModelError
from model.detectors.facemask import digest
from model.detectors.faces import Face
from model.images import LEVEL, Box, Image, crop

DETECTOR = "detector"  # the stage whose verdict comes with the face
NETWORKS = {"mobilenetv2-224": ".", "fast": "fast"}  # their folders in that of the weights
STAGES: dict[ModelName, tuple[str, ...]] = {
    "cascade": (DETECTOR, "fast", "mobilenetv2-224"),
    "mobilenetv2-224": ("mobilenetv2-224",),
    "fast": (DETECTOR, "fast"),
}
THRESHOLDS = "cascade.json"
# Pixels of a face's shorter side below which the last network is not asked. It sees no more there
# than the one before: of 67 validation faces that the detector leaves open, it has 5 wrong and 2
# uncertain, and the one before 4 and none.
TINY = 24


@dataclass(frozen=True)
class Reading:
    """The probability of mask, 0..1, and the stage that gave it."""

    mask: float
    stage: str


class Cascade:
    """The stages of a model; threads may share an instance.

    name: the model's. sure: from which probability of its label on a stage decides; the last stage
    decides whatever is left. version: the first 12 hex digits of the SHA-256 of a single network's
    file; with several stages, of all their files, the detector's among them, and the thresholds.

    A turned face is decided by the mean of all stages, which is wrong half as often as the first
    sure stage (1.3 instead of 3.2 % of masked faces turned by 90 or 180 degrees).
    """

    def __init__(
        self, name: str, networks: dict[str, MaskClassifier], sure: dict[str, float] | None = None
    ) -> None:
        self.name = name
        self.sure = sure or {}
        self.networks = networks
        self._last = list(networks)[-1]
        self.card = networks[self._last].card
        self.version = version_of(networks, self.sure)

    @classmethod
    def load(cls, model: ModelName, weights: Path = WEIGHTS) -> Cascade:
        """Load a model's networks and thresholds; raises ModelError for unusable files."""
        *early, _ = STAGES[model]
        networks = {
            name: MaskClassifier.load(weights / NETWORKS[name])
            for name in STAGES[model]
            if name in NETWORKS
        }
        return cls(model, networks, read(weights / THRESHOLDS, early) if early else {})

    @property
    def stages(self) -> dict[str, float]:
        """From which probability on each stage decides, in their order; the last one's is 0."""
        return self.sure | {self._last: 0.0}

    def warm(self, image: Image) -> None:
        """Run every network once."""
        for name in self.networks:
            self._look(name, image, [Face(Box(0, 0, image.shape[1], image.shape[0]), 1.0)])

    def decided(self, face: Face) -> bool:
        """Return whether the detector's own verdict suffices for a face."""
        if face.states is None or is_turned(face):
            return False
        return self._sure(DETECTOR, face.states[0])

    def read(self, image: Image, faces: Sequence[Face]) -> list[Reading]:
        """Judge faces of a uint8 RGB image; each network looks at all that are left at once."""
        said: list[list[float]] = [[] for _ in faces]
        readings: dict[int, Reading] = {}
        for index, face in enumerate(faces):
            if face.states is not None and DETECTOR in self.sure:
                said[index].append(face.states[0])
                if self.decided(face):
                    readings[index] = Reading(face.states[0], DETECTOR)
        for name in self.networks:
            left = [index for index in range(len(faces)) if index not in readings]
            if not left:
                break
            masks = self._look(name, image, [faces[index] for index in left])
            for index, mask in zip(left, masks, strict=True):
                said[index].append(mask)
                last = name == self._last or faces[index].box.short_side < TINY
                if not is_turned(faces[index]) and (last or self._sure(name, mask)):
                    readings[index] = Reading(mask, name)
        for index, face in enumerate(faces):
            if is_turned(face):
                readings[index] = Reading(sum(said[index]) / len(said[index]), self._last)
        return [readings[index] for index in range(len(faces))]

    def _sure(self, stage: str, mask: float) -> bool:
        return max(mask, 1 - mask) >= self.sure.get(stage, float("inf"))

    def _look(self, name: str, image: Image, faces: Sequence[Face]) -> list[float]:
        """Return a network's probabilities of mask."""
        network = self.networks[name]
        card = network.card
        crops = [crop(image, face.box, card.margin, card.input_size, face.roll) for face in faces]
        masks: list[float] = network.predict(crops)[:, card.labels.index("mask")].tolist()
        return masks


def version_of(networks: dict[str, MaskClassifier], sure: dict[str, float]) -> str:
    """Return a model's version, see Cascade."""
    hashes = [network.card.sha256 for network in networks.values()]
    if not sure:
        return hashes[0][:12]
    facts = json.dumps([digest() if DETECTOR in sure else "", hashes, sure])
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def is_turned(face: Face) -> bool:
    """Return whether a face is so far from upright that its crop is turned back."""
    return abs(face.roll) >= LEVEL


def read(file: Path, stages: list[str]) -> dict[str, float]:
    """Read from which probability on some stages decide; raises ModelError."""
    try:
        values = json.loads(file.read_text())
        sure = {stage: float(values[stage]) for stage in stages}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The thresholds {file} cannot be read: {error!r}") from error
    if wrong := [f"{stage} {value}" for stage, value in sure.items() if not 0.5 <= value <= 1]:
        raise ModelError(f"{file} has {', '.join(wrong)}; thresholds are from .5 to 1.")
    return sure
