"""OpenTelemetry traces. Imported only if the environment configures them, and after the fork.

A trace holds the time of each stage, the status and the number of faces. It never holds a picture,
box, query, header or address.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from flask import Flask, Response, g, request
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from model.pipeline import Analysis, Stage

TRACED = {"service.predict", "stream.stream"}
END_S = 2.0  # to send the last spans; a collector that is down does not delay a stop


class Traces:
    """The spans of one application: a bounded number, sent by a thread of their own."""

    def __init__(self, version: str) -> None:
        """Start; OpenTelemetry's own variables set the collector and the limits."""
        resource = Resource({"service.name": "facemask", "service.version": version})
        self._provider = TracerProvider(
            resource=resource.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("facemask", version)

    def trace_requests(self, app: Flask) -> None:
        """Make a span for every request to /predict and /stream."""

        @app.before_request
        def begin() -> None:
            if request.endpoint in TRACED and request.url_rule is not None:
                g.span = self._tracer.start_span(
                    f"{request.method} {request.url_rule.rule}",
                    TraceContextTextMapPropagator().extract(
                        {"traceparent": request.headers.get("traceparent", "")}
                    ),
                    SpanKind.SERVER,
                    {
                        "http.request.method": request.method,
                        "http.route": request.url_rule.rule,
                    },
                )

        @app.after_request
        def end(response: Response) -> Response:
            if "span" in g:
                if "faces" in g:
                    g.span.set_attribute("facemask.faces", g.faces)
                g.span.set_attribute("facemask.request_id", g.request_id)
                g.span.set_attribute("http.response.status_code", response.status_code)
                if response.status_code >= 500:
                    g.span.set_status(StatusCode.ERROR)
                g.span.end()
            return response

    def frame(self, analysis: Analysis) -> None:
        """Make a trace for an answered frame of a stream, linked to the stream's span."""
        span = self._tracer.start_span(
            "frame",
            kind=SpanKind.SERVER,
            links=[Link(g.span.get_span_context())],
            attributes={
                "facemask.request_id": g.request_id,
                "facemask.faces": len(analysis.verdicts),
            },
            start_time=analysis.stages[0].began_ns,
        )
        self.stages(span, analysis.stages)
        span.end()

    def stages(self, span: Span, stages: Sequence[Stage]) -> None:
        """Make a child span for each stage."""
        parent = set_span_in_context(span)
        for stage in stages:
            part = self._tracer.start_span(stage.name, parent, start_time=stage.began_ns)
            part.end(stage.began_ns + round(stage.ms * 1e6))

    def end(self) -> None:
        """Send the remaining spans, for END_S at most."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(END_S)
