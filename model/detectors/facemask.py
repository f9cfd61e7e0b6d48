"""Our detector: YuNet (Wu et al. 2023) fine-tuned on masked, covered and turned faces.

A look at the frame gives boxes, landmarks and, for each face, how its mask is worn. A small look
comes first; where it leaves a doubt, a larger one follows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from model.detectors.faces import DetectorUnavailable, Face, ordered, verified
from model.detectors.verifier import Verifier, log_odds
from model.detectors.yunet import (
    MOST_CELLS,
    MOST_FACES,
    SAME_FACE,
    STRIDES,
    common,
    padded,
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
# The channels of a face, in their order, and how many each has: the logits of a face and of its
# quality, the box, and the landmarks.
CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
# Cells or faces, float32 (n, COLUMNS): left, top, width, height and ten landmark numbers in pixels,
# the network's confidence, and READINGS, the states as logits.
Rows: TypeAlias = npt.NDArray[np.float32]
COLUMNS = 15 + len(READINGS)
OUTPUTS = [f"{kind}_{stride}" for kind in ("face", "state") for stride in STRIDES]
INSIDE = 0.65  # of a box's area: a fainter face that lies so far in a surer one is the same face


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

    LONG_SIDE = 576  # pixels at which a frame is searched for small faces
    GLANCE = 320  # pixels of the first look
    CLOSER = 480  # pixels of the second one, if all faces are large
    NEAR = 192  # pixels of a look for faces that nearly fill the frame
    MAX_ENLARGEMENT = 1.5  # of a small frame
    MIN_SIDE = 16  # pixels of the resized frame; below it no face can be seen

    # The first look suffices if it shows faces, and each that is not FAINT is SURE and LARGE. On
    # validation scenes this loses two of the 1,062 faces that one look at LONG_SIDE finds.
    FAINT, SURE = 0.2, 0.5
    LARGE = 1 / 8  # of the frame's longer side: a face's shorter one
    FILLING = 0.7  # of the frame's longer side: a face's longer one, from which NEAR may see better

    def __init__(
        self,
        network: bytes,
        *,
        temperature: float = 1.0,
        incorrect_bias: float = 0.0,
        confidence_power: float = 1.0,
        verifier: Verifier | None = None,
    ) -> None:
        """Load a network, an ONNX file as model.training.detector.graph.fused() makes it."""
        self._verifier = verifier
        self._session = session(network)
        self._temperature = temperature
        self._bias = np.array([0.0, 0.0, incorrect_bias], np.float32)
        self._power = confidence_power

    @classmethod
    def load(cls, folder: Path = WEIGHTS, *, unaided: bool = False) -> FaceMask:
        """Load the networks of a folder, by default the shipped ones; unaided: no verifier.

        Raises DetectorUnavailable for unusable files.
        """
        card = DetectorCard.read(folder / CARD)
        return cls(
            verified(folder / card.file, card.sha256),
            temperature=card.temperature,
            incorrect_bias=card.incorrect_bias,
            confidence_power=card.confidence_power,
            verifier=None if unaided else Verifier.load(folder),
        )

    def detect(
        self,
        image: Image,
        min_confidence: float,
        long_side: int | None = None,
        known: Sequence[Box] = (),
    ) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first.

        long_side: the size at which to search, in pixels of the longer side; if None, a first look
        chooses it. known: boxes of faces that need no verification.
        """
        least = self._verifier.card.doubt[0] if self._verifier else min_confidence
        if long_side:
            faces = self._look(image, least, long_side)
        else:
            first = self._cells(image, min(least, self.FAINT), self.GLANCE)
            crowded = self._crowded(image, first)
            faces = [] if crowded else self._faces(image, first)
            if closer := self.LONG_SIDE if crowded else self._closer(image, faces):
                faces = self._look(image, least, closer)
            if self._may_fill(image, faces):
                faces = surest([*faces, *self._look(image, least, self.NEAR)])
        if self._verifier:
            faces = self._verifier.verified(image, faces[:MOST_FACES], known)
        return [face for face in faces if face.confidence >= min_confidence]

    def _crowded(self, image: Image, rows: Rows) -> bool:
        """Return whether a cell surely sees a small face: only a look at LONG_SIDE will do."""
        small = rows[:, 2:4].min(axis=1, initial=np.inf) < self.LARGE * max(image.shape[:2])
        sure = rows[:, 14] >= self.SURE ** (1 / self._power)
        return self._can_grow(image) and bool((small & sure).any())

    def _closer(self, image: Image, faces: Sequence[Face]) -> int | None:
        """Return the size of the second look after the first one; None if that suffices."""
        if not self._can_grow(image):
            return None
        visible = [face for face in faces if face.confidence >= self.FAINT]
        large = self.LARGE * max(image.shape[:2])
        if not visible or min(face.box.short_side for face in visible) < large:
            return self.LONG_SIDE
        return None if all(f.confidence >= self.SURE for f in visible) else self.CLOSER

    def _can_grow(self, image: Image) -> bool:
        """Return whether a second look would be larger than the first one."""
        return bool(max(image.shape[:2]) * self.MAX_ENLARGEMENT > self.GLANCE)

    def _may_fill(self, image: Image, faces: Sequence[Face]) -> bool:
        """Return whether a face may fill the frame: there is no sure one, or a very large one."""
        filling = self.FILLING * max(image.shape[:2])
        sure = any(face.confidence >= self.SURE for face in faces)
        return not sure or any(face.box.long_side >= filling for face in faces)

    def _look(self, image: Image, min_confidence: float, long_side: int) -> list[Face]:
        """Return the faces seen with the longer side of the image resized to long_side."""
        return self._faces(image, self._cells(image, min_confidence, long_side))

    def _cells(self, image: Image, min_confidence: float, long_side: int) -> Rows:
        """Return what each cell sees with the longer side of the image resized to long_side."""
        height, width = image.shape[:2]
        scale = min(long_side / max(height, width), self.MAX_ENLARGEMENT)
        size = (round(width * scale), round(height * scale))
        if min(size) < self.MIN_SIDE:
            return np.empty((0, COLUMNS), np.float32)
        outputs = self._session.run(OUTPUTS, {"input": padded(resize(image, size))})
        faces, states = outputs[: len(STRIDES)], outputs[len(STRIDES) :]
        rows = cells(faces, states, min_confidence ** (1 / self._power))
        rows[:, 0:14:2] *= width / size[0]
        rows[:, 1:14:2] *= height / size[1]
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) > MOST_CELLS:
            rows = rows[np.argpartition(-rows[:, 14], MOST_CELLS)[:MOST_CELLS]]
        return rows

    def _faces(self, image: Image, rows: Rows) -> list[Face]:
        """Return the faces that cells see; each is the mean of all cells that see the same one."""
        rows = without_nested(voted(rows, strongest(rows, 0.0)))
        size = (image.shape[1], image.shape[0])
        start, end = rows[:, :2], rows[:, :2] + rows[:, 2:4]
        start, end = (np.rint(np.clip(corner, 0, size)) for corner in (start, end))
        boxes = np.column_stack([start, np.maximum(end - start, 0)]).astype(int).tolist()
        confidences = np.clip(rows[:, 14], 0, 1).astype(float) ** self._power
        landmarks = rows[:, 4:14].reshape(-1, 5, 2)
        states = softmax(rows[:, 15:18] / self._temperature + self._bias)
        rolls = np.degrees(np.arctan2(rows[:, 19], rows[:, 18]))
        return ordered(
            [
                Face(Box(*box), confidence, points, tuple(state), roll)
                for box, confidence, points, state, roll in zip(
                    boxes,
                    confidences.tolist(),
                    landmarks,
                    states.tolist(),
                    rolls.tolist(),
                    strict=True,
                )
            ]
        )


