"""The HTTP endpoints of the service: the page, /predict, /model, /healthz and /readyz."""

from __future__ import annotations

import time
from dataclasses import asdict
from io import BytesIO

from flask import Blueprint, Response, current_app, g, request
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest, ServiceUnavailable, UnsupportedMediaType
from werkzeug.formparser import MultiPartParser

from model.pipeline import Analysis, MaskPipeline
from service.annotate import annotated_jpeg
from service.buffers import Loan
from service.inference import InferencePool
from service.schemas import JsonImage, ModelBody, Prediction, PredictQuery, Readiness, Status
from service.server.body import COPIES, receive
from service.services import Services

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
FORM_PARTS, FIELDS_BYTES = 20, 500_000  # limits on a form, the picture not counted
# The parser stores every value before it checks any, at 50 bytes of overhead each.
JSON_MARKS, MOST_JSON_MARKS = (b",", b":", b"[", b"{"), 50
RESTART_S = 5  # until another process may have replaced this one
UNREADABLE = (
    "The file named by API_KEYS_FILE cannot be read; the last keys read stay valid. "
    "The log has the reason."
)
HOW_TO_SEND = (
    "Send the picture's bytes with 'Content-Type: image/jpeg' (or image/png, image/webp), "
    'multipart/form-data with the file in the field \'image\', or JSON {"image": "<base64>"}.'
)


def create_views(services: Services) -> Blueprint:
    """Make the blueprint of the page, /predict, /model, /healthz and /readyz."""
    pool = services.pool
    views = Blueprint("service", __name__)

    @views.get("/")
    def page() -> Response:
        return current_app.send_static_file("index.html")

    @views.get("/healthz")
    def healthz() -> Response:
        return json_of(Status(status="alive"))

    @views.get("/readyz")
    def readyz() -> Response:
        # The model is loaded and warmed before the app exists, so only a stop needs a check.
        if services.streams.stopping:
            raise ServiceUnavailable("The service is stopping.", retry_after=RESTART_S)
        return json_of(Readiness(status="ready", warnings=[UNREADABLE] * services.keys.unreadable))

    @views.get("/model")
    def model() -> Response:
        card = pool.card
        return json_of(
            ModelBody(**asdict(card), version=card.version, detectors=list(pool.detectors))
        )

    @views.post("/predict")
    def predict() -> Response:
        services.limit.take(g.client)
        query = PredictQuery.model_validate(request.args.to_dict())
        connection = request.environ.get("gunicorn.socket")
        loan = services.buffers.open(connection.evict if connection else None)
        try:
            response = judge(services, query, loan)
            # The picture is no longer needed; the answer is kept until the client has read it.
            loan.resize(response.content_length or 0)
        except BaseException:
            loan.close()
            raise
        loan.await_client()
        response.call_on_close(loan.close)
        return response

    return views


def judge(services: Services, query: PredictQuery, loan: Loan) -> Response:
    """Receive the request's picture, analyse it, and make the answer."""
    config, pool = services.config, services.pool
    begin = time.perf_counter()
    detector = query.detector or config.DETECTOR
    pool.check_offers(detector)
    confidence = query.min_confidence
    types = ["application/json", "image/jpeg"]
    annotate = query.annotate or request.accept_mimetypes.best_match(types) == types[1]
    data = posted_image(receive(request.environ, config.MAX_BODY_BYTES, loan), pool)
    loan.resize(COPIES * len(data))
    picture = pool.open(data, config.MAX_PIXELS)

    def work(pipeline: MaskPipeline) -> tuple[Analysis, bytes]:
        analysis = pipeline.analyse(
            picture,
            detector=detector,
            min_confidence=config.MIN_CONFIDENCE if confidence is None else confidence,
            max_faces=config.MAX_FACES,
            whole=annotate,
        )
        return analysis, annotated_jpeg(analysis) if annotate else b""

    analysis, drawn = pool.run(work, picture.pixels)
    g.faces = len(analysis.verdicts)
    services.metrics.answered(analysis, time.perf_counter() - begin)
    if services.traces:
        services.traces.stages(g.span, analysis.stages)
    if annotate:
        return Response(drawn, mimetype="image/jpeg")
    return json_of(Prediction.of(g.request_id, pool.card.name, pool.card.version, analysis))


def json_of(body: BaseModel) -> Response:
    """Make a JSON response."""
    return Response(body.model_dump_json(), mimetype="application/json")


def posted_image(body: bytes, pool: InferencePool) -> bytes:
    """Return the picture's bytes from a body: raw, multipart form or JSON."""
    if request.mimetype in IMAGE_TYPES:
        return body
    if request.mimetype == "application/json":
        return pool.apart(lambda: json_field(body), len(body))
    if request.mimetype == "multipart/form-data":
        boundary = request.mimetype_params.get("boundary", "").encode("latin-1", "replace")
        image = pool.apart(lambda: image_field(body, boundary), len(body))
        if image is None:
            raise BadRequest(f"The form has no file in the field 'image'. {HOW_TO_SEND}")
        return image
    raise UnsupportedMediaType(f"Content-Type '{request.mimetype}' is not supported. {HOW_TO_SEND}")


def json_field(body: bytes) -> bytes:
    """Return the picture in the field 'image' of a JSON object; raises BadRequest."""
    if sum(map(body.count, JSON_MARKS)) > MOST_JSON_MARKS:
        raise BadRequest("The JSON has more than the field 'image'. Send that field only.")
    return JsonImage.model_validate_json(body).image


def image_field(body: bytes, boundary: bytes) -> bytes | None:
    """Return the file in the field 'image' of a form, None if it has none; raises BadRequest.

    Everything stays in memory; by default Werkzeug would write large files to disk.
    """
    parser = MultiPartParser(
        lambda *_, **__: BytesIO(), max_form_memory_size=FIELDS_BYTES, max_form_parts=FORM_PARTS
    )
    try:
        _, files = parser.parse(BytesIO(body), boundary, len(body))
    except ValueError as error:
        raise BadRequest(
            "The body is not valid multipart/form-data, although its Content-Type says so."
        ) from error
    file = files.get("image")
    return None if file is None else file.read()
