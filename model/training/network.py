"""The network: MobileNetV2 (Sandler et al. 2018) with its top replaced by a two-class softmax."""

from __future__ import annotations

from pathlib import Path

import keras

from model.classifier import LABELS

INPUT_SIZE = 224
MARGIN = 0.15  # by which a face's box is widened on each side


def build(backbone: Path | None) -> keras.Model:
    """Build the network with a frozen base and a fresh head.

    Input uint8 RGB (n, height, width, 3), served at INPUT_SIZE and trained at that or fewer
    pixels; the scaling to [-1, 1] is a layer of the graph. Output float32 (n, 2), the softmax over
    LABELS. backbone is a file of ImageNet weights without top; None lets Keras fetch them.
    """
    base = keras.applications.MobileNetV2(
        input_shape=(None, None, 3),
        include_top=False,
        weights=None if backbone else "imagenet",
    )
    if backbone:
        base.load_weights(str(backbone))
    base.trainable = False
    inputs = keras.Input((None, None, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")(inputs)
    x = base(x, training=False)  # BatchNorm keeps ImageNet's statistics, also when fine-tuned
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(0.3)(x)
    outputs = keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="mask_detector")


def unfreeze(model: keras.Model, first: str) -> None:
    """Make the base trainable from a layer on, BatchNorm excepted."""
    base = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    base.trainable = True
    upper = False
    for layer in base.layers:
        upper = upper or layer.name == first
        layer.trainable = upper and not isinstance(layer, keras.layers.BatchNormalization)
