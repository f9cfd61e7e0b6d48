"""Draw verdicts onto a copy of a frame."""

from __future__ import annotations

from collections.abc import Iterable

import cv2

from client.answers import Face
from client.frames import Image

Colour = tuple[int, int, int]

# BGR; the same colours as in the service's pictures. The caption always names the label too.
COLOURS: dict[str, Colour] = {
    "mask": (115, 158, 0),
    "no_mask": (0, 60, 213),
    "uncertain": (0, 159, 230),
}
OTHER: Colour = (128, 128, 128)
TEXTS = {"mask": "Mask", "no_mask": "No mask", "uncertain": "Uncertain"}
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
AROUND = 0.2  # share of a box's side: covers hair, chin and movement since the answer
BLOCKS = 6
FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotated(pixels: Image, faces: Iterable[Face], status: str) -> Image:
    """Return a copy of a BGR frame with boxes, captions and, in the bottom corner, the status."""
    canvas = pixels.copy()
    height, width = canvas.shape[:2]
    write(canvas, status, 0, height, BLACK)
    line = max(2, round(width / 400))
    for face in sorted(faces, key=lambda face: face.detection_confidence):  # most confident on top
        box, colour = face.box, COLOURS.get(face.label, OTHER)
        corner = (box.x + box.width - 1, box.y + box.height - 1)
        if face.tentative:
            cv2.rectangle(canvas, (box.x, box.y), corner, WHITE, 1)
            continue
        cv2.rectangle(canvas, (box.x, box.y), corner, colour, line)
        write(canvas, caption(face), box.x, box.y, colour)
    return canvas


def blurred(pixels: Image, faces: Iterable[Face] | None) -> Image:
    """Return a copy of a BGR frame with its faces blurred; if faces is None, all of it.

    A face and its surroundings are reduced to BLOCKS squares along the shorter side.
    """
    canvas = pixels.copy()
    height, width = canvas.shape[:2]
    boxes = [(0, 0, width, height)]
    if faces is not None:
        boxes = []
        for face in faces:
            box = face.box
            wide, high = round(box.width * AROUND), round(box.height * AROUND)
            left, top = max(box.x - wide, 0), max(box.y - high, 0)
            right, bottom = box.x + box.width + wide, box.y + box.height + high
            boxes.append((left, top, min(right, width), min(bottom, height)))
    for left, top, right, bottom in boxes:
        if right > left and bottom > top:
            part = canvas[top:bottom, left:right]
            squares = min(part.shape[:2]) / BLOCKS
            size = [max(round(side / squares), 1) for side in (right - left, bottom - top)]
            small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            whole = (right - left, bottom - top)
            canvas[top:bottom, left:right] = cv2.resize(
                small, whole, interpolation=cv2.INTER_NEAREST
            )
    return canvas


def percent(share: float) -> str:
    """Return a share of 0..1 in whole percent, rounded down: 99.6 % is not certainty."""
    return f"{int(share * 100)}%"


def caption(face: Face) -> str:
    """Return the label with its probability; for uncertain, that of a mask."""
    if face.worn_wrong and face.incorrectly_worn is not None:
        return f"Mask worn wrong {percent(face.incorrectly_worn)}"
    text = TEXTS.get(face.label, face.label)
    if face.label in face.probabilities:
        return f"{text} {percent(face.probabilities[face.label])}"
    if "mask" in face.probabilities:
        return f"{text}, mask {percent(face.probabilities['mask'])}"
    return text


def write(canvas: Image, text: str, left: int, bottom: int, colour: Colour) -> None:
    """Write a line of text on a filled background that ends at `bottom`, kept inside the canvas."""
    if not text:
        return
    height, width = canvas.shape[:2]
    scale = max(0.4, width / 1100)
    thickness = max(1, round(scale * 1.6))
    pad = max(2, round(scale * 6))
    (text_width, text_height), baseline = cv2.getTextSize(text, FONT, scale, thickness)
    if text_width + 2 * pad > width:  # shrink text that is too long for a narrow picture
        scale *= max(width - 2 * pad, 1) / text_width
        (text_width, text_height), baseline = cv2.getTextSize(text, FONT, scale, thickness)
    ground_height = text_height + baseline + 2 * pad
    x = max(0, min(left, width - text_width - 2 * pad))
    y = min(max(bottom, ground_height), height)
    corner = (x + text_width + 2 * pad - 1, y - 1)
    cv2.rectangle(canvas, (x, y - ground_height), corner, colour, cv2.FILLED)
    blue, green, red = colour
    ink = BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else WHITE
    origin = (x + pad, y - pad - baseline)
    cv2.putText(canvas, text, origin, FONT, scale, ink, thickness, cv2.LINE_AA)
