"""Compute a face's position and direction from its five landmarks.

A face's own coordinates: x is in eye distances, from the middle of the face to the right of the
picture; y runs from the eyes (0) to the mouth (1), and the chin is near 1.75.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face

NOSE = 0.58  # y of the nose tip in a face that looks straight ahead
NOSE_DEPTH = 0.45  # distance of the nose tip from the plane of eyes and mouth
MAX_YAW, MAX_PITCH = 2.0, 0.6  # tangents; larger values come from noisy landmarks


@dataclass(frozen=True)
class Pose:
    """A face's position and direction.

    to_frame: float64 (2, 3), from the face's own coordinates to pixels. yaw, pitch: how far x and y
    move per unit of depth.
    """

    to_frame: npt.NDArray[np.float64]
    yaw: float
    pitch: float

    @property
    def span(self) -> float:
        """The distance between the eyes in pixels, as if seen from the front."""
        across, down = np.linalg.norm(self.to_frame[:, :2], axis=0)
        return float(max(across, 0.9 * down))


def pose_of(face: Face) -> Pose:
    """Return a face's pose; implausible landmarks are corrected to a possible pose.

    Raises ValueError for a face without landmarks.
    """
    if face.landmarks is None:
        raise ValueError("Drawing on a face needs its landmarks; use detector 'yunet'.")
    box = face.box
    side = float(max(box.long_side, 1))
    centre = np.array([box.x + box.width / 2, box.y + box.height / 2])
    points = np.clip(face.landmarks.astype(np.float64), centre - side, centre + side)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    across, down = points[1] - points[0], mouth - eyes
    unit = max(float(np.linalg.norm(across)), float(np.linalg.norm(down)), 0.15 * side)
    if np.linalg.norm(down) < 0.2 * unit:
        down = np.array([-across[1], across[0]]) if np.any(across) else np.array([0.0, 1.0])
    length = float(np.linalg.norm(down))
    axis = down / length
    down = axis * float(np.clip(length, 0.5 * unit, side))
    sideways = np.array([axis[1], -axis[0]])
    # In profile the eyes are close together: limit their distance and leave the rest to the yaw.
    breadth = max(float(across @ sideways), 0.5 * unit)
    slant = float(np.clip(across @ axis, -0.3 * breadth, 0.3 * breadth))
    across = breadth * sideways + slant * axis
    x, y = np.linalg.solve(np.stack([across, down], axis=1), points[2] - eyes)
    return Pose(
        np.stack([across, down, eyes], axis=1),
        float(np.clip(x / NOSE_DEPTH, -MAX_YAW, MAX_YAW)),
        float(np.clip((y - NOSE) / NOSE_DEPTH, -MAX_PITCH, MAX_PITCH)),
    )
