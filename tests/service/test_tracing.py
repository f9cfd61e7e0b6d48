"""Traces of the real service reach a collector that parses OTLP's protobuf."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from service.config import Config, ConfigError
from tests.conftest import ROOT, TIMEOUT_S, open_stream, serving

JPEG = {"Content-Type": "image/jpeg"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["decode", "detect", "classify"]


class Collector(ThreadingHTTPServer):
    """A collector that keeps the traces it receives."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.raw: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.raw.append(body)
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    with Collector() as collector:
        threading.Thread(target=collector.serve_forever).start()
        try:
            yield collector, f"http://127.0.0.1:{collector.server_port}"
        finally:
            collector.shutdown()


def attributes(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_is_a_span_with_its_stages_in_the_callers_trace(portrait_jpeg: bytes) -> None:
    with collecting() as (collector, address):  # noqa: SIM117 (it outlives the service)
        with serving(OTEL_EXPORTER_OTLP_ENDPOINT=address) as url:
            headers = JPEG | {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "secret=1"}
            query = "?min_confidence=0.6314159"
            answer = requests.post(
                f"{url}/predict{query}", portrait_jpeg, headers=headers, timeout=TIMEOUT_S
            )
            refused = requests.post(
                f"{url}/predict", b"no picture", headers=JPEG, timeout=TIMEOUT_S
            )
            requests.get(f"{url}/healthz", timeout=TIMEOUT_S)
        # The service sent the last spans when it stopped.
    assert answer.json()["summary"]["no_mask"] == 1
    resource = collector.requests[0].resource_spans[0].resource
    told = {each.key: each.value.string_value for each in resource.attributes}
    assert told["service.name"] == "facemask"
    request, bad = (span for span in collector.spans if span.name == "POST /predict")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert request.kind == Span.SPAN_KIND_SERVER
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "facemask.request_id": answer.json()["request_id"],
        "facemask.faces": 1,
    }
    parts = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert [part.name for part in parts] == STAGES
    for part in parts:
        assert part.trace_id == request.trace_id
        assert not part.attributes
        assert request.start_time_unix_nano <= part.start_time_unix_nano
        assert part.end_time_unix_nano <= request.end_time_unix_nano
    assert parts[0].end_time_unix_nano <= parts[1].start_time_unix_nano + 1_000_000
    assert bad.trace_id != request.trace_id
    assert not bad.parent_span_id
    assert attributes(bad)["http.response.status_code"] == 422
    assert attributes(bad)["facemask.request_id"] == refused.json()["request_id"]
    assert bad.status.code == Status.STATUS_CODE_UNSET
    assert not any("healthz" in span.name for span in collector.spans)
    sent = b"".join(collector.raw)
    for secret in (b"314159", b"secret", b"127.0.0.1", portrait_jpeg[1000:1020]):
        assert secret not in sent


def test_each_frame_of_a_stream_is_a_trace_linked_to_the_streams(portrait_jpeg: bytes) -> None:
    with collecting() as (collector, address):  # noqa: SIM117
        with (
            serving(OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_SERVICE_NAME="door") as url,
            open_stream(url) as stream,
        ):
            for _ in range(3):
                stream.send(portrait_jpeg)
                stream.recv(TIMEOUT_S)
    resource = collector.requests[0].resource_spans[0].resource
    assert {each.value.string_value for each in resource.attributes if each.key == "service.name"}
    assert "door" in str(resource)
    (whole,) = (span for span in collector.spans if span.name == "GET /stream")
    frames = [span for span in collector.spans if span.name == "frame"]
    assert len(frames) == 3
    for frame in frames:
        assert [link.span_id for link in frame.links] == [whole.span_id]
        assert attributes(frame)["facemask.faces"] == 1
        parts = [span for span in collector.spans if span.parent_span_id == frame.span_id]
        assert [part.name for part in parts] == STAGES
    assert len({span.trace_id for span in (whole, *frames)}) == 4


@pytest.fixture(params=["refuses", "is silent"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of a collector that does not answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "is silent":
            listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_collector_that_is_away_does_no_harm(away: str, portrait_jpeg: bytes) -> None:
    lines: list[str] = []
    with serving(
        lines,
        OTEL_EXPORTER_OTLP_ENDPOINT=away,
        OTEL_BSP_MAX_QUEUE_SIZE="30",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10",
    ) as url:
        for _ in range(30):  # more spans than the queue holds
            answer = requests.post(f"{url}/predict", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S)
            assert answer.status_code == 200
    # serving() has checked that the worker stopped by itself, within gunicorn's time-out.
    assert not any("Traceback" in line for line in lines)


def test_without_the_variable_nothing_of_it_is_imported() -> None:
    code = (
        "import sys; from service.app import from_environ; app = from_environ();"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"


def test_a_bad_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="http://collector:4318") as refused:
        Config.from_environ({"OTEL_EXPORTER_OTLP_ENDPOINT": "user:passw0rd@collector"})
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=...:" in str(refused.value)
    assert "passw0rd" not in str(refused.value)
