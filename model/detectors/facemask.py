"""Our detector: YuNet (Wu et al. 2023) fine-tuned on masked, covered and turned faces.

One look at the frame gives boxes, landmarks and, for each face, how its mask is worn.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.detectors.faces import DetectorUnavailable, Face, ordered, verified
from model.detectors.yunet import (
    MOST_CELLS,
    OUTPUTS,
    STRIDES,
    padded,
    read,
    resize,
    strongest,
    voted,
)
from model.images import Box, Image
from model.runtime import session

WEIGHTS = Path(__file__).parent.parent / "weights" / "facemask"
FILE, CARD = "facemask.onnx", "facemask.json"
STATES = ("mask", "no_mask", "incorrect")
READINGS = (*STATES, "cosine", "sine")  # what the added heads give: the last two of the roll
STATE_OUTPUTS = [f"state_{stride}" for stride in STRIDES]
INSIDE = 0.7  # of a box's area: a fainter face that lies so far in a surer one is the same face


@dataclass(frozen=True)
class DetectorCard:
    """What travels with the weights.

    temperature: divides the logits of the states. incorrect_bias: is then added to that of a
    wrongly worn mask, which is learned from more often than it occurs. confidence_power: a face's
    confidence is the network's raised to it, so that the same threshold suits every detector.
    """

    name: str
    file: str
    sha256: str
    states: tuple[str, ...]
    temperature: float
    incorrect_bias: float
    confidence_power: float

    @classmethod
    def read(cls, file: Path) -> DetectorCard:
        """Read a card. Raises DetectorUnavailable if it is missing, incomplete or not ours."""
        try:
            values = json.loads(file.read_text())
            card = cls(**{field.name: values[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DetectorUnavailable(f"The card {file.name} cannot be read: {error!r}.") from error
        if tuple(card.states) != STATES:
            raise DetectorUnavailable(f"{file.name} has states {card.states}, expected {STATES}.")
        return card

    def write(self, file: Path) -> None:
        """Write the card."""
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")


class FaceMask:
    """The detector; an instance serves many threads."""

    LONG_SIDE = 640  # pixels at which a frame is searched
    MAX_ENLARGEMENT = 1.5  # of a small frame
    MIN_SIDE = 16  # pixels of the resized frame; below it no face can be seen

    def __init__(
        self,
        network: bytes,
        *,
        temperature: float = 1.0,
        incorrect_bias: float = 0.0,
        confidence_power: float = 1.0,
    ) -> None:
        """Load a network, an ONNX file as model.training.detector.graph makes it."""
        self._session = session(network)
        self._temperature = temperature
        self._bias = np.array([0.0, 0.0, incorrect_bias], np.float32)
        self._power = confidence_power

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> FaceMask:
        """Load the shipped network. Raises DetectorUnavailable for unusable files."""
        card = DetectorCard.read(folder / CARD)
        return cls(
            verified(folder / card.file, card.sha256),
            temperature=card.temperature,
            incorrect_bias=card.incorrect_bias,
            confidence_power=card.confidence_power,
        )

    def detect(self, image: Image, min_confidence: float, long_side: int = LONG_SIDE) -> list[Face]:
        """Return the faces of a uint8 RGB image, searched at a size, the most confident first."""
        height, width = image.shape[:2]
        scale = min(long_side / max(height, width), self.MAX_ENLARGEMENT)
        size = (round(width * scale), round(height * scale))
        if min(size) < self.MIN_SIDE:
            return []
        rows = self.rows(resize(image, size), min_confidence ** (1 / self._power))
        to_frame = np.array([width / size[0], height / size[1]], np.float32)
        faces = []
        for row in rows:
            left, top = row[:2] * to_frame
            right, bottom = (row[:2] + row[2:4]) * to_frame
            landmarks = np.asarray(row[4:14].reshape(5, 2) * to_frame, np.float32)
            box = Box.within(image, left, top, right, bottom)
            states = softmax(row[15:18] / self._temperature + self._bias)
            roll = math.degrees(math.atan2(row[19], row[18]))
            confidence = float(np.clip(row[14], 0, 1)) ** self._power
            faces.append(Face(box, confidence, landmarks, states, roll))
        return ordered(faces)

    def rows(self, image: Image, least: float) -> npt.NDArray[np.float32]:
        """Return the faces of an image at the network's scale.

        float32 (n, 20): left, top, width, height, ten landmark numbers, the confidence and
        READINGS, the states as logits. Each is the mean of all cells that see the same face.
        """
        outputs = self._session.run([*OUTPUTS, *STATE_OUTPUTS], {"input": padded(image)})
        columns = -(-image.shape[1] // STRIDES[-1]) * STRIDES[-1]
        parts = [
            read(outputs[4 * i : 4 * i + 4], stride, columns // stride, least, outputs[12 + i])
            for i, stride in enumerate(STRIDES)
        ]
        rows = np.concatenate(parts)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) > MOST_CELLS:
            rows = rows[np.argpartition(-rows[:, 14], MOST_CELLS)[:MOST_CELLS]]
        return without_nested(voted(rows, strongest(rows, least)))


def without_nested(faces: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Drop a face whose box lies mostly in the box of a surer one, or the other way round."""
    faces = faces[np.argsort(-faces[:, 14], kind="stable")]
    start, end = faces[:, :2], faces[:, :2] + faces[:, 2:4]
    area = faces[:, 2] * faces[:, 3]
    kept = np.zeros(len(faces), np.bool_)
    for index in range(len(faces)):  # one by one: a dropped face drops no other
        sides = np.minimum(end[index], end[kept]) - np.maximum(start[index], start[kept])
        shared = sides.clip(0).prod(axis=1)
        smaller = np.minimum(area[index], area[kept])
        kept[index] = not (shared >= INSIDE * np.maximum(smaller, 1e-9)).any()
    return faces[kept]


def softmax(logits: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Return probabilities."""
    exponentials = np.exp(logits - logits.max())
    return tuple(float(v) for v in exponentials / exponentials.sum())
