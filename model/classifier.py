"""Classify face crops with the trained MobileNetV2, an ONNX file with a card that describes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession

from model.images import Image
from model.runtime import session

LABELS = ("mask", "no_mask")
TOGETHER = 4  # crops that a network looks at at once; the small one takes a quarter less time so
WEIGHTS = Path(__file__).parent / "weights"
CARD = "mask_detector.json"


class ModelError(RuntimeError):
    """The model's files are unreadable or do not match; the message names both values."""


@dataclass(frozen=True)
class ModelCard:
    """The settings and checksum that accompany the weights.

    margin: how far a face's box is widened before it is cropped. threshold: the lowest probability
    of `mask` that gives the label `mask`. abstain: a face between these two probabilities is
    `uncertain`; so is one whose short side has fewer than min_face pixels or whose
    quality.sharpness() is below min_sharpness. temperature: divides the logits.
    """

    name: str
    file: str
    sha256: str
    labels: tuple[str, ...]
    input_size: int
    margin: float
    threshold: float
    temperature: float
    abstain: tuple[float, float]
    min_face: int
    min_sharpness: float

    @property
    def version(self) -> str:
        """The first 12 hex digits of the weights' SHA-256."""
        return self.sha256[:12]

    @classmethod
    def read(cls, file: Path) -> ModelCard:
        """Read a card; raises ModelError if it is missing or incomplete."""
        try:
            card = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise ModelError(f"The model's card {file} cannot be read: {error}") from error
        missing = {field.name for field in fields(cls)} - card.keys()
        if missing:
            raise ModelError(f"The model's card {file} lacks {', '.join(sorted(missing))}.")
        card = {field.name: card[field.name] for field in fields(cls)}
        low, high = card["abstain"]
        return cls(**card | {"labels": tuple(card["labels"]), "abstain": (low, high)})


def calibrated(
    probabilities: npt.NDArray[np.float32], temperature: float
) -> npt.NDArray[np.float32]:
    """Scale the logits of softmax probabilities (n, 2) by 1 / temperature (Guo et al. 2017)."""
    logits = np.log(np.clip(probabilities, 1e-12, 1)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


class MaskClassifier:
    """The mask network on ONNX Runtime; threads may share an instance."""

    def __init__(self, network: InferenceSession, card: ModelCard) -> None:
        self.card = card
        self._network = network
        self._input = network.get_inputs()[0].name

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> MaskClassifier:
        """Load card and weights; raises ModelError if hash, labels or input shape do not match."""
        card = ModelCard.read(folder / CARD)
        if card.labels != LABELS:
            raise ModelError(f"The model's labels are {card.labels}; the program needs {LABELS}.")
        try:
            weights = (folder / card.file).read_bytes()
        except OSError as error:
            raise ModelError(f"The model's weights cannot be read: {error}") from error
        found = hashlib.sha256(weights).hexdigest()
        if found != card.sha256:
            raise ModelError(f"{card.file} has sha256 {found}; its card says {card.sha256}.")
        try:
            network = session(weights)
        except Exception as error:  # ONNX Runtime's errors share no narrower base class
            raise ModelError(f"{card.file} is not a network that can be run: {error}") from error
        details = network.get_inputs()[0]
        found_input = (details.shape, details.type)
        expected_input = (["n", card.input_size, card.input_size, 3], "tensor(uint8)")
        if found_input != expected_input:
            raise ModelError(f"{card.file} takes {found_input}; its card says {expected_input}.")
        return cls(network, card)

    def predict(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """Return the calibrated probabilities of each crop.

        crops: uint8 RGB of shape (input_size, input_size, 3). Returns float32 (len(crops), 2) in
        the order of LABELS, each row summing to 1.
        """
        raw = np.empty((len(crops), len(LABELS)), np.float32)
        for begin in range(0, len(crops), TOGETHER):
            some = np.stack(crops[begin : begin + TOGETHER])
            raw[begin : begin + TOGETHER] = self._network.run(None, {self._input: some})[0]
        return calibrated(raw, self.card.temperature)
