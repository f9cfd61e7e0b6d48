"""What can be chosen, by name, and what is taken where nothing is.

Apart from what it names, so that reading the settings loads no inference library: one that is
loaded before a server forks aborts in the fork when that ends.
"""

from __future__ import annotations

from typing import Literal

Label = Literal["mask", "no_mask", "uncertain"]
DetectorName = Literal["yunet", "ssd", "haar"]  # the cheapest first
ModelName = Literal["mobilenetv2-224", "fast"]

DEFAULT_MODEL: ModelName = "mobilenetv2-224"
DEFAULT_DETECTOR: DetectorName = "yunet"
DEFAULT_MIN_CONFIDENCE = 0.45
LEAST_CONFIDENCE = 0.1  # below it noise gives thousands of faces, each of which costs time
