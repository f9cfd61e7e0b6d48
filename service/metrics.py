"""Prometheus metrics at /metrics.

One process serves, so its registry is complete; several processes would each show a part.
Every label has a small, fixed set of values.
"""

from __future__ import annotations

from flask import Blueprint, Flask, Response, request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from werkzeug.exceptions import NotFound

from model.pipeline import Analysis
from service.config import Config
from service.inference import InferencePool
from service.keys import Keys

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STAGES = ("decode", "detect", "classify", "whole")
LABELS = ("mask", "no_mask", "uncertain")
REFUSALS = ("queue", "memory", "stop", "streams", "slow")


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self, pool: InferencePool, keys: Keys) -> None:
        # They would add a series for each counter and histogram that the dashboards do not use.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._seconds = Histogram(
            "facemask_stage_seconds",
            "Time an answered frame spent in a stage; whole includes the wait for a slot.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._faces = Counter(
            "facemask_faces", "Faces found in frames, by label.", ["label"], registry=registry
        )
        self._decided = Counter(
            "facemask_faces_decided",
            "Faces found in frames, by the stage of the model that decided.",
            ["stage"],
            registry=registry,
        )
        self.requests = Counter(
            "facemask_requests",
            "Answered requests, by path as in the OpenAPI document, and by status.",
            ["path", "status"],
            registry=registry,
        )
        self.refused = Counter(
            "facemask_refused",
            "Refused requests and frames, by reason: queue full, memory full, stopping, "
            "too many streams, or sent too slowly.",
            ["reason"],
            registry=registry,
        )
        self.open_streams = Gauge("facemask_open_streams", "Open streams.", registry=registry)
        self.stream_frames = Counter(
            "facemask_stream_frames", "Frames received over streams.", registry=registry
        )
        self.stream_dropped = Counter(
            "facemask_stream_frames_dropped",
            "Stream frames that were replaced by a newer one before an answer.",
            registry=registry,
        )
        for name, meaning, value in (
            ("busy_slots", "Slots that are analysing a frame.", lambda: pool.busy),
            ("slots", "Frames that can be analysed at once.", lambda: pool.slots),
            ("queue_length", "Frames that wait for a slot.", lambda: pool.waiting),
            (
                "keys_file_unreadable",
                "1 while API_KEYS_FILE cannot be read and the last keys read stay valid.",
                lambda: keys.unreadable,
            ),
        ):
            Gauge(f"facemask_{name}", meaning, registry=registry).set_function(value)
        model = Gauge(
            "facemask_model_info", "The loaded model.", ["name", "version"], registry=registry
        )
        model.labels(pool.model.name, pool.model.version).set(1)
        # Start every series at 0; otherwise Prometheus would not see the first event as a rise.
        for stage in STAGES:
            self._seconds.labels(stage)
        for label in LABELS:
            self._faces.labels(label)
        for stage in pool.model.stages:
            self._decided.labels(stage)
        for reason in REFUSALS:
            self.refused.labels(reason)

    def answered(self, analysis: Analysis, seconds: float) -> None:
        """Count an answered frame, its faces and its time. seconds: total, the wait included."""
        for stage, spent in analysis.timings_ms.items():
            self._seconds.labels(stage).observe(spent / 1e3)
        self._seconds.labels("whole").observe(seconds)
        for verdict in analysis.verdicts:
            self._faces.labels(verdict.label).inc()
            self._decided.labels(verdict.stage).inc()


def create_metrics(config: Config, metrics: Metrics) -> Blueprint:
    """Make the blueprint of /metrics."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def exposition() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(metrics.registry), content_type=content_type)

    @blueprint.before_app_request
    def keep_apart() -> None:
        # Gunicorn sets this from the socket that accepted the request; a client cannot change it.
        apart = request.environ["SERVER_PORT"] == str(config.METRICS_PORT)
        if config.METRICS_PORT and apart != (request.path == "/metrics"):
            raise NotFound

    return blueprint


def count_requests(app: Flask, metrics: Metrics) -> None:
    """Count every answer of an application."""

    @app.after_request
    def count(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else "none"
        metrics.requests.labels(rule, response.status_code).inc()
        return response
