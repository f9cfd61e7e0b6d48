"""Measure from how many pixels on a detector finds a face: python -m bench.smallest.

Faces of known sizes are pasted at random places into frames that each detector sees at its own
scale, so the sizes are those of its input. Half of the faces are beside a large one.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from bench.frames import PICTURE, portrait
from model.choices import DEFAULT_MIN_CONFIDENCE
from model.detectors import kinds
from model.detectors.faces import FaceDetector
from model.detectors.yunet import YuNet
from model.images import Image, decode

SIZES = (8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 28, 32, 40)
FRAMES = {"yunet": (640, 480), "haar": (1280, 960), "ssd": (300, 300)}
WALLS = ((96, 110, 120), (40, 40, 40), (200, 195, 190))
TRIES = 6  # of each face, size and wall


def faces() -> list[tuple[Image, int]]:
    """Return the faces, bare and masked, with what is around them, and their shorter sides."""
    found = []
    for image in (portrait(), decode(PICTURE.read_bytes())):
        for face in YuNet().detect(image, 0.6):
            box, margin = face.box, face.box.long_side // 2
            top, left = max(0, box.y - margin), max(0, box.x - margin)
            part = image[top : box.y + box.height + margin, left : box.x + box.width + margin]
            found.append((part, box.short_side))
    return found


def found_share(
    detector: FaceDetector, frame: tuple[int, int], size: int, *, beside: bool
) -> float:
    """Return the share of faces of a size that are found in frames of (width, height)."""
    rng = np.random.default_rng(size)
    width, height = frame
    large = cv2.resize(portrait()[:256, 100:356], (height // 2, height // 2))
    hits = []
    for part, short_side in faces():
        share = size / short_side
        small = cv2.resize(part, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        rows, columns = small.shape[:2]
        for wall in (each for each in WALLS for _ in range(TRIES)):
            canvas = np.full((height, width, 3), wall, np.uint8)
            if beside:
                canvas[: len(large), : len(large)] = large
            left = rng.integers(len(large), width - columns)
            top = rng.integers(0, height - rows)
            canvas[top : top + rows, left : left + columns] = small
            middle = np.array([left + columns / 2, top + rows / 2])
            boxes = [face.box for face in detector.detect(canvas, DEFAULT_MIN_CONFIDENCE)]
            middles = [(box.x + box.width / 2, box.y + box.height / 2) for box in boxes]
            hits.append(any(np.abs(np.array(each) - middle).max() < size for each in middles))
    return float(np.mean(hits))


def main() -> None:
    """Parse the command line and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.smallest", description=__doc__)
    parser.parse_args()
    detectors, missing = kinds.load(FRAMES)
    for name, detector in detectors.items():
        for beside in (False, True):
            shares = (found_share(detector, FRAMES[name], size, beside=beside) for size in SIZES)
            row = "  ".join(
                f"{size}: {share:.2f}" for size, share in zip(SIZES, shares, strict=True)
            )
            print(f"{name}, {'beside a large face' if beside else 'alone'}:  {row}", flush=True)
    for name, reason in missing.items():
        print(f"{name}: {reason}")


if __name__ == "__main__":
    main()
