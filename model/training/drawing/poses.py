"""Where a face is and looks, from its five landmarks.

A face's own coordinates: x in distances between the eyes, from the middle of the face to the
right of the picture; y in distances from the eyes (0) to the mouth (1), the chin is near 1.75.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.detectors.faces import Face

NOSE = 0.58  # the nose tip's y in a face that looks straight ahead
NOSE_DEPTH = 0.45  # how far it stands out of the plane of eyes and mouth
MAX_YAW, MAX_PITCH = 2.0, 0.6  # tangents; beyond them landmarks are noise rather than a pose


@dataclass(frozen=True)
class Pose:
    """Where a face is and looks.

    to_frame: float64 (2, 3), from the face's own coordinates to pixels. yaw and pitch: by how
    much x and y move with each unit of depth.
    """

    to_frame: npt.NDArray[np.float64]
    yaw: float
    pitch: float

    @property
    def span(self) -> float:
        """The distance between the eyes, seen from the front, in pixels."""
        across, down = np.linalg.norm(self.to_frame[:, :2], axis=0)
        return float(max(across, 0.9 * down))


def pose_of(face: Face) -> Pose:
    """Return a face's pose; landmarks on a line or far outside its box are bent to a possible one.

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
    # A profile's eyes fall together: what they lack in distance is left to the yaw.
    breadth = max(float(across @ sideways), 0.5 * unit)
    slant = float(np.clip(across @ axis, -0.3 * breadth, 0.3 * breadth))
    across = breadth * sideways + slant * axis
    x, y = np.linalg.solve(np.stack([across, down], axis=1), points[2] - eyes)
    return Pose(
        np.stack([across, down, eyes], axis=1),
        float(np.clip(x / NOSE_DEPTH, -MAX_YAW, MAX_YAW)),
        float(np.clip((y - NOSE) / NOSE_DEPTH, -MAX_PITCH, MAX_PITCH)),
    )
