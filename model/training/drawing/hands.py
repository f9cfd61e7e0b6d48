"""Draw hands in the colour of the face's skin."""

from __future__ import annotations

import cv2
import numpy as np

from model.images import Image
from model.training.drawing.fabrics import SKINS, blobs
from model.training.drawing.poses import Pose
from model.training.drawing.sheets import (
    Floats,
    Sheet,
    ellipse,
    exposure_of,
    rounded,
    smooth,
    turned,
)


def skin_of(image: Image, pose: Pose) -> Floats:
    """Return the colour of the skin on forehead and cheeks in full light, RGB 0..255."""
    spots = np.array([(0, -0.45, 1), (0.2, -0.4, 1), (-0.55, 0.5, 1), (0.55, 0.5, 1)])
    height, width = image.shape[:2]
    radius = max(1, round(pose.span * 0.06))
    seen = []
    for x, y in np.round(spots @ pose.to_frame.T).astype(int):
        patch = image[
            max(y - radius, 0) : max(y + radius, 0), max(x - radius, 0) : max(x + radius, 0)
        ]
        if 0 <= x < width and 0 <= y < height and patch.size:
            seen.append(patch.reshape(-1, 3).mean(axis=0))
    if not seen:
        return np.array(SKINS[2], np.float32)
    return np.asarray(np.median(seen, axis=0) / exposure_of(image, pose), np.float32)


def draw_hand(
    sheet: Sheet,
    skin: Floats,
    random: np.random.Generator,
    angle: float,
    tip: tuple[float, float],
) -> None:
    """Draw a hand whose fingertips are near tip; angle 0 points up."""
    x, y = tip
    width = random.uniform(0.27, 0.33)
    tips = (0.14, 0.0, 0.05, 0.28)
    spread = random.uniform(0.0, 0.06)
    bones = np.zeros_like(sheet.alpha)
    nails = np.zeros_like(sheet.alpha)
    for index, lower in enumerate(tips):
        place = (index - 1.5) * (width + 0.025)
        finger = turned([(place * (1 + spread * 4), lower + width / 2), (place, 1.15)], angle, x, y)
        sheet.stroke(bones, finger, (255,), width)
        shown = ellipse(place * (1 + spread * 4), lower + width * 0.42, width * 0.24, width * 0.32)
        sheet.fill(nails, turned(shown, angle, x, y), 255)
    palm = [(-0.62, 1.0), (0.62, 1.05), (0.66, 1.6), (0.5, 2.2), (0.4, 3.6), (-0.4, 3.6)]
    palm += [(-0.5, 2.2), (-0.66, 1.6)]
    sheet.fill(bones, turned(smooth(palm), angle, x, y), 255)
    thumb = [(-0.5, 1.7), (-0.85, 1.25), (-0.92, random.uniform(0.75, 1.0))]
    sheet.stroke(bones, turned(thumb, angle, x, y), (255,), width)
    closed = cv2.morphologyEx(bones, cv2.MORPH_CLOSE, np.ones((sheet.width(0.06),) * 2, np.uint8))
    size = (bones.shape[0], bones.shape[1])
    light = np.where(bones > 60, rounded(bones, width * 0.5 * sheet.scale), 0.55)
    light = np.asarray(cv2.GaussianBlur(light.astype(np.float32), (0, 0), 0.012 * sheet.scale))
    light = light * (1.04 + 0.03 * blobs(size, 8, random))
    tone = skin * random.uniform(0.86, 1.02)
    sheet.lay(tone * light[..., None], np.asarray(closed, np.uint8))
    if random.random() < 0.7:  # otherwise the palm is seen, without nails
        nail = np.clip(tone * 1.06 + np.array([8, 4, 6]), 0, 255)
        sheet.lay(nail * light[..., None], np.asarray(nails // 2, np.uint8))
