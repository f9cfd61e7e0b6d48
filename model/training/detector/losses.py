"""Assign cells to faces and compute the loss of a batch.

Assignment: SimOTA (YOLOX, Ge et al. 2021). Losses as YuNet was trained with (Wu et al. 2023):
binary cross-entropy for class and objectness, EIoU (Zhang et al. 2021) for boxes, smooth L1 for
landmarks; cross-entropy for the state of the mask, and the squared distance of unit vectors for the
roll.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from model.detectors.yunet import STRIDES

RADIUS = 2.5  # strides from a face's centre within which a cell may answer for it
MOST_CELLS = 10  # cells for a face
FAR = 1e5  # cost of a cell that may not answer
BOX, LANDMARKS, STATE, ROLL = 5.0, 2.0, 1.0, 0.5  # weights beside class and objectness, 1 each
STATE_WEIGHTS = (1.0, 1.0, 3.0)  # of graph.STATES: few masks are worn wrong
BETA = 0.1  # of a face's size, where the smooth L1 turns from square to straight


class Targets(NamedTuple):
    """The faces of a batch, padded to the same number g.

    boxes: float32 (n, g, 4), left, top, right, bottom in pixels. present: float32 (n, g), 1 for a
    face, 0 for padding. exact: float32 (n, g), 1 where the box is to be learned. state: int32
    (n, g), an index of graph.STATES, -1 if unknown. landmarks: float32 (n, g, 10) in pixels.
    marked: float32 (n, g), 1 where landmarks are known. ignored: float32 (n, i, 4), areas in which
    no cell is told that it sees nothing.
    """

    boxes: tf.Tensor
    present: tf.Tensor
    exact: tf.Tensor
    state: tf.Tensor
    landmarks: tf.Tensor
    marked: tf.Tensor
    ignored: tf.Tensor


@dataclass(frozen=True)
class Cells:
    """Where the cells of all strides are, in pixels: x, y float32 (cells,), and their strides."""

    x: tf.Tensor
    y: tf.Tensor
    stride: tf.Tensor


def cells_of(height: int, width: int) -> Cells:
    """Return the cells of a frame, row by row, the finest stride first."""
    xs, ys, strides = [], [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = tf.meshgrid(tf.range(rows), tf.range(columns), indexing="ij")
        xs.append(tf.reshape(tf.cast(x, tf.float32) * stride, [-1]))
        ys.append(tf.reshape(tf.cast(y, tf.float32) * stride, [-1]))
        strides.append(tf.fill([rows * columns], float(stride)))
    return Cells(tf.concat(xs, 0), tf.concat(ys, 0), tf.concat(strides, 0))


def boxes_of(bbox: tf.Tensor, cells: Cells) -> tf.Tensor:
    """Decode boxes: (n, cells, 4) in strides to left, top, right, bottom in pixels."""
    stride = cells.stride[:, None]
    corner = tf.stack([cells.x, cells.y], -1)
    centre = bbox[..., :2] * stride + corner
    half = tf.exp(tf.minimum(bbox[..., 2:], 8.0)) * stride / 2
    return tf.concat([centre - half, centre + half], -1)


def iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the intersection over union of boxes (..., 4) that broadcast."""
    sides = tf.nn.relu(tf.minimum(a[..., 2:], b[..., 2:]) - tf.maximum(a[..., :2], b[..., :2]))
    shared = sides[..., 0] * sides[..., 1]
    return shared / (area(a) + area(b) - shared + 1e-6)


def area(box: tf.Tensor) -> tf.Tensor:
    """Return the area of boxes (..., 4)."""
    return (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])


