"""Provide training data: augmented crops drawn by weight, and validation crops as served."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import keras
import numpy as np
import numpy.typing as npt
from numpy.random import default_rng
from rich.progress import track

from model.classifier import LABELS
from model.images import Image
from model.runtime import session
from model.training import augment
from model.training.convert import INPUT, convert
from model.training.data import dataset
from model.training.data.dataset import CLASSES, Sample
from model.training.data.located import cut
from model.training.data.windows import Window
from model.training.recipes import Recipe

BATCH = 32

Validation: TypeAlias = tuple[Image, npt.NDArray[np.float32], npt.NDArray[np.float64]]


class Teacher:
    """A trained network whose answers another network learns."""

    def __init__(self, model: keras.Model, size: int) -> None:
        self.size = size
        self._network = session(convert(model, size))

    def answers(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """Return the softmax for crops of the teacher's input size, float32 (n, 2)."""
        rows = [self._network.run(None, {INPUT: crop[np.newaxis]})[0][0] for crop in crops]
        return np.stack(rows)


class Draws(keras.utils.PyDataset):  # type: ignore[misc]
    """One epoch of augmented crops, drawn by weight; deterministic for a seed and epoch."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        samples: Sequence[Sample],
        windows: Sequence[Window],
        recipe: Recipe,
        size: int,
        draws: int,
        seed: tuple[int, int],
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self._samples, self._windows, self._recipe, self._size = samples, windows, recipe, size
        self._teacher = teacher
        random = default_rng(seed)
        weights = augment.weights_of(samples, windows, recipe)
        self._order = random.choice(len(samples), size=draws, p=weights)
        self._seeds = random.integers(2**63, size=draws)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / BATCH)

    def __getitem__(self, index: int) -> tuple[Image, npt.NDArray[np.float32]]:
        rows = slice(index * BATCH, (index + 1) * BATCH)
        chosen = zip(self._order[rows], self._seeds[rows], strict=True)
        size = self._teacher.size if self._teacher else self._size
        views = [
            augment.view(
                self._samples[i].cls, self._windows[i], self._recipe, size, default_rng(seed)
            )
            for i, seed in chosen
        ]
        crops = [crop for crop, _ in views]
        labels = one_hot([LABELS.index(CLASSES[cls]) for _, cls in views])
        if self._teacher:
            share = self._recipe.taught
            labels = share * self._teacher.answers(crops) + (1 - share) * labels
            to = (self._size, self._size)
            crops = [
                np.asarray(cv2.resize(crop, to, interpolation=cv2.INTER_AREA), np.uint8)
                for crop in crops
            ]
        return np.stack(crops), np.asarray(labels, np.float32)


def one_hot(labels: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return labels one-hot encoded, float32 (n, 2)."""
    return np.eye(2, dtype=np.float32)[list(labels)]


def validation_of(samples: Sequence[Sample], margin: float, size: int) -> Validation:
    """Return the validation faces' crops as served, their labels and their weights."""
    crops = [cut(s, margin, size) for s in track(samples, "Cutting validation")]
    weights = dataset.sampling_weights(samples) * len(samples)
    return np.stack(crops), one_hot([s.label for s in samples]), weights
