"""The network: MobileNetV2 (Sandler et al. 2018) with its top replaced by a two-class softmax."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from model.classifier import LABELS

INPUT_SIZE = 224
SETTLING = 0.99  # momentum of the BatchNorm statistics of a narrowed network
MARGIN = 0.15  # how far a face's box is widened on each side, relative to its longer side


def build(backbone: Path | None) -> keras.Model:
    """Build the network with a frozen base and a new head.

    Input: uint8 RGB (n, height, width, 3), served at INPUT_SIZE and trained at that size or less;
    the graph contains the scaling to [-1, 1]. Output: float32 (n, 2), the softmax over LABELS.
    backbone: a file of ImageNet weights without the top; if None, Keras downloads them.
    """
    base = keras.applications.MobileNetV2(
        input_shape=(None, None, 3),
        include_top=False,
        weights=None if backbone else "imagenet",
    )
    if backbone:
        base.load_weights(str(backbone))
    base.trainable = False
    return headed(base, statistics=False)


def headed(base: keras.Model, *, statistics: bool) -> keras.Model:
    """Put a new head on a base; statistics: whether BatchNorm keeps learning its statistics."""
    inputs = keras.Input((None, None, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")(inputs)
    x = base(x) if statistics else base(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(0.3)(x)
    outputs = keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="mask_detector")


def base_of(model: keras.Model) -> keras.Model:
    """Return the MobileNetV2 in a network."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def narrowed(model: keras.Model, width: float) -> keras.Model:
    """Build the network with a share of a trained network's channels, the most important ones.

    A channel's importance is its BatchNorm scale (network slimming, Liu et al. 2017). The BatchNorm
    statistics must be learnt again, because the inputs have changed; the trained head is kept.
    """
    wide = base_of(model)
    scales = {
        layer.name: np.abs(layer.get_weights()[0])
        for layer in wide.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    stages: dict[int, npt.NDArray[np.float32]] = {}
    for name, scale in scales.items():
        if name.endswith("_project_BN"):
            # The outputs of a stage's blocks are added, so all keep the same channels.
            stages[len(scale)] = stages.get(len(scale), 0) + scale
    base = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), include_top=False, weights=None, alpha=width
    )
    norms = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}
    kept = np.arange(3)
    for layer in base.layers:
        weights = wide.get_layer(layer.name).get_weights() if layer.weights else []
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([weights[0][:, :, kept]])
        elif isinstance(layer, keras.layers.Conv2D):
            scale = scales[norms.get(layer.name, f"{layer.name}_BN")]
            if layer.name.endswith("_project"):
                scale = stages[len(scale)]
            strongest = np.sort(np.argsort(-scale)[: layer.filters])
            layer.set_weights([weights[0][:, :, kept][..., strongest]])
            kept = strongest
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([values[kept] for values in weights])
            layer.momentum = SETTLING
    narrow = headed(base, statistics=True)
    for layer, trained in zip(narrow.layers, model.layers, strict=True):
        if isinstance(layer, keras.layers.Dense):
            layer.set_weights(trained.get_weights())
    return narrow


def unfreeze(model: keras.Model, first: str, *, statistics: bool = False) -> None:
    """Make the base trainable from a layer on; BatchNorm only if statistics is set."""
    base = base_of(model)
    base.trainable = True
    upper = False
    for layer in base.layers:
        upper = upper or layer.name == first
        fixed = isinstance(layer, keras.layers.BatchNormalization) and not statistics
        layer.trainable = upper and not fixed
