"""The same pipeline under LitServe, for comparison; requires `pip install litserve`."""

from __future__ import annotations

import os
from base64 import b64decode
from typing import Any

import cv2
import litserve
from fastapi import Response

from model.images import open_picture
from model.pipeline import Analysis, MaskPipeline
from service.schemas import Prediction


class Masks(litserve.LitAPI):  # type: ignore[misc]
    """Analyses the body and answers like /predict."""

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's interface)
        """Load the pipeline."""
        cv2.setNumThreads(1)
        self.pipeline = MaskPipeline.load()
        self.pipeline.warm()

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Return the picture's bytes."""
        return b64decode(request["image"])

    def predict(self, x: bytes) -> Analysis:
        """Analyse a picture."""
        return self.pipeline.analyse(open_picture(x))

    def encode_response(self, output: Analysis) -> Any:
        """Return the answer."""
        body = Prediction.of("0", self.pipeline.model, output).model_dump_json()
        return Response(body, media_type="application/json")


if __name__ == "__main__":
    server = litserve.LitServer(
        Masks(api_path="/predict"),
        accelerator="cpu",
        workers_per_device=len(os.sched_getaffinity(0)),
        healthcheck_path="/readyz",
    )
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
