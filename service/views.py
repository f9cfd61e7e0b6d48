"""The HTTP endpoints of the service: the page, /predict, /model, /healthz and /readyz."""

from __future__ import annotations

import time
from dataclasses import asdict

from flask import Blueprint, Response, current_app, g, request
from pydantic import BaseModel
from werkzeug.exceptions import ServiceUnavailable, UnprocessableEntity, UnsupportedMediaType

from model.formats import is_binary
from model.pipeline import Analysis, MaskPipeline
from service import forms
from service.annotate import annotated_jpeg
from service.buffers import Loan
from service.schemas import ModelBody, Prediction, PredictQuery, Readiness, Stage, Status
from service.server.body import COPIES, receive
from service.services import Services

RESTART_S = 5  # until another process may have replaced this one
UNREADABLE = (
    "The file named by API_KEYS_FILE cannot be read; the last keys read stay valid. "
    "The log has the reason."
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
        facts = asdict(pool.card) | {"name": pool.model.name, "version": pool.model.version}
        stages = [Stage(name=n, decides_from=share) for n, share in pool.model.stages.items()]
        return json_of(ModelBody(**facts, stages=stages, detectors=list(pool.detectors)))

    @views.route("/predict", methods=["POST", "PUT"])  # curl -T sends PUT
    def predict() -> Response:
        services.limit.take(g.client)
        query = PredictQuery.model_validate(forms.query(request.args, PredictQuery))
        check_encoding(request.headers.get("Content-Encoding", ""))
        pool.check_offers(query.detector or services.config.DETECTOR)
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
    image, query = received(services, query, loan)
    loan.resize(COPIES * len(image))
    detector = query.detector or config.DETECTOR
    pool.check_offers(detector)
    confidence = query.min_confidence
    types = ["application/json", "image/jpeg"]
    annotate = query.annotate or request.accept_mimetypes.best_match(types) == types[1]
    picture = pool.open(image, config.MAX_PIXELS)

    def work(pipeline: MaskPipeline) -> tuple[Analysis, bytes]:
        analysis = pipeline.analyse(
            picture,
            detector=detector,
            min_confidence=config.MIN_CONFIDENCE if confidence is None else confidence,
            selection=query.selection(config.MAX_FACES),
            whole=annotate,
        )
        return analysis, annotated_jpeg(analysis) if annotate else b""

    analysis, drawn = pool.run(work, picture.weight)
    g.faces = len(analysis.verdicts)
    services.metrics.answered(analysis, time.perf_counter() - begin)
    if services.traces:
        services.traces.stages(g.span, analysis.stages)
    if annotate:
        return Response(drawn, mimetype="image/jpeg")
    return json_of(Prediction.of(g.request_id, pool.model, analysis))


def json_of(body: BaseModel) -> Response:
    """Make a JSON response."""
    return Response(body.model_dump_json(), mimetype="application/json")


def received(services: Services, query: PredictQuery, loan: Loan) -> tuple[bytes, PredictQuery]:
    """Receive the body; returns the picture and the parameters of query and body together."""
    body = receive(request.environ, services.config.MAX_BODY_BYTES, loan)
    if is_binary(body):  # no form, so nothing takes time to parse
        return body, query
    kind = request.mimetype
    boundary = request.mimetype_params.get("boundary", "").encode("latin-1", "replace")
    sent = services.pool.apart(lambda: forms.read(body, kind, boundary), len(body))
    return sent.image, merged(query, PredictQuery.model_validate(sent.parameters))


def merged(query: PredictQuery, body: PredictQuery) -> PredictQuery:
    """Return the parameters of both; raises UnprocessableEntity if they contradict each other."""
    for name in sorted(query.model_fields_set & body.model_fields_set):
        if getattr(query, name) != getattr(body, name):
            raise UnprocessableEntity(
                f"'{name}' differs between the query and the body. Send it once."
            )
    return query.model_copy(update={name: getattr(body, name) for name in body.model_fields_set})


def check_encoding(encoding: str) -> None:
    """Refuse a compressed body; raises UnsupportedMediaType.

    Pictures are compressed already: gzip saves 0 to 2 %, and unpacking would need bounds of its own
    for time and memory.
    """
    if encoding.strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"Content-Encoding {encoding[:40]!r} is not accepted: pictures are compressed already. "
            "Send the body as it is, without Content-Encoding."
        )
