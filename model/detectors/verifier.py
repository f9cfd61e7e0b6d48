"""Look again at what may be a face: a second network judges it in a crop with its surroundings.

A detector searches a whole frame, so it has to be small. What it doubts is rare: a larger network
can look at each alone, as in the cascades of Viola and Jones 2001.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from model.detectors.faces import DetectorUnavailable, Face, ordered, verified
from model.images import Box, Image, crop
from model.runtime import session

FILE, CARD = "verifier.onnx", "verifier.json"
FACE = 1  # the class of a face in the network's softmax
ASSUMED = 0.95  # the network's probability for a face that it need not look at
SAME = 0.5  # intersection over union with a known face
TOGETHER = 16  # crops that the network looks at at once; four take 31 % less time so


@dataclass(frozen=True)
class VerifierCard:
    """What travels with the weights.

    margin: how far a box is widened before it is cropped. weights: of the detector's log-odds and
    of the network's, and a constant; the sigmoid of the sum is the confidence (Platt 1999). doubt:
    the detector's confidences, from and below which the network looks at a face.
    """

    file: str
    sha256: str
    input_size: int
    margin: float
    weights: tuple[float, float, float]
    doubt: tuple[float, float]

    @classmethod
    def read(cls, file: Path) -> VerifierCard:
        """Read a card. Raises DetectorUnavailable if it is missing or incomplete."""
        try:
            values = json.loads(file.read_text())
            card = {field.name: values[field.name] for field in fields(cls)}
            detector, network, constant = card["weights"]
            least, most = card["doubt"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DetectorUnavailable(f"The card {file.name} cannot be read: {error!r}.") from error
        return cls(**card | {"weights": (detector, network, constant), "doubt": (least, most)})

    def write(self, file: Path) -> None:
        """Write the card."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def combined(self, confidence: float, probability: float) -> float:
        """Combine the detector's confidence with the network's probability of a face, all 0..1."""
        detector, network, constant = self.weights
        total = detector * log_odds(confidence) + network * log_odds(probability) + constant
        return 1 / (1 + math.exp(-total))


class Verifier:
    """The network on ONNX Runtime; threads may share an instance."""

    def __init__(self, network: bytes, card: VerifierCard) -> None:
        self.card = card
        self._network = session(network)
        self._input = self._network.get_inputs()[0].name

    @classmethod
    def load(cls, folder: Path) -> Verifier:
        """Load network and card. Raises DetectorUnavailable for unusable files."""
        card = VerifierCard.read(folder / CARD)
        return cls(verified(folder / card.file, card.sha256), card)

    def verified(
        self, image: Image, faces: Sequence[Face], known: Sequence[Box] = ()
    ) -> list[Face]:
        """Return the faces with their confidence after a second look, the most confident first.

        known: boxes of faces that need none, because they were verified in a frame before.
        """
        card = self.card
        probabilities = np.full(len(faces), ASSUMED)
        doubted = [i for i, face in enumerate(faces) if self._doubts(face, known)]
        for begin in range(0, len(doubted), TOGETHER):
            some = doubted[begin : begin + TOGETHER]
            crops = [
                crop(image, faces[i].box, card.margin, card.input_size, faces[i].roll) for i in some
            ]
            (softmax,) = self._network.run(None, {self._input: np.stack(crops)})
            probabilities[some] = softmax[:, FACE]
        return ordered(
            [
                replace(face, confidence=card.combined(face.confidence, probability))
                for face, probability in zip(faces, probabilities.tolist(), strict=True)
            ]
        )

    def _doubts(self, face: Face, known: Sequence[Box]) -> bool:
        """Tell whether the network has to look at a face."""
        unsure = face.confidence < self.card.doubt[1]
        return unsure and not any(face.box.iou(box) >= SAME for box in known)


def log_odds(probability: float) -> float:
    """Return ln(p / (1 - p)), finite for 0 and 1."""
    limited = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(limited / (1 - limited))