def cells(
    faces: Sequence[npt.NDArray[np.float32]],
    states: Sequence[npt.NDArray[np.float32]],
    least: float,
) -> Rows:
    """Decode the cells that see a face with at least this confidence.

    For each of STRIDES, faces: (1, 16, height, width), CHANNELS in strides, and states:
    (1, 5, height, width), READINGS. The confidence is the geometric mean of face and quality, so
    neither may be below its square: most cells drop out before anything is computed.
    """
    floor = log_odds(least**2)
    parts = []
    for (face,), (state,), stride in zip(faces, states, STRIDES, strict=True):
        y, x = np.nonzero((face[0] >= floor) & (face[1] >= floor))
        places = np.array([np.full(len(x), stride), x, y], np.float32)
        parts.append(np.concatenate([places, face[:, y, x], state[:, y, x]]))
    values = np.concatenate(parts, axis=1).T
    strides, corner, seen = values[:, :1], values[:, 1:3], values[:, 3:]
    with np.errstate(over="ignore", invalid="ignore"):
        confidence = np.sqrt(1 / (1 + np.exp(-seen[:, :2])).prod(axis=1))
        size = np.exp(seen[:, 4:6]) * strides
        start = (corner + seen[:, 2:4]) * strides - size / 2
        landmarks = (seen[:, 6:16] + np.tile(corner, 5)) * strides
    rows = np.column_stack([start, size, landmarks, confidence, seen[:, 16:]])
    return np.asarray(rows[confidence >= least], np.float32)


def digest(folder: Path = WEIGHTS) -> str:
    """Return the SHA-256 of a folder's cards, which hold those of the networks' files."""
    cards = b"".join(card.read_bytes() for card in sorted(folder.glob("*.json")))
    return hashlib.sha256(cards).hexdigest()


def without_nested(faces: Rows) -> Rows:
    """Drop a face whose box lies mostly in the box of a surer one, or the other way round."""
    faces = faces[np.argsort(-faces[:, 14], kind="stable")]
    area = faces[:, 2] * faces[:, 3]
    smaller = np.minimum(area, area[:, np.newaxis])
    nested = common(faces, faces) >= INSIDE * np.maximum(smaller, 1e-9)
    kept = np.zeros(len(faces), np.bool_)
    for index in range(len(faces)):  # one by one: a dropped face drops no other
        kept[index] = not (nested[index] & kept).any()
    return faces[kept]


def surest(faces: Sequence[Face]) -> list[Face]:
    """Drop the less sure one of two faces that overlap much, as when two looks found them."""
    kept: list[Face] = []
    for face in ordered(list(faces)):
        if all(face.box.iou(k.box) < SAME_FACE and face.box.nested(k.box) < INSIDE for k in kept):
            kept.append(face)
    return kept


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probabilities of each row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
