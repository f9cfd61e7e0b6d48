"""The Flask application around the mask pipeline."""

from __future__ import annotations

import gc
import os
import uuid
from typing import TYPE_CHECKING

import gunicorn.util
from flask import Flask, Response, g, request
from flask_cors import CORS
from gunicorn.errors import AppImportError
from werkzeug.middleware.proxy_fix import ProxyFix

from model.classifier import ModelError
from model.pipeline import MaskPipeline
from service import errors, logs, memory
from service.buffers import Buffers
from service.config import Config, ConfigError
from service.hosts import check_host, check_origin
from service.inference import InferencePool
from service.keys import Keys
from service.limits import RateLimit, Streams, network_of
from service.metrics import Metrics, count_requests, create_metrics
from service.openapi import VERSION, create_openapi
from service.server.body import close_if_unread
from service.services import Services
from service.stream import create_stream
from service.views import create_views

if TYPE_CHECKING:
    from service.tracing import Traces

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Endpoints that require no API key.
OPEN = {
    "static",
    "service.page",
    "service.healthz",
    "service.readyz",
    "openapi.openapi",
    "openapi.docs",
}

HOW_TO_MEND = "Restore model/weights as shipped, or rebuild the image."


def create_app(config: Config, pool: InferencePool) -> Flask:
    """Make the application from a configuration and a pool with the loaded pipeline."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = config.MAX_BODY_BYTES
    app.url_map.merge_slashes = False  # its redirect would go to any host the client names

    keys = Keys(config.API_KEYS, config.API_KEYS_FILE)
    services = Services(
        config,
        pool,
        Buffers(memory.buffers(config)),
        Metrics(pool, keys),
        keys,
        RateLimit(config.RATE_LIMIT),
        Streams(config.MAX_STREAMS, config.MAX_STREAMS_PER_CLIENT),
        create_traces(config),
    )
    services.attach(app)
    # Hooks registered first run first before a request and last after it. So refused requests are
    # logged and counted too, and the log line is written at the very end.
    logs.log_requests(app)
    count_requests(app, services.metrics)
    if services.traces:
        services.traces.trace_requests(app)

    # Each trusted proxy appends its client's address; entries further left may be forged.
    proxies = ProxyFix(app.wsgi_app, x_for=config.TRUSTED_PROXIES, x_proto=0)
    app.wsgi_app = proxies  # type: ignore[method-assign]
    if config.CORS_ORIGINS:
        CORS(
            app,
            resources=["/predict", "/model"],
            origins=list(config.CORS_ORIGINS),
            methods=["GET", "POST", "PUT"],
            allow_headers=["Accept", "Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After", "X-Request-ID"],
            max_age=600,
            always_send=False,
        )

    @app.before_request
    def identify() -> None:
        g.request_id = uuid.uuid4().hex

    @app.before_request
    def guard() -> None:
        check_host(request, config.hosts)
        check_origin(request, config.CORS_ORIGINS)

    @app.before_request
    def admit() -> None:
        g.key = None
        # A browser's CORS preflight (OPTIONS) carries no key.
        if request.endpoint not in {None, *OPEN} and request.method != "OPTIONS":
            g.key = services.keys.client(request)
        g.client = g.key or network_of(request.remote_addr)

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers["X-Request-ID"] = g.request_id
        close_if_unread(request.environ)
        return response

    errors.register(app)
    app.register_blueprint(create_metrics(config, services.metrics))
    app.register_blueprint(create_openapi(services))
    app.register_blueprint(create_views(services))
    app.register_blueprint(create_stream(services))
    return app


def create_traces(config: Config) -> Traces | None:
    """Start to send traces if a collector is configured."""
    if not config.OTEL_EXPORTER_OTLP_ENDPOINT:
        return None
    from service.tracing import Traces  # noqa: PLC0415 (it costs memory, so only if needed)

    return Traces(VERSION)


def load(config: Config) -> InferencePool:
    """Load the configured model and detectors; raises ConfigError and ModelError."""
    pool = InferencePool(
        lambda: MaskPipeline.load(config.MODEL, config.offered),
        config.INFERENCE_SLOTS,
        config.QUEUE_SIZE,
        config.MAX_PIXELS,
    )
    for name in (config.DETECTOR, *config.DETECTORS):
        if reason := pool.missing.get(name):
            raise ConfigError(f"Detector {name!r} (DETECTOR, DETECTORS) cannot be used: {reason}")
    return pool


def from_environ() -> Flask:
    """Make the application from the environment; gunicorn calls this in each worker.

    Raises AppImportError: gunicorn then shows the message and stops.
    """
    gunicorn.util.write_error = errors.refuse
    logs.log_failures()
    try:
        config = Config.from_environ(os.environ)
        app = create_app(config, load(config))
    except ConfigError as error:
        raise AppImportError(str(error)) from error
    except ModelError as error:
        raise AppImportError(f"{error} {HOW_TO_MEND}") from error
    # What exists now lives as long as the process, so the garbage collector can skip it.
    gc.collect()
    gc.freeze()
    return app
