"""The real service with a fault whose message contains a whole frame; for test_privacy."""

import base64
from typing import NoReturn

from flask import Flask

from model.images import Box, Image
from model.pipeline import MaskPipeline
from service import app


def fail(image: Image, box: Box) -> NoReturn:
    pixels = image[box.y : box.y + box.height, box.x : box.x + box.width].tobytes()
    try:
        raise KeyError(pixels, base64.b64encode(pixels))  # noqa: TRY301
    except KeyError as error:
        error.add_note(f"{box}")
        raise ValueError(f"{box} {pixels!r} {pixels.hex()}") from error


def from_environ() -> Flask:
    judge = MaskPipeline.judge

    def faulty(self: MaskPipeline, image: Image, faces: list) -> list:
        if image.shape[0] == 480:  # the frame of the warm-up
            return judge(self, image, faces)
        fail(image, faces[0].box)

    MaskPipeline.judge = faulty
    return app.from_environ()
