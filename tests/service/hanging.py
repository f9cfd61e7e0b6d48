"""The real service, but frames of one height hang. No real picture is known to do so."""

from flask import Flask
from gevent.monkey import get_original

from model.images import Picture
from model.pipeline import Analysis, MaskPipeline
from service import app

HEIGHT = 333


def from_environ() -> Flask:
    analyse = MaskPipeline.analyse

    def hanging(self: MaskPipeline, picture: Picture, **options: object) -> Analysis:
        analysis = analyse(self, picture, **options)
        if analysis.size[1] == HEIGHT:
            get_original("time", "sleep")(3600)
        return analysis

    MaskPipeline.analyse = hanging
    return app.from_environ()
