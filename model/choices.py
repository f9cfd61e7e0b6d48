"""Names of the models, detectors and labels, and the defaults.

This module imports no inference library, so that the settings can be read without loading one. A
library that is loaded before the server forks aborts when the forked process ends.
"""

from __future__ import annotations

from typing import Literal

Label = Literal["mask", "no_mask", "uncertain"]
DetectorName = Literal["facemask", "yunet", "ssd", "haar"]  # in order of cost, lowest first
ModelName = Literal["cascade", "mobilenetv2-224", "fast"]

DEFAULT_MODEL: ModelName = "cascade"
DEFAULT_DETECTOR: DetectorName = "facemask"
DEFAULT_MIN_CONFIDENCE = 0.45
LEAST_CONFIDENCE = 0.1  # lower values find thousands of faces in noise, and each costs time
