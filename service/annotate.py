"""Draw the results of an analysis onto its picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import simplejpeg

from model.images import Image
from model.pipeline import WHOLE_PIXELS, Analysis, Verdict

# RGB; distinct for colour-blind people too. The caption always names the label as well.
COLOURS = {"mask": (0, 158, 115), "no_mask": (213, 60, 0), "uncertain": (230, 159, 0)}
TEXTS = {"mask": "Mask", "no_mask": "No mask", "uncertain": "Uncertain"}
WORN_WRONG = 0.5  # least probability to say so
FONT = cv2.FONT_HERSHEY_SIMPLEX
JPEG_QUALITY = 90


def caption(verdict: Verdict) -> str:
    """Return the label and, unless it is uncertain, its probability in percent."""
    text = TEXTS[verdict.label]
    if verdict.label == "uncertain":
        return text
    worn_wrong = verdict.incorrectly_worn or 0.0
    if verdict.label == "no_mask" and worn_wrong >= WORN_WRONG:
        return f"Mask worn wrong {int(worn_wrong * 100)}%"
    share = verdict.mask if verdict.label == "mask" else 1 - verdict.mask
    return f"{text} {int(share * 100)}%"  # rounded down: 99.6 % is not certainty


def annotate(canvas: Image, verdict: Verdict) -> None:
    """Draw one box and its caption onto a canvas; the caption stays inside the picture."""
    height, width = canvas.shape[:2]
    box, colour = verdict.face.box, COLOURS[verdict.label]
    line = max(2, round(min(height, width) / 240))
    scale = max(0.4, min(height, width) / 900)
    cv2.rectangle(canvas, (box.x, box.y), (box.x + box.width, box.y + box.height), colour, line)
    text = caption(verdict)
    (text_width, text_height), baseline = cv2.getTextSize(text, FONT, scale, max(1, line // 2))
    x = max(0, min(box.x, width - text_width - 2 * line))
    y = max(box.y, text_height + baseline + line)
    cv2.rectangle(
        canvas, (x, y - text_height - baseline - line), (x + text_width + 2 * line, y), colour, -1
    )
    origin = (x + line, y - baseline)
    cv2.putText(canvas, text, origin, FONT, scale, (255, 255, 255), max(1, line // 2), cv2.LINE_AA)


def annotated_jpeg(analysis: Analysis) -> bytes:
    """Return the upright picture with its boxes as a JPEG; draws onto the analysed image itself.

    A picture of over WHOLE_PIXELS is returned at half its width and height.
    """
    image = analysis.image
    if image.shape[0] * image.shape[1] > WHOLE_PIXELS:
        half = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
    size, scale = (image.shape[1], image.shape[0]), image.shape[1] / analysis.size[0]
    for verdict in reversed(analysis.verdicts):  # the surest face comes out on top
        annotate(image, replace(verdict, face=verdict.face.scaled(scale, size)))
    return bytes(simplejpeg.encode_jpeg(image, JPEG_QUALITY, "RGB", "420"))
