"""Draw face masks onto unmasked faces, for a balanced data set and for tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track

from model.faces import Face, YuNet
from model.images import Image, ImageError, decode
from model.training.dataset import SUFFIXES, TRAIN_DETECTION_CONFIDENCE

COLOURS = {
    "blue": (158, 196, 218),
    "white": (232, 233, 230),
    "green": (156, 199, 178),
    "pink": (226, 176, 186),
    "grey": (128, 130, 133),
    "black": (38, 38, 42),
    "navy": (36, 48, 84),
    "red": (150, 42, 46),
}

# The half of a mask's outline on the person's right, in a face's own coordinates: x in distances
# between the eyes from the nose outwards, y in distances from the eyes (0) to the mouth (1).
OUTLINE = ((0.0, 0.33), (-0.35, 0.42), (-0.95, 0.55), (-0.9, 1.05), (-0.55, 1.55), (0.0, 1.75))
EAR = (-1.25, 0.2)
PLEATS = (0.75, 0.95, 1.15)


def to_frame(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the affine transform (2, 3) from a face's own coordinates to the frame's pixels."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across = landmarks[1] - landmarks[0]
    return np.stack([across, mouth - eyes, eyes], axis=1).astype(np.float64)


def placed(
    points: list[tuple[float, float]], transform: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """Move points (n, 2) of a face's own coordinates into the frame."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    return np.round(homogeneous @ transform.T).astype(np.int32)


def draw_mask(image: Image, face: Face, colour: tuple[int, int, int]) -> Image:
    """Return a copy of a uint8 RGB image whose face wears a mask of an RGB colour.

    The mask follows the face's landmarks and takes on a part of the light on the face below it.
    Raises ValueError for a face without landmarks.
    """
    if face.landmarks is None:
        raise ValueError("A mask needs the face's landmarks; use detector 'yunet'.")
    transform = to_frame(face.landmarks)
    left = list(OUTLINE)
    right = [(-x, y) for x, y in reversed(OUTLINE[1:-1])]
    outline = placed(left + right, transform)
    span = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    cloth = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(cloth, [outline], 255, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(cloth, (0, 0), max(span / 60, 0.5))[..., None] / 255.0

    light = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), max(span / 8, 1))
    inside = light[cloth > 0]
    relative = light / max(float(inside.mean()) if inside.size else 1.0, 1.0)
    shade = np.clip(0.6 + 0.4 * relative, 0.4, 1.25)[..., None]
    painted = np.broadcast_to(np.array(colour, np.uint8), image.shape).copy()
    for y in PLEATS:
        ends = placed([(-0.8, y), (0.0, y + 0.08), (0.8, y)], transform)
        darker = tuple(0.82 * c for c in colour)
        width = max(1, round(span / 40))
        cv2.polylines(painted, [ends], isClosed=False, color=darker, thickness=width)

    straps = image.copy()
    for side in (1, -1):
        strap = placed([(side * OUTLINE[2][0], OUTLINE[2][1]), (side * EAR[0], EAR[1])], transform)
        cv2.line(straps, strap[0].tolist(), strap[1].tolist(), colour, max(1, round(span / 30)))
    masked = straps * (1 - alpha) + painted * shade * alpha
    return np.asarray(np.clip(masked, 0, 255), np.uint8)


def make_data_set(pictures: Path, output: Path, seed: int) -> int:
    """Write each picture with faces twice, as it is and with masks in random colours.

    The results are PNG files in output/without_mask and output/with_mask under the same name.
    Returns how many pictures were written; those without a face or unreadable are named.
    """
    files = sorted(f for f in pictures.rglob("*") if f.suffix.lower() in SUFFIXES)
    detector, random = YuNet(), np.random.default_rng(seed)
    for cls in ("with_mask", "without_mask"):
        (output / cls).mkdir(parents=True, exist_ok=True)
    written = 0
    for file in track(files, "Drawing masks"):
        try:
            image = decode(file.read_bytes())
        except (ImageError, OSError) as error:
            print(f"Left out {file}: {error}")
            continue
        faces = detector.detect(image, TRAIN_DETECTION_CONFIDENCE)
        if not faces:
            print(f"Left out {file}: no face found")
            continue
        masked = image
        for face in faces:
            masked = draw_mask(masked, face, list(COLOURS.values())[random.integers(len(COLOURS))])
        name = "_".join(file.relative_to(pictures).with_suffix(".png").parts)
        for cls, result in (("without_mask", image), ("with_mask", masked)):
            cv2.imwrite(str(output / cls / name), cv2.cvtColor(result, cv2.COLOR_RGB2BGR))
        written += 1
    return written


def main() -> None:
    """Parse the command line and make a data set."""
    parser = argparse.ArgumentParser(
        prog="python -m model.training.overlay",
        description="Make a balanced data set with_mask/ without_mask/ from unmasked faces.",
        epilog="Example: python -m model.training.overlay --input faces --output runs/synthetic",
    )
    parser.add_argument("--input", type=Path, required=True, help="folder of unmasked faces")
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if not args.input.is_dir():
        sys.exit(f"{args.input} is not a folder.")
    written = make_data_set(args.input, args.output, args.seed)
    if not written:
        sys.exit(f"No picture with a face in {args.input}.")
    print(f"{written} pictures each in {args.output}/with_mask and {args.output}/without_mask")


if __name__ == "__main__":
    main()
