"""Convert a Keras network to ONNX, and quantize it to 8-bit integers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from model.images import Image
from model.runtime import session

OPSET = 17
INPUT = "crop"
# The first convolutions have few channels with a wide range of values. With all layers in 8 bits,
# 34 of 1,948 validation labels change; with the first three as floats, 11, at the same speed.
KEPT_AS_FLOATS = 3


def convert(model: keras.Model, size: int) -> bytes:
    """Convert a Keras model to an ONNX file that takes one uint8 crop (1, size, size, 3)."""
    signature = [tf.TensorSpec((1, size, size, 3), tf.uint8, name=INPUT)]
    function = tf.function(lambda crop: model(crop, training=False), input_signature=signature)
    network, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
    return bytes(network.SerializeToString())


def probabilities(network: bytes, crops: Iterable[Image]) -> npt.NDArray[np.float32]:
    """Return the softmax of each crop computed by ONNX Runtime, float32 (n, 2)."""
    runtime = session(network)
    return np.stack([runtime.run(None, {INPUT: crop[np.newaxis]})[0][0] for crop in crops])


class Crops(CalibrationDataReader):  # type: ignore[misc]
    """Feeds crops to the quantizer."""

    def __init__(self, crops: Sequence[Image]) -> None:
        self._crops = iter(crops)

    def get_next(self) -> dict[str, Image] | None:
        """Return the next input, or None after the last one."""
        crop = next(self._crops, None)
        return None if crop is None else {INPUT: crop[np.newaxis]}


def quantize(network: bytes, crops: Sequence[Image]) -> bytes:
    """Quantize a network to 8 bits, for any number of crops at once, uint8 (n, size, size, 3).

    The given crops determine the ranges of its activations.

    Weights use 7 of the 8 bits. Processors without VNNI add pairs of products in 16 bits, where 8
    bits would overflow, and probabilities would differ between machines by up to .38.
    """
    with tempfile.TemporaryDirectory() as name:
        plain, folded, quantized = (Path(name) / f"{stage}.onnx" for stage in "abc")
        plain.write_bytes(network)
        quant_pre_process(plain, folded, skip_symbolic_shape=True)
        nodes = onnx.load(folded).graph.node
        quantize_static(
            folded,
            quantized,
            Crops(crops),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[n.name for n in nodes if n.op_type == "Conv"][:KEPT_AS_FLOATS],
        )
        return for_batches(quantized.read_bytes())


def for_batches(network: bytes) -> bytes:
    """Return a network that takes and gives any number of rows at once."""
    model = onnx.load_from_string(network)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
