"""The addresses of the service."""

from __future__ import annotations

import time
from dataclasses import asdict

from flask import Blueprint, Response, current_app, g, request
from pydantic import BaseModel
from werkzeug.exceptions import (
    BadRequest,
    LengthRequired,
    ServiceUnavailable,
    UnsupportedMediaType,
)

from service.annotate import annotated_jpeg
from service.config import Config
from service.inference import InferencePool
from service.keys import Keys
from service.limits import RateLimit
from service.schemas import JsonImage, ModelBody, Prediction, PredictQuery, Readiness, Status

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
RESTART_S = 5  # after a stop, until it is worth to ask whether another has taken its place
UNREADABLE = (
    "The file named by API_KEYS_FILE cannot be read; the keys read last still count. "
    "The log has the reason."
)
HOW_TO_SEND = (
    "Send the picture's bytes with 'Content-Type: image/jpeg' (or image/png, image/webp), "
    'multipart/form-data with the file in the field \'image\', or JSON {"image": "<base64>"}.'
)


def create_views(config: Config, pool: InferencePool, keys: Keys, limit: RateLimit) -> Blueprint:
    """Make the blueprint of a configured service."""
    views = Blueprint("service", __name__)

    @views.get("/")
    def page() -> Response:
        return current_app.send_static_file("index.html")

    @views.get("/healthz")
    def healthz() -> Response:
        return json_of(Status(status="alive"))

    @views.get("/readyz")
    def readyz() -> Response:
        # The pool is made, loaded and warmed, before there is an app that could answer.
        if current_app.extensions["streams"].stopping.is_set():
            raise ServiceUnavailable("The service stops.", retry_after=RESTART_S)
        return json_of(Readiness(status="ready", warnings=[UNREADABLE] * keys.unreadable))

    @views.get("/model")
    def model() -> Response:
        card = pool.card
        return json_of(
            ModelBody(**asdict(card), version=card.version, detectors=list(pool.detectors))
        )

    @views.post("/predict")
    def predict() -> Response:
        limit.take(g.client)
        begin = time.perf_counter()
        query = PredictQuery.model_validate(request.args.to_dict())
        data = posted_image()
        confidence = query.min_confidence
        types = ["application/json", "image/jpeg"]
        annotate = query.annotate or request.accept_mimetypes.best_match(types) == types[1]
        with pool.room.share() as admit:
            with pool.pipeline() as pipeline:
                analysis = pipeline.analyse(
                    data,
                    detector=query.detector or config.DETECTOR,
                    min_confidence=config.MIN_CONFIDENCE if confidence is None else confidence,
                    max_pixels=config.MAX_PIXELS,
                    max_faces=config.MAX_FACES,
                    whole=annotate,
                    admit=admit,
                )
            if annotate:
                response = Response(annotated_jpeg(analysis), mimetype="image/jpeg")
            else:
                card = pool.card
                response = json_of(Prediction.of(g.request_id, card.name, card.version, analysis))
        g.faces = len(analysis.judgements)
        current_app.extensions["metrics"].answered(analysis, time.perf_counter() - begin)
        if traces := current_app.extensions.get("traces"):
            traces.stages(g.span, analysis.stages)
        return response

    return views


def json_of(body: BaseModel) -> Response:
    """Return a body as JSON."""
    return Response(body.model_dump_json(), mimetype="application/json")


def whole_body() -> bytes:
    """Return the body; raises RequestEntityTooLarge where Werkzeug would cut it silently."""
    body = request.get_data(cache=False)
    if request.content_length is None:
        request.stream.read(1)  # of a chunked body that reached the limit, this raises
    return body


def posted_image() -> bytes:
    """Return the bytes of the picture that the request carries, in whichever of the three ways."""
    if request.content_length is None and "Transfer-Encoding" not in request.headers:
        raise LengthRequired("Say how long the body is (Content-Length) or send it in chunks.")
    if request.mimetype in IMAGE_TYPES:
        return whole_body()
    if request.mimetype == "application/json":
        return JsonImage.model_validate_json(whole_body()).image
    if request.mimetype == "multipart/form-data":
        file = request.files.get("image")
        if file is None:
            raise BadRequest(f"The form has no file in the field 'image'. {HOW_TO_SEND}")
        return bytes(file.read())
    raise UnsupportedMediaType(
        f"Content-Type '{request.mimetype}' is not a picture's. {HOW_TO_SEND}"
    )
