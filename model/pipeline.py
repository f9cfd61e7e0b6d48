"""Analyse a frame: decode it, detect faces, crop and classify them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.cascade import Cascade
from model.choices import (
    DEFAULT_DETECTOR,
    DEFAULT_MIN_CONFIDENCE,
    DEFAULT_MODEL,
    Label,
    ModelName,
)
from model.classifier import WEIGHTS, ModelCard
from model.detectors import kinds
from model.detectors.classic import Haar, Ssd
from model.detectors.facemask import FaceMask
from model.detectors.faces import DetectorUnavailable, Face, FaceDetector
from model.detectors.yunet import YuNet
from model.images import Box, Image, Picture
from model.quality import sharpness
from model.selection import ALL, Selection

WHOLE_PIXELS = 12_500_000  # a phone's photo; searching, drawing and encoding 50 million takes > 1 s
ENOUGH_TO_SEARCH = 1280  # pixels of the longer side; the detectors use half of that or less


class Sight(NamedTuple):
    """The size at which a detector looks at a frame.

    long_side: pixels of the frame's longer side, unless it would be enlarged more than
    most_enlarged times. least: the shorter side, at that size, of the smallest face it finds.
    """

    long_side: int
    most_enlarged: float
    least: int

    def smallest(self, size: tuple[int, int]) -> int:
        """Return least in pixels of a frame; size: its width and height."""
        return math.ceil(self.least / min(self.long_side / max(size), self.most_enlarged))


# python -m bench.smallest: YuNet finds, of bare and masked faces, 2 % at 8 pixels, 11 %
# at 9, 39 % at 10 and 61 % at 14; beside a large face, where it only glances, 0 % at 14, 37 % at 18
# and 50 % at 20. SSD finds 0 % at 16 and 28 % at 18. Haar's window is 24 pixels.
SIGHTS = {
    "facemask": Sight(FaceMask.LONG_SIDE, FaceMask.MAX_ENLARGEMENT, 10),
    "yunet": Sight(640, YuNet.MAX_ENLARGEMENT, 10),
    "haar": Sight(Haar.LONGEST_SIDE, 1.0, Haar.MIN_FACE),
    "ssd": Sight(Ssd.SIZE, math.inf, 18),
}


@dataclass(frozen=True)
class Verdict:
    """A detected face, its label (mask, no_mask or uncertain) and the probability of mask, 0..1.

    fit: whether the face is large and sharp enough to be classified. stage: the stage of the
    cascade that gave the probability. incorrectly_worn: the probability, 0..1, of a mask that
    leaves the nose or the mouth bare; None if the detector does not tell.
    """

    face: Face
    label: Label
    mask: float
    fit: bool
    stage: str
    incorrectly_worn: float | None

    @property
    def counts(self) -> bool:
        """Whether this is a person for certain; in a picture every face is."""
        return True


@dataclass(frozen=True)
class Stage:
    """One processing step of a frame: its start in ns since 1970, and its duration in ms."""

    name: str
    began_ns: int
    ms: float


@dataclass(frozen=True)
class Analysis:
    """The result for one frame.

    image: the upright RGB picture, possibly at a reduced size. size: width and height of the full
    picture; face boxes are in its pixels. stages: decode, detect and classify in order, including
    a second decode. left_out: number of faces found but not judged, because of the selection.
    """

    image: Image
    size: tuple[int, int]
    detector: str
    verdicts: list[Verdict]
    stages: list[Stage]
    left_out: int = 0

    @property
    def timings_ms(self) -> dict[str, float]:
        """The duration of each stage in ms."""
        timings: dict[str, float] = {}
        for stage in self.stages:
            timings[stage.name] = round(timings.get(stage.name, 0.0) + stage.ms, 2)
        return timings

    @property
    def smallest_face(self) -> int:
        """The shorter side, in pixels of the picture, below which faces were not looked for.

        Our detectors look no closer if all faces found at a glance are large.
        """
        sight, found = SIGHTS[self.detector], [v.face.box.short_side for v in self.verdicts]
        if found and self.detector == "facemask":
            large = min(found) >= FaceMask.LARGE * max(self.size)
            size = FaceMask.GLANCE if large else FaceMask.LONG_SIDE
            return sight._replace(long_side=size).smallest(self.size)
        if found and self.detector == "yunet":
            glance = sight._replace(long_side=YuNet.GLANCE).smallest(self.size)
            # A face that is too small for a glance shows that YuNet looked closer.
            return glance if min(found) >= glance else sight.smallest(self.size)
        return sight.smallest(self.size)


def is_fit(card: ModelCard, box: Box, detail: float) -> bool:
    """Return whether a face can be classified; detail is its quality.sharpness()."""
    return box.short_side >= card.min_face and detail >= card.min_sharpness


def label_of(card: ModelCard, box: Box, detail: float, mask: float) -> Label:
    """Turn a probability of mask into a label, by the card's thresholds.

    detail is the face's quality.sharpness().
    """
    low, high = card.abstain
    if not is_fit(card, box, detail) or low < mask < high:
        return "uncertain"
    return "mask" if mask >= card.threshold else "no_mask"


def incorrectly_worn(face: Face, mask: float) -> float | None:
    """Return the probability of a wrongly worn mask.

    What is not a worn mask is no mask or a wrongly worn one, in the detector's proportion.
    """
    if face.states is None:
        return None
    _, bare, incorrect = face.states
    return (1 - mask) * incorrect / max(bare + incorrect, 1e-9)


class MaskPipeline:
    """Combines the detectors and the model; threads may share an instance.

    missing: for each requested detector that could not be loaded, its name and the reason.
    """

    def __init__(
        self,
        detectors: dict[str, FaceDetector],
        model: Cascade,
        missing: dict[str, str] | None = None,
    ) -> None:
        self._detectors = detectors
        self.model = model
        self.missing = missing or {}

    @classmethod
    def load(
        cls,
        model: ModelName = DEFAULT_MODEL,
        detectors: Iterable[str] = kinds.DETECTORS,
        weights: Path = WEIGHTS,
    ) -> MaskPipeline:
        """Load a model, and the named detectors if their weights are installed.

        Raises ModelError for unusable weights of the model.
        """
        loaded, missing = kinds.load(detectors)
        return cls(loaded, Cascade.load(model, weights), missing)

    @property
    def card(self) -> ModelCard:
        """The card of the network that decides last."""
        return self.model.card

    @property
    def detectors(self) -> tuple[str, ...]:
        """The names of the loaded detectors."""
        return tuple(self._detectors)

    def warm(self) -> None:
        """Run every part once, so that the first frame is not slow."""
        blank = np.zeros((480, 640, 3), np.uint8)
        for detector in self._detectors.values():
            detector.detect(blank, DEFAULT_MIN_CONFIDENCE)
        self.model.warm(blank)

    def analyse(
        self,
        picture: Picture,
        detector: str = DEFAULT_DETECTOR,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        selection: Selection = ALL,
        *,
        whole: bool = False,
    ) -> Analysis:
        """Find and judge the faces of a picture.

        A large picture is searched at a reduced size, and decoded in full only if a face is small.
        selection: which of the faces found are judged. whole: keep the full-size image in the
        analysis, or half of each side above WHOLE_PIXELS.
        Raises UndecodableImage for a damaged picture and DetectorUnavailable for a detector that is
        not loaded.
        """
        self.offered(detector)
        stages: list[Stage] = []
        with timed(stages, "decode"):
            half = max(picture.size) // 2 if picture.pixels > WHOLE_PIXELS else None
            frame = picture.decode(half if whole else ENOUGH_TO_SEARCH)
        with timed(stages, "detect"):
            found = self.find(frame.image, detector, min_confidence)
            faces = selection.of(found, frame.image, frame.scale)
        scale = frame.scale
        if scale > 1 and any(self.needs_detail(face) for face in faces):
            with timed(stages, "decode"):
                frame = picture.decode()
            faces = [face.scaled(scale, frame.size) for face in faces]
        with timed(stages, "classify"):
            verdicts = self.judge(frame.image, faces)
        if frame.scale > 1:
            verdicts = [replace(v, face=v.face.scaled(scale, frame.size)) for v in verdicts]
        left_out = len(found) - len(faces)
        return Analysis(frame.image, frame.size, detector, verdicts, stages, left_out)

    def offered(self, detector: str) -> FaceDetector:
        """Return a loaded detector by its name; raises DetectorUnavailable if it is not loaded."""
        if detector not in self._detectors:
            offered = ", ".join(self._detectors)
            raise DetectorUnavailable(
                f"Detector '{detector}' is not offered here. Use one of: {offered}."
            )
        return self._detectors[detector]

    def find(
        self,
        image: Image,
        detector: str,
        min_confidence: float,
        long_side: int | None = None,
        known: Sequence[Box] = (),
    ) -> list[Face]:
        """Find the faces of a uint8 RGB image, the most confident first.

        long_side: the size at which our own detector looks; the others choose it themselves. known:
        boxes of faces that it need not verify.
        Raises DetectorUnavailable for a detector that is not loaded.
        """
        offered = self.offered(detector)
        if long_side and isinstance(offered, FaceMask):
            return offered.detect(image, min_confidence, long_side, known)
        return offered.detect(image, min_confidence)

    def needs_detail(self, face: Face) -> bool:
        """Return whether a face has to be classified, and its crop would have to be enlarged."""
        size = face.box.long_side * (1 + 2 * self.card.margin)
        return size < self.card.input_size and not self.model.decided(face)

    def judge(self, image: Image, faces: Iterable[Face]) -> list[Verdict]:
        """Judge the given faces of a uint8 RGB image."""
        card, faces = self.card, list(faces)
        verdicts = []
        for face, reading in zip(faces, self.model.read(image, faces), strict=True):
            detail = sharpness(image, face.box)
            verdicts.append(
                Verdict(
                    face,
                    label_of(card, face.box, detail, reading.mask),
                    reading.mask,
                    is_fit(card, face.box, detail),
                    reading.stage,
                    incorrectly_worn(face, reading.mask),
                )
            )
        return verdicts


@contextmanager
def timed(stages: list[Stage], name: str) -> Iterator[None]:
    """Time the block and append it to the stages."""
    began_ns, begin = time.time_ns(), time.perf_counter()
    yield
    stages.append(Stage(name, began_ns, (time.perf_counter() - begin) * 1e3))
