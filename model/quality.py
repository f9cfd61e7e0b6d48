"""Measure whether a face is sharp enough to be classified."""

from __future__ import annotations

import cv2

from model.images import Box, Image, crop

VIEW = 24  # pixels that the face is resized to, so that the result does not depend on its size
NOISE = 50.0  # grey levels squared; a face with less variance than this is flat


def sharpness(image: Image, box: Box) -> float:
    """Return how much of a face's contrast is fine detail: 0 is blurred, about 1 is sharp.

    This is the variance of the Laplacian (Pech-Pacheco et al. 2000) of the grey face at VIEW
    pixels, divided by the variance of its grey levels. Without the division a dark face would count
    as blurred.

    image: uint8 RGB; box must not be empty (ValueError).
    """
    grey = cv2.cvtColor(crop(image, box, 0.0, VIEW), cv2.COLOR_RGB2GRAY)
    _, detail = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))
    _, contrast = cv2.meanStdDev(grey)
    return float(detail[0, 0] ** 2 / (contrast[0, 0] ** 2 + NOISE))
