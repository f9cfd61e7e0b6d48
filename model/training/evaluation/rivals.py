"""Other face detectors, for comparison only; the service does not offer them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from model.detectors.faces import DetectorUnavailable, Face, ordered, verified
from model.images import Box, Image


class UltraFace:
    """UltraFace RFB-640, trained with masked faces.

    From github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, MIT.

    Raises DetectorUnavailable if its weights are missing.
    """

    FILE = "RFB-640-masked_face-v2.onnx"
    SHA256 = "27ca3e5985f722e91efea7993f625716de627303c4bafb40bb26f456286beca8"
    SIZE = (640, 480)
    MEAN, STD = 127.0, 128.0
    SAME_FACE = 0.3  # intersection over union, as in its own demo

    def __init__(self, folder: Path) -> None:
        file = folder / self.FILE
        if not file.exists():
            raise DetectorUnavailable(f"{file} does not exist. Put UltraFace's weights there.")
        weights = np.frombuffer(verified(file, self.SHA256), np.uint8)
        self._network = cv2.dnn.readNetFromONNX(weights)

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image, masked or not, the most confident first."""
        mean = (self.MEAN,) * 3
        self._network.setInput(cv2.dnn.blobFromImage(image, 1 / self.STD, self.SIZE, mean))
        boxes, scores = (np.asarray(out)[0] for out in self._network.forward(["boxes", "scores"]))
        confidences = 1 - scores[:, 0]  # the classes are background, face and masked face
        sure = confidences >= min_confidence
        height, width = image.shape[:2]
        corners = boxes[sure] * np.array([width, height, width, height])
        faces = [
            Face(Box.within(image, *box), float(confidence))
            for box, confidence in zip(corners, confidences[sure], strict=True)
        ]
        sides = [(f.box.x, f.box.y, f.box.width, f.box.height) for f in faces]
        scores = [face.confidence for face in faces]
        kept = cv2.dnn.NMSBoxes(sides, scores, min_confidence, self.SAME_FACE)
        return ordered([faces[index] for index in kept])