def eiou_loss(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return 1 - IoU plus the squared distances of centres, widths and heights, normalised."""
    around = tf.maximum(a[..., 2:], b[..., 2:]) - tf.minimum(a[..., :2], b[..., :2])
    squares = around**2 + 1e-6
    centres = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    sizes = (a[..., 2:] - a[..., :2]) - (b[..., 2:] - b[..., :2])
    distance = tf.reduce_sum(centres**2, -1) / tf.reduce_sum(squares, -1)
    return 1 - iou(a, b) + distance + tf.reduce_sum(sizes**2 / squares, -1)


def assign(
    boxes: tf.Tensor, score: tf.Tensor, targets: Targets, cells: Cells
) -> tuple[tf.Tensor, tf.Tensor]:
    """Choose the cells that answer for each face.

    boxes (n, cells, 4) and score (n, cells), 0..1, are what the cells say now. Returns the face of
    each cell, int32 (n, cells), and whether it has one, float32 (n, cells).
    """
    x = cells.x[None, None] + cells.stride / 2
    y = cells.y[None, None] + cells.stride / 2
    face = targets.boxes[:, :, None]  # (n, g, 1, 4)
    inside = (x > face[..., 0]) & (x < face[..., 2]) & (y > face[..., 1]) & (y < face[..., 3])
    reach = RADIUS * cells.stride
    middle = (face[..., :2] + face[..., 2:]) / 2
    near = (tf.abs(x - middle[..., 0]) < reach) & (tf.abs(y - middle[..., 1]) < reach)
    present = targets.present[..., None] > 0
    overlap = iou(face, boxes[:, None]) * tf.cast((inside | near) & present, tf.float32)
    unsure = -tf.math.log(score + 1e-6)[:, None]
    cost = unsure - 3 * tf.math.log(overlap + 1e-6) + FAR * tf.cast(~(inside & near), tf.float32)
    cost += 1e9 * tf.cast(~((inside | near) & present), tf.float32)
    best, chosen = tf.math.top_k(-cost, MOST_CELLS)
    wanted = tf.reduce_sum(tf.math.top_k(overlap, MOST_CELLS).values, -1)
    wanted = tf.maximum(tf.cast(wanted, tf.int32), 1)
    taken = (tf.range(MOST_CELLS) < wanted[..., None]) & (best > -1e8)
    count = tf.shape(score)[1]
    mine = tf.reduce_any(
        tf.one_hot(chosen, count, on_value=True, off_value=False) & taken[..., None], 2
    )
    cost = tf.where(mine, cost, tf.fill(tf.shape(cost), 1e12))
    return tf.argmin(cost, 1, output_type=tf.int32), tf.cast(tf.reduce_any(mine, 1), tf.float32)


def losses(outputs: dict[str, tf.Tensor], targets: Targets, cells: Cells) -> dict[str, tf.Tensor]:
    """Return the mean loss of each kind for a batch, weighted; their sum is to be minimised."""
    cls, obj, bbox, kps, state = (
        tf.concat([outputs[f"{kind}_{stride}"] for stride in STRIDES], 1)
        for kind in ("cls", "obj", "bbox", "kps", "state")
    )
    cls, obj = cls[..., 0], obj[..., 0]
    boxes = boxes_of(bbox, cells)
    score = tf.sqrt(tf.sigmoid(cls) * tf.sigmoid(obj))
    face, positive = assign(tf.stop_gradient(boxes), tf.stop_gradient(score), targets, cells)
    box = tf.gather(targets.boxes, face, batch_dims=1)
    exact = positive * tf.gather(targets.exact, face, batch_dims=1)
    marked = positive * tf.gather(targets.marked, face, batch_dims=1)
    label = tf.gather(targets.state, face, batch_dims=1)
    known = positive * tf.cast(label >= 0, tf.float32)
    seen = 1 - (1 - positive) * in_any(targets.ignored, cells)
    quality = tf.where(exact > 0, tf.stop_gradient(iou(boxes, box)), tf.ones_like(cls))
    corner = tf.stack([cells.x, cells.y], -1)
    points = tf.gather(targets.landmarks, face, batch_dims=1)
    # In sizes of the face: in strides, large faces would outweigh all others.
    size = tf.sqrt(tf.maximum(area(box), 1.0))[..., None]
    said = kps * cells.stride[:, None] + tf.tile(corner, [1, 5])
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits
    by_state = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(label, 0), state[..., :3])
    down = (points[..., 6:8] + points[..., 8:10] - points[..., :2] - points[..., 2:4]) / 2
    down /= tf.norm(down, axis=-1, keepdims=True) + 1e-6
    upright = tf.stack([down[..., 1], -down[..., 0]], -1)  # cosine and sine of the roll
    by_roll = tf.reduce_sum((state[..., 3:] - upright) ** 2, -1)
    faces = tf.reduce_sum(positive) + 1
    return {
        "cls": tf.reduce_sum(cross_entropy(quality, cls) * positive) / faces,
        "obj": tf.reduce_sum(cross_entropy(positive, obj) * seen) / faces,
        "box": BOX * mean(eiou_loss(boxes, box), exact),
        "landmarks": LANDMARKS * mean(tf.reduce_sum(smooth_l1((said - points) / size), -1), marked),
        "state": STATE * mean(by_state, known * tf.gather(STATE_WEIGHTS, tf.maximum(label, 0))),
        "roll": ROLL * mean(by_roll, marked),
    }


def in_any(areas: tf.Tensor, cells: Cells) -> tf.Tensor:
    """Return float32 (n, cells), 1 for a cell whose middle lies in one of (n, i, 4) areas."""
    x, y = cells.x + cells.stride / 2, cells.y + cells.stride / 2
    area = areas[:, :, None]
    inside = (x > area[..., 0]) & (x < area[..., 2]) & (y > area[..., 1]) & (y < area[..., 3])
    return tf.cast(tf.reduce_any(inside, 1), tf.float32)


def smooth_l1(error: tf.Tensor) -> tf.Tensor:
    """Return the square near zero, the distance elsewhere."""
    size = tf.abs(error)
    return tf.where(size < BETA, size**2 / (2 * BETA), size - BETA / 2)


def mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return the weighted mean; 0 without weights."""
    return tf.reduce_sum(values * weights) / (tf.reduce_sum(weights) + 1)
