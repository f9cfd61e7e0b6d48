"""The OpenAPI 3.1 document, generated from the validating schemas, and the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.config import Config
from service.schemas import (
    FrameProblem,
    ModelBody,
    Prediction,
    PredictQuery,
    Problem,
    Readiness,
    Status,
    StreamAnswer,
    StreamQuery,
)
from service.services import Services

Json = dict[str, Any]

VERSION = "0.1.0"  # of the interface; a test compares it with pyproject.toml

MODELS: list[tuple[type[BaseModel], JsonSchemaMode]] = [
    (Prediction, "serialization"),
    (StreamAnswer, "serialization"),
    (ModelBody, "serialization"),
    (Status, "serialization"),
    (Readiness, "serialization"),
    (Problem, "serialization"),
    (FrameProblem, "serialization"),
]
PICTURE: Json = {"type": "string", "format": "binary"}
PICTURE_AS_TEXT: Json = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "The picture as base64 or as a data URI; line breaks are skipped.",
}
# Any other label does as well: a picture is known by its bytes.
PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/avif", "application/octet-stream")
RETRY_AFTER: Json = {
    "Retry-After": {
        "description": "Seconds to wait before another try.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
AUTHENTICATE: Json = {
    "WWW-Authenticate": {
        "description": "How to send a key other than in X-API-Key.",
        "required": True,
        "schema": {"type": "string"},
    }
}
HEADERS = {401: AUTHENTICATE, 429: RETRY_AFTER, 503: RETRY_AFTER}
REQUEST_ID: Json = {
    "X-Request-ID": {
        "description": "Identifies the request in the log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    }
}
REASONS = {
    400: "A parameter or the body's form is invalid.",
    401: "The API key is missing or invalid.",
    403: "The request comes from another site's page whose origin is not in CORS_ORIGINS.",
    404: "The file does not exist.",
    408: "The request arrived too slowly.",
    411: "The request has neither a Content-Length nor a chunked body.",
    413: "The body has too many bytes, or the picture too many pixels.",
    414: "The address with its query is too long.",
    415: "The body is compressed (Content-Encoding).",
    416: "The requested range is outside the file.",
    421: "The Host header is a name that is not in ALLOWED_HOSTS.",
    422: "The bytes are not a complete JPEG, PNG, WebP or AVIF picture, or the query and the body "
    "contradict each other.",
    426: "The request does not open a WebSocket.",
    429: "The client sent too many frames a second or too many wrong keys a minute.",
    431: "The headers are too large.",
    500: "The service failed; its log has the reason under the request's ID.",
    503: "Too many frames are waiting, too many streams are open, or the service is stopping.",
}

EVERYWHERE = (408, 414, 421, 431, 500)
GUARDED = ("/predict", "/stream", "/model", "/metrics")  # require a key if any are configured
KEYS: Json = {
    "Header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


def reference(model: type[BaseModel]) -> Json:
    """Return a reference to a model's schema."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def answer(description: str, content: dict[str, Json], headers: Json | None = None) -> Json:
    """Describe a response. content: the schema of each media type."""
    return {
        "description": description,
        "headers": REQUEST_ID | (headers or {}),
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
    }


def problems(*statuses: int) -> Json:
    """Describe error responses: those given and those in EVERYWHERE, which any path can send."""
    described = {}
    for status in sorted({*statuses, *EVERYWHERE}):
        headers = HEADERS.get(status)
        content = {"application/problem+json": reference(Problem)}
        described[str(int(status))] = answer(REASONS[status], content, headers)
    return described


def parameters(query: type[BaseModel], detectors: Sequence[str]) -> list[Json]:
    """Describe a query; all of its parameters are optional. detectors: those installed."""
    described = []
    for name, field in query.model_json_schema()["properties"].items():
        # None means that the parameter is omitted; a query cannot express it as a value.
        (only,) = (kind for kind in field.get("anyOf", [field]) if kind != {"type": "null"})
        text = field["description"]
        if name == "detector":
            only["enum"] = list(detectors)
        keep = {"type", "enum", "minimum", "maximum", "default"}
        schema = {key: value for key, value in only.items() if key in keep}
        described.append(
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
        )
    return described


def get(summary: str, responses: Json, **more: object) -> Json:
    """Describe a path with a GET operation."""
    return {"get": {"summary": summary, **more, "responses": responses | problems()}}


def form(detectors: Sequence[str], image: Json) -> Json:
    """Describe a form or JSON object that holds a picture and parameters."""
    fields = {each["name"]: each["schema"] for each in parameters(PredictQuery, detectors)}
    return {
        "type": "object",
        "properties": {"image": image, **fields},
        "required": ["image"],
        "additionalProperties": False,
    }


