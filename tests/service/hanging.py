"""The real service, but a frame of a certain height hangs, as no real one is known to."""

import threading

from flask import Flask

from model.pipeline import Analysis, MaskPipeline
from service import app

HEIGHT = 333


def from_environ() -> Flask:
    analyse = MaskPipeline.analyse

    def hanging(self: MaskPipeline, data: bytes, **options: object) -> Analysis:
        analysis = analyse(self, data, **options)
        if analysis.size[1] == HEIGHT:
            threading.Event().wait()
        return analysis

    MaskPipeline.analyse = hanging
    return app.from_environ()
