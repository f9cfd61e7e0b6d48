"""Which cells answer for a face, and what they are told."""

import numpy as np
import tensorflow as tf

from model.training.detector.losses import (
    Targets,
    assign,
    boxes_of,
    cells_of,
    eiou_loss,
    losses,
)

SIDE = 96
CELLS = cells_of(SIDE, SIDE)
COUNT = len(CELLS.x)
FACE = [30.0, 22.0, 62.0, 66.0]


def targets(boxes: list[list[float]], ignored: list[list[float]] | None = None) -> Targets:
    count = len(boxes)
    return Targets(
        boxes=tf.constant([boxes], tf.float32),
        present=tf.ones((1, count)),
        exact=tf.ones((1, count)),
        state=tf.zeros((1, count), tf.int32),
        landmarks=tf.zeros((1, count, 10)),
        marked=tf.zeros((1, count)),
        ignored=tf.constant([ignored or [[0.0, 0.0, 0.0, 0.0]]], tf.float32),
    )


def outputs_for(box: list[float], confidence: float) -> dict[str, tf.Tensor]:
    """Answer the same box and confidence in every cell."""
    corner = np.stack([CELLS.x, CELLS.y], 1)
    stride = CELLS.stride.numpy()[:, None]
    low, high = np.array(box[:2]), np.array(box[2:])
    bbox = np.concatenate([((low + high) / 2 - corner) / stride, np.log((high - low) / stride)], 1)
    logit = np.log(confidence / (1 - confidence))
    full = {
        "cls": np.full((COUNT, 1), logit),
        "obj": np.full((COUNT, 1), logit),
        "bbox": bbox,
        "kps": np.zeros((COUNT, 10)),
        "state": np.zeros((COUNT, 5)),
    }
    parts, start = {}, 0
    for stride_ in (8, 16, 32):
        end = start + (SIDE // stride_) ** 2
        for kind, values in full.items():
            parts[f"{kind}_{stride_}"] = tf.constant(values[None, start:end], tf.float32)
        start = end
    return parts


def test_boxes_are_decoded_as_they_are_served() -> None:
    outputs = outputs_for(FACE, 0.5)
    bbox = tf.concat([outputs[f"bbox_{stride}"] for stride in (8, 16, 32)], 1)
    assert np.allclose(boxes_of(bbox, CELLS), FACE, atol=1e-3)


def test_cells_in_the_middle_of_a_face_answer_for_it() -> None:
    boxes = tf.tile(tf.constant([[FACE]], tf.float32), [1, COUNT, 1])
    face, positive = assign(boxes, tf.fill((1, COUNT), 0.5), targets([FACE]), CELLS)
    chosen = np.flatnonzero(positive[0])
    assert 1 <= len(chosen) <= 10
    x, y = (CELLS.x + CELLS.stride / 2).numpy(), (CELLS.y + CELLS.stride / 2).numpy()
    assert all(FACE[0] < x[i] < FACE[2] and FACE[1] < y[i] < FACE[3] for i in chosen)
    assert not face.numpy()[0, chosen].any()


def test_two_faces_share_no_cell_and_padding_gets_none() -> None:
    other = [60.0, 60.0, 90.0, 92.0]
    both = targets([FACE, other, [0.0, 0.0, 0.0, 0.0]])
    both = both._replace(present=tf.constant([[1.0, 1.0, 0.0]]))
    corner = tf.stack([CELLS.x, CELLS.y, CELLS.x + 32, CELLS.y + 32], -1)[None]
    face, positive = assign(corner, tf.fill((1, COUNT), 0.5), both, CELLS)
    faces = face.numpy()[0][positive.numpy()[0] > 0]
    assert set(faces) == {0, 1}


def test_the_right_box_costs_less_than_a_shifted_one() -> None:
    right = losses(outputs_for(FACE, 0.9), targets([FACE]), CELLS)
    shifted = losses(outputs_for([v + 10 for v in FACE], 0.9), targets([FACE]), CELLS)
    assert float(right["box"]) < 0.01 < float(shifted["box"])
    assert float(eiou_loss(tf.constant(FACE), tf.constant(FACE))) < 1e-5


def test_a_false_alarm_costs_nothing_in_an_ignored_area() -> None:
    alarm = outputs_for(FACE, 0.9)
    nothing = targets([[0.0, 0.0, 0.0, 0.0]])._replace(present=tf.zeros((1, 1)))
    everywhere = nothing._replace(ignored=tf.constant([[[0.0, 0.0, SIDE, SIDE]]], tf.float32))
    assert float(losses(alarm, nothing, CELLS)["obj"]) > 1
    assert float(losses(alarm, everywhere, CELLS)["obj"]) == 0
