"""The two classic detectors, on OpenCV.

They are not thread-safe, so each thread gets its own copy. With a lock instead, a thread would wait
while it holds an inference slot.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from model.detectors.faces import DetectorUnavailable, Face, ordered, verified
from model.images import Box, Image

HAAR_FILE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
HAAR_SHA256 = "0f7d4527844eb514d4a4948e822da90fbb16a34a0bbbbc6adc6498747a5aafb0"
SSD_FOLDER = Path(__file__).parents[1] / "weights" / "detectors"
SSD_SHA256 = {
    "deploy.prototxt": "f62621cac923d6f37bd669298c428bb7ee72233b5f8c3389bb893e35ebbcf795",
    "res10_300x300_ssd_iter_140000.caffemodel": (
        "2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d"
    ),
}


class Haar:
    """The frontal-face cascade of Viola and Jones (2001) that is included in OpenCV."""

    MIN_FACE = 24  # the size of the cascade's window
    LONGEST_SIDE = 1280  # larger pictures are reduced to this: at 2560, noise took 9 s of CPU

    def __init__(self, file: Path = HAAR_FILE) -> None:
        self._text = verified(file, HAAR_SHA256).decode()
        self._own = threading.local()

    @property
    def _cascade(self) -> cv2.CascadeClassifier:
        """The calling thread's cascade."""
        if not hasattr(self._own, "cascade"):
            flags = cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY
            storage = cv2.FileStorage(self._text, flags)  # must outlive its node
            self._own.cascade = cv2.CascadeClassifier()
            self._own.cascade.read(storage.getFirstTopLevelNode())
        return cast("cv2.CascadeClassifier", self._own.cascade)

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first.

        The cascade gives no probability. The confidence is the logistic function of the last
        stage's margin; use it only to order or threshold faces of this detector.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        share = min(1.0, self.LONGEST_SIDE / max(grey.shape))
        if min(grey.shape) * share < self.MIN_FACE:
            return []
        if share < 1:
            grey = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        grey = cv2.equalizeHist(grey)
        boxes, _, margins = self._cascade.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=5, outputRejectLevels=True
        )
        faces = []
        for (x, y, w, h), margin in zip(boxes, np.ravel(margins), strict=True):
            confidence = float(1 / (1 + np.exp(-margin)))
            if confidence >= min_confidence:
                corners = (corner / share for corner in (x, y, x + w, y + h))
                faces.append(Face(Box.within(image, *corners), confidence))
        return ordered(faces)


class Ssd:
    """The res10 single-shot detector of OpenCV's samples, a Caffe network for 300 x 300 pixels."""

    SIZE = 300
    MEAN_BGR = (104.0, 177.0, 123.0)

    def __init__(self, folder: Path = SSD_FOLDER) -> None:
        files = {name: folder / name for name in SSD_SHA256}
        if not all(file.exists() for file in files.values()):
            raise DetectorUnavailable(
                "The weights of detector 'ssd' are not installed. "
                "Run 'make detectors' and restart the service, or use detector=yunet."
            )
        self._files = [
            np.frombuffer(verified(files[name], SSD_SHA256[name]), np.uint8) for name in SSD_SHA256
        ]
        self._own = threading.local()

    @property
    def _network(self) -> cv2.dnn.Net:
        """The calling thread's network."""
        if not hasattr(self._own, "network"):
            self._own.network = cv2.dnn.readNetFromCaffe(*self._files)
        return cast("cv2.dnn.Net", self._own.network)

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, the most confident first."""
        size = (self.SIZE, self.SIZE)
        blob = cv2.dnn.blobFromImage(image, 1.0, size, self.MEAN_BGR, swapRB=True)
        network = self._network
        network.setInput(blob)
        rows = np.array(network.forward()).reshape(-1, 7)
        height, width = image.shape[:2]
        faces = []
        for _, _, confidence, left, top, right, bottom in rows:
            if confidence >= min_confidence:
                box = Box.within(image, left * width, top * height, right * width, bottom * height)
                faces.append(Face(box, float(confidence)))
        return ordered(faces)