def predict(detectors: Sequence[str]) -> Json:
    """Describe POST /predict, and PUT, which does the same."""
    bodies = {
        **dict.fromkeys(PICTURE_TYPES, PICTURE),
        "multipart/form-data": form(detectors, PICTURE),
        "application/x-www-form-urlencoded": form(detectors, PICTURE_AS_TEXT),
        "application/json": form(detectors, PICTURE_AS_TEXT),
    }
    found = {"application/json": reference(Prediction), "image/jpeg": PICTURE}
    operation = {
        "summary": "Find and classify the faces in a picture",
        "description": "The answer is JSON. It is the picture with boxes drawn on it if annotate "
        "is true or the Accept header prefers image/jpeg. Parameters may be in the query or beside "
        "the picture in a form or JSON. Unknown and contradictory ones are refused.",
        "parameters": parameters(PredictQuery, detectors),
        "requestBody": {
            "required": True,
            "description": "A JPEG, PNG, WebP or AVIF picture, known by its bytes.",
            "content": {kind: {"schema": schema} for kind, schema in bodies.items()},
        },
        "responses": {"200": answer("The faces found.", found)}
        | problems(400, 403, 411, 413, 415, 422, 503),
    }
    again = operation | {"summary": "The same, for programs that upload with PUT"}
    return {"post": operation, "put": again}


def stream(detectors: Sequence[str]) -> Json:
    """Describe WS /stream; OpenAPI cannot describe its messages, so x-messages names them."""
    return get(
        "Find and classify the faces in a camera's frames over a WebSocket",
        {"101": {"description": "The WebSocket is open."}} | problems(400, 403, 426, 503),
        description="Send each frame as a binary message: a JPEG, PNG, WebP or AVIF picture. The "
        "answer is a text message: StreamAnswer, or FrameProblem if the frame cannot be used. A "
        "waiting frame is dropped and counted when a newer one arrives. Close codes: 1001 the "
        "service is stopping, 1008 no frame for a while, 1009 a message was too large.",
        parameters=parameters(StreamQuery, detectors),
        **{"x-messages": {"oneOf": [reference(StreamAnswer), reference(FrameProblem)]}},
    )


def static() -> Json:
    """Describe the page's files."""
    name = {"name": "filename", "in": "path", "required": True, "schema": {"type": "string"}}
    file = answer("The file, or a range of it.", {"*/*": PICTURE})
    unchanged = {"description": "The client's copy is up to date.", "headers": REQUEST_ID}
    responses = {"200": file, "206": file, "304": unchanged} | problems(404, 416)
    return get("A file of the pages", responses, parameters=[name])


def paths(config: Config, detectors: Sequence[str]) -> Json:
    """Describe every path."""
    page = {"text/html": {"type": "string"}}
    document = {"application/json": {"type": "object"}}
    metrics = {"text/plain": {"type": "string"}, "application/openmetrics-text": {"type": "string"}}
    status = {"application/json": reference(Status)}
    readiness = {"application/json": reference(Readiness)}
    model = {"application/json": reference(ModelBody)}
    described = {
        "/predict": predict(detectors),
        "/stream": stream(detectors),
        "/model": get("The loaded model", {"200": answer("The model card.", model)}),
        "/healthz": get("Liveness check", {"200": answer("The process is alive.", status)}),
        "/readyz": get(
            "Readiness check",
            {"200": answer("The model is loaded and warmed.", readiness)} | problems(503),
        ),
        "/metrics": get("Metrics for Prometheus", {"200": answer("All metrics.", metrics)}),
        "/openapi.json": get("This document", {"200": answer("OpenAPI 3.1.", document)}),
        "/docs": get("This document as a web page", {"200": answer("The page.", page)}),
        "/": get("The page with the live camera", {"200": answer("The page.", page)}),
        "/static/{filename}": static(),
    }
    if config.METRICS_PORT:
        del described["/metrics"]  # it is on another port
    if config.needs_keys:
        for path in described.keys() & set(GUARDED):
            for operation in described[path].values():
                operation["security"] = [{name: []} for name in KEYS]
                operation["responses"] |= problems(401, 429)
    if config.RATE_LIMIT:
        for operation in described["/predict"].values():
            operation["responses"] |= problems(429)
    return described


def document(config: Config, detectors: Sequence[str]) -> Json:
    """Return the OpenAPI document for a configuration and the installed detectors."""
    _, schemas = models_json_schema(MODELS, ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Mask check",
            "version": VERSION,
            "description": "Finds faces in pictures and estimates whether each one wears a mask. "
            "Every error is application/problem+json (RFC 9457).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths(config, detectors),
        "components": {"schemas": schemas["$defs"]}
        | ({"securitySchemes": KEYS} if config.needs_keys else {}),
    }


def create_openapi(services: Services) -> Blueprint:
    """Make the blueprint of /openapi.json and /docs."""
    blueprint = Blueprint("openapi", __name__)
    body = json.dumps(document(services.config, services.pool.detectors))

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(body, mimetype="application/json")

    @blueprint.get("/docs")
    def docs() -> Response:
        return current_app.send_static_file("docs.html")

    return blueprint
