"""The available detectors, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from model.detectors.classic import Haar, Ssd
from model.detectors.faces import DetectorUnavailable, FaceDetector
from model.detectors.yunet import YuNet

DETECTORS: dict[str, Callable[[], FaceDetector]] = {"yunet": YuNet, "haar": Haar, "ssd": Ssd}


def load(names: Iterable[str]) -> tuple[dict[str, FaceDetector], dict[str, str]]:
    """Load detectors by name; returns the loaded ones, and the reason for each that failed."""
    loaded: dict[str, FaceDetector] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            loaded[name] = DETECTORS[name]()
        except DetectorUnavailable as error:
            missing[name] = str(error)
    return loaded, missing
