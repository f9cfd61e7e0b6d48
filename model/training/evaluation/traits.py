"""Describe faces by the traits for which accuracy is reported separately."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from model.images import Box, Image, crop
from model.quality import sharpness
from model.training.data.dataset import Sample

SIZES = (0, 20, 32, 60, 120, math.inf)  # pixels of the box's short side
SHARPNESS = {"blurred": 0.5, "middling": 0.9, "sharp": math.inf}  # quality.sharpness()
BRIGHTNESS = {"dark": 70.0, "middling": 160.0, "bright": math.inf}  # mean luminance, 0..255
# Individual typology angle in degrees (Chardon et al. 1991), from dark to light skin.
SKIN = {
    "dark": -30.0,
    "brown": 10.0,
    "tan": 28.0,
    "intermediate": 41.0,
    "light": 55.0,
    "very light": math.inf,
}
ROLL = {  # degrees by which the head is turned to either side, as the detector says
    "0-25 degrees": 25.0,
    "25-60 degrees": 60.0,
    "60-120 degrees": 120.0,
    "120-180 degrees": math.inf,
}
TURNED = 0.25  # sideways offset of the nose tip from the middle of the eyes, in eye distances
OCCLUDED_SETS = {"smoker": "hand, cup or cigarette"}  # known only for the whole set
VIEW = 64  # pixels that a face is resized to


def of(
    image: Image, box: Box, landmarks: npt.NDArray[np.float32] | None, sample: Sample
) -> dict[str, str]:
    """Return the band of each trait of a face, by trait.

    Skin is measured on the forehead and depends on the lighting, so it separates groups of pictures
    rather than people. Pose needs landmarks, which only detected faces have. The mask colour is
    given only for correctly worn masks.
    """
    view = crop(image, box, 0.0, VIEW)
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    named = of_set(sample) | {
        "size": size_band(box.short_side),
        "sharpness": band(sharpness(image, box), SHARPNESS),
        "brightness": band(float(grey.mean()), BRIGHTNESS),
        "skin": band(typology_angle(view[8:18, 20:44]), SKIN),
    }
    if landmarks is not None:
        named["pose"] = pose(landmarks)
    if sample.cls == "with_mask":
        named["mask"] = colour_name(view[38:58, 18:46])
    return named


def of_set(sample: Sample) -> dict[str, str]:
    """Return the traits that are known without seeing the face: its source and its occluder.

    The occluder is known only for sets whose faces mostly have the same one; no set annotates it
    per face.
    """
    named = {"source": sample.source}
    if sample.source in OCCLUDED_SETS:
        named["occluder"] = OCCLUDED_SETS[sample.source]
    return named


def place(trait: str, name: str) -> tuple[str, int, str]:
    """Return the sort key of a trait's band; small, dark and blurred come first."""
    sizes = [size_band(int(low)) for low in SIZES[:-1]]
    order = {"size": sizes, "sharpness": SHARPNESS, "brightness": BRIGHTNESS}
    order |= {"skin": SKIN, "roll": ROLL}
    names = list(order.get(trait, ()))
    return trait, names.index(name) if name in names else len(names), name


def band(value: float, bounds: dict[str, float]) -> str:
    """Return the first name whose upper bound is above the value."""
    return next(name for name, upper in bounds.items() if value < upper)


def size_band(pixels: int) -> str:
    """Return the name of the band of SIZES that contains a length."""
    low, high = next((low, high) for low, high in pairwise(SIZES) if low <= pixels < high)
    return f"{low}-{high} px" if high < math.inf else f"{low} px and more"


def typology_angle(skin: Image) -> float:
    """Return the median individual typology angle of RGB pixels, in degrees, -90..90."""
    lightness, _, b = np.median(lab(skin), axis=0)
    return math.degrees(math.atan2(lightness - 50, max(b, 1e-6)))


def lab(pixels: Image) -> npt.NDArray[np.float32]:
    """Return RGB pixels as CIE L*a*b*, float32 (n, 3), L* 0..100."""
    scaled = pixels.astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB).reshape(-1, 3), np.float32)


def colour_name(cloth: Image) -> str:
    """Return the colour of RGB pixels: white, grey, black, blue, green or warm colours."""
    lightness, a, b = np.median(lab(cloth), axis=0)
    if math.hypot(a, b) < 12:
        return band(lightness, {"black": 35.0, "grey": 65.0, "white": math.inf})
    hue = math.degrees(math.atan2(b, a)) % 360
    return "blue" if 200 <= hue < 310 else "green" if 110 <= hue < 200 else "warm colours"


def pose(landmarks: npt.NDArray[np.float32]) -> str:
    """Return whether a face is frontal or turned sideways."""
    right, left, nose = landmarks[:3]
    between = float(np.linalg.norm(left - right))
    offset = abs(float(np.dot(nose - (right + left) / 2, left - right))) / max(between, 1e-6) ** 2
    return "frontal" if offset < TURNED else "turned"
