"""The whole way of a frame: decode, detect faces, crop, classify."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from model.classifier import WEIGHTS, MaskClassifier, ModelCard
from model.faces import DETECTORS, DetectorUnavailable, Face, FaceDetector
from model.images import Box, Image, crop, decode
from model.quality import sharpness

Label = Literal["mask", "no_mask", "uncertain"]
DetectorName = Literal["yunet", "haar", "ssd"]

DEFAULT_DETECTOR: DetectorName = "yunet"
DEFAULT_MIN_CONFIDENCE = 0.45


@dataclass(frozen=True)
class Judgement:
    """A detected face, its label (mask, no_mask or uncertain) and the probability of mask, 0..1.

    fit: whether the face is large and sharp enough to be judged.
    """

    face: Face
    label: Label
    mask: float
    fit: bool


@dataclass(frozen=True)
class Analysis:
    """What was found in one frame: the upright image, its faces and the stages' milliseconds."""

    image: Image
    detector: str
    judgements: list[Judgement]
    timings_ms: dict[str, float]


def is_fit(card: ModelCard, box: Box, detail: float) -> bool:
    """Tell whether a face can be judged; detail is its quality.sharpness()."""
    return box.short_side >= card.min_face and detail >= card.min_sharpness


def label_of(card: ModelCard, box: Box, detail: float, mask: float) -> Label:
    """Turn a probability of mask into a label; uncertain where the card says so.

    detail is the face's quality.sharpness().
    """
    low, high = card.abstain
    if not is_fit(card, box, detail) or low < mask < high:
        return "uncertain"
    return "mask" if mask >= card.threshold else "no_mask"


class MaskPipeline:
    """Composes detectors and the classifier; an instance serves one thread at a time."""

    def __init__(
        self,
        detectors: dict[str, FaceDetector],
        classifier: MaskClassifier,
        missing: dict[str, str] | None = None,
    ) -> None:
        self._detectors = detectors
        self._classifier = classifier
        self._missing = missing or {}

    @classmethod
    def load(cls, weights: Path = WEIGHTS) -> MaskPipeline:
        """Load the classifier and every detector whose weights are installed.

        Raises ModelError for unusable weights of the classifier.
        """
        detectors: dict[str, FaceDetector] = {}
        missing: dict[str, str] = {}
        for name, make in DETECTORS.items():
            try:
                detectors[name] = make()
            except DetectorUnavailable as error:
                missing[name] = str(error)
        return cls(detectors, MaskClassifier.load(weights), missing)

    @property
    def card(self) -> ModelCard:
        """What the loaded model is."""
        return self._classifier.card

    @property
    def detectors(self) -> tuple[str, ...]:
        """The names of the installed detectors."""
        return tuple(self._detectors)

    def warm(self) -> None:
        """Run every part once, so that the first frame is not the slow one."""
        blank = np.zeros((480, 640, 3), np.uint8)
        for detector in self._detectors.values():
            detector.detect(blank, DEFAULT_MIN_CONFIDENCE)
        self.judge(blank, [Face(Box(0, 0, 100, 100), 1.0)])

    def analyse(
        self,
        data: bytes,
        detector: str = DEFAULT_DETECTOR,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        max_pixels: int = 50_000_000,
    ) -> Analysis:
        """Find and judge the faces of an encoded picture.

        Raises ImageError for a picture that cannot be used and DetectorUnavailable for a detector
        that is not installed.
        """
        timings: dict[str, float] = {}
        with timed(timings, "decode"):
            image = decode(data, max_pixels)
        with timed(timings, "detect"):
            faces = self.find(image, detector, min_confidence)
        with timed(timings, "classify"):
            judgements = self.judge(image, faces)
        return Analysis(image, detector, judgements, timings)

    def find(self, image: Image, detector: str, min_confidence: float) -> list[Face]:
        """Find the faces of a uint8 RGB image, the most confident first.

        Raises DetectorUnavailable for a detector that is not installed.
        """
        if detector not in self._detectors:
            installed = ", ".join(self._detectors)
            reason = f"There is no detector '{detector}'; installed are {installed}."
            raise DetectorUnavailable(self._missing.get(detector, reason))
        return self._detectors[detector].detect(image, min_confidence)

    def judge(self, image: Image, faces: Iterable[Face]) -> list[Judgement]:
        """Judge given faces of a uint8 RGB image."""
        faces = list(faces)
        card = self.card
        crops = [crop(image, face.box, card.margin, card.input_size) for face in faces]
        masks = self._classifier.predict(crops)[:, card.labels.index("mask")]
        judgements = []
        for face, mask in zip(faces, map(float, masks), strict=True):
            detail = sharpness(image, face.box)
            label = label_of(card, face.box, detail, mask)
            judgements.append(Judgement(face, label, mask, is_fit(card, face.box, detail)))
        return judgements


@contextmanager
def timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    """Note how many milliseconds the block took."""
    begin = time.perf_counter()
    yield
    timings[stage] = round((time.perf_counter() - begin) * 1e3, 2)
