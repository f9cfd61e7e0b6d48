"""The trained graph is YuNet's, node for node, with a head for the state of the mask."""

import numpy as np
import pytest
import tensorflow as tf

from model.detectors.facemask import FaceMask
from model.detectors.yunet import STRIDES, YuNet
from model.images import Image
from model.runtime import session
from model.training.detector.graph import Network, fused, template, weights_of, with_weights


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(template())


def test_tensorflow_computes_what_the_exported_file_computes(network: Network) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)
    trained = network(tf.constant(frame))
    served = session(with_weights(template(), network.weights()).SerializeToString())
    names = [output.name for output in served.get_outputs()]
    outputs = dict(
        zip(names, served.run(None, {"input": frame.transpose(0, 3, 1, 2)}), strict=True)
    )
    assert {f"{kind}_{s}" for kind in ("cls", "bbox", "state") for s in STRIDES} <= set(names)
    for name, values in outputs.items():
        ours = trained[name]
        ours = tf.sigmoid(ours) if name.startswith(("cls", "obj")) else ours
        assert np.abs(ours.numpy() - values).max() < 1e-4, name


def test_the_served_file_computes_the_same(network: Network) -> None:
    trained = with_weights(template(), network.weights())
    frame = np.random.default_rng(1).integers(0, 256, (1, 3, 64, 96)).astype(np.float32)
    names = [output.name for output in trained.graph.output]
    heads = dict(
        zip(
            names,
            session(trained.SerializeToString()).run(names, {"input": frame}),
            strict=True,
        )
    )
    served = session(fused(trained).SerializeToString())
    for stride in STRIDES:
        face, state = (
            values[0].reshape(values.shape[1], -1).T
            for values in served.run([f"face_{stride}", f"state_{stride}"], {"input": frame})
        )
        face[:, :2] = 1 / (1 + np.exp(-face[:, :2]))
        parts = [heads[f"{kind}_{stride}"][0] for kind in ("cls", "obj", "bbox", "kps")]
        np.testing.assert_allclose(face, np.concatenate(parts, axis=1), atol=1e-4)
        np.testing.assert_allclose(state, heads[f"state_{stride}"][0], atol=1e-4)


def test_before_training_it_finds_what_yunet_finds(portrait: Image) -> None:
    untrained = FaceMask(fused(template()).SerializeToString())
    (ours,) = untrained.detect(portrait, 0.6, 640)
    (yunet,) = YuNet(glance=False).detect(portrait, 0.6)
    assert ours.box == yunet.box
    assert ours.landmarks is not None
    assert ours.states is not None
    assert np.isclose(sum(ours.states), 1)


def test_other_weights_come_back_as_they_were_put_in(network: Network) -> None:
    weights = {name: array * 0.5 for name, array in network.weights().items()}
    read = weights_of(with_weights(template(), weights))
    assert read.keys() == weights.keys()
    assert all(np.array_equal(read[name], weights[name]) for name in weights)
