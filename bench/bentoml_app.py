"""The same pipeline under BentoML, for comparison; requires `pip install bentoml`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bentoml
import cv2
from fastapi import FastAPI, Request, Response

from model.images import open_picture
from model.pipeline import MaskPipeline
from service.schemas import Prediction

app = FastAPI()


@bentoml.service(workers=len(os.sched_getaffinity(0)))
@bentoml.asgi_app(app, path="/")
class Masks:
    """Analyses the body and answers like /predict."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        self.pipeline = MaskPipeline.load()
        self.pipeline.warm()

    @app.post("/predict")  # type: ignore[untyped-decorator]
    async def predict(self, request: Request) -> Response:
        """Analyse a picture."""
        analysis = self.pipeline.analyse(open_picture(await request.body()))
        body = Prediction.of("0", self.pipeline.model, analysis).model_dump_json()
        return Response(body, media_type="application/json")


if __name__ == "__main__":
    os.execv(  # noqa: S606 (BentoML's command)
        str(Path(sys.executable).parent / "bentoml"),
        ["bentoml", "serve", "bench.bentoml_app:Masks", "--port", os.environ["PORT"]],
    )
