"""The OpenAPI 3.1 document, made of the schemas that validate, and the page that shows it."""

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
    JsonImage,
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
from service.views import IMAGE_TYPES

Json = dict[str, Any]

VERSION = "0.1.0"  # of the interface; a test holds it to pyproject.toml's

MODELS: list[tuple[type[BaseModel], JsonSchemaMode]] = [
    (JsonImage, "validation"),
    (Prediction, "serialization"),
    (StreamAnswer, "serialization"),
    (ModelBody, "serialization"),
    (Status, "serialization"),
    (Readiness, "serialization"),
    (Problem, "serialization"),
    (FrameProblem, "serialization"),
]
PICTURE: Json = {"type": "string", "format": "binary"}
RETRY_AFTER: Json = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
AUTHENTICATE: Json = {
    "WWW-Authenticate": {
        "description": "How to send a key, apart from X-API-Key.",
        "required": True,
        "schema": {"type": "string"},
    }
}
HEADERS = {401: AUTHENTICATE, 429: RETRY_AFTER, 503: RETRY_AFTER}
REQUEST_ID: Json = {
    "X-Request-ID": {
        "description": "Names the request in the log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    }
}
REASONS = {
    400: "A parameter or the body's form is not as described.",
    401: "The API key is missing or is none of those that count.",
    403: "The request comes from a page of another site that is not in CORS_ORIGINS.",
    404: "There is no such file.",
    408: "The request did not come in within the time for it.",
    411: "The body has neither a length nor is it sent in chunks.",
    413: "The body has too many bytes, or the picture too many pixels.",
    414: "The address with its query is too long.",
    415: "The Content-Type is not one of a picture.",
    416: "The file has no such range of bytes.",
    421: "The Host header is a name that is not in ALLOWED_HOSTS.",
    422: "The bytes are not a whole JPEG, PNG or WebP picture.",
    426: "The request does not ask for a WebSocket.",
    429: "More frames a second, or wrong keys a minute, than one client may send.",
    431: "The headers are too large.",
    500: "The service failed; its log has the reason under the request's ID.",
    503: "Too many frames are waiting, too many streams are open, or the service stops.",
}

EVERYWHERE = (408, 414, 421, 431, 500)
GUARDED = ("/predict", "/stream", "/model", "/metrics")  # by keys, where there are any
KEYS: Json = {
    "Header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


def reference(model: type[BaseModel]) -> Json:
    """Point to a model's schema."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def answer(description: str, content: dict[str, Json], headers: Json | None = None) -> Json:
    """Describe a response; content is the schema of each media type."""
    return {
        "description": description,
        "headers": REQUEST_ID | (headers or {}),
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
    }


def problems(*statuses: int) -> Json:
    """Describe responses that are problems; those of EVERYWHERE any address may give."""
    described = {}
    for status in sorted({*statuses, *EVERYWHERE}):
        headers = HEADERS.get(status)
        content = {"application/problem+json": reference(Problem)}
        described[str(int(status))] = answer(REASONS[status], content, headers)
    return described


def parameters(query: type[BaseModel], detectors: Sequence[str]) -> list[Json]:
    """Describe a query, whose parameters may all be left out; detectors: those installed."""
    described = []
    for name, field in query.model_json_schema()["properties"].items():
        # None stands for a parameter that is not there; nothing in a query says it.
        (only,) = (kind for kind in field.get("anyOf", [field]) if kind != {"type": "null"})
        text = field["description"]
        if name == "detector":
            only["enum"] = list(detectors)
        keep = {"type", "enum", "minimum", "maximum", "pattern", "default"}
        schema = {key: value for key, value in only.items() if key in keep}
        described.append(
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
        )
    return described


def get(summary: str, responses: Json, **more: object) -> Json:
    """Describe an address that is only read."""
    return {"get": {"summary": summary, **more, "responses": responses | problems()}}


def predict(detectors: Sequence[str]) -> Json:
    """Describe POST /predict."""
    form = {"type": "object", "properties": {"image": PICTURE}, "required": ["image"]}
    bodies = {
        **dict.fromkeys(IMAGE_TYPES, PICTURE),
        "multipart/form-data": form,
        "application/json": reference(JsonImage),
    }
    found = {"application/json": reference(Prediction), "image/jpeg": PICTURE}
    return {
        "post": {
            "summary": "Judge the faces of a picture",
            "description": "The answer is JSON, or the picture with its boxes drawn where "
            "annotate is true or the Accept header prefers image/jpeg.",
            "parameters": parameters(PredictQuery, detectors),
            "requestBody": {
                "required": True,
                "description": "A JPEG, PNG or WebP picture.",
                "content": {kind: {"schema": schema} for kind, schema in bodies.items()},
            },
            "responses": {"200": answer("What was found.", found)}
            | problems(400, 403, 411, 413, 415, 422, 503),
        }
    }


def stream(detectors: Sequence[str]) -> Json:
    """Describe WS /stream, for whose messages OpenAPI has no words of its own."""
    return get(
        "Judge a camera's frames over a WebSocket",
        {"101": {"description": "The WebSocket is open."}} | problems(400, 403, 426, 503),
        description="Send each frame as a binary message: a JPEG, PNG or WebP picture. Each is "
        "answered with a text message: StreamAnswer, or FrameProblem where it cannot be used. "
        "A frame that waits while a newer one comes is dropped and counted. Closed with 1001 the "
        "service stops, 1008 no frame for a while, 1009 a message too large.",
        parameters=parameters(StreamQuery, detectors),
        **{"x-messages": {"oneOf": [reference(StreamAnswer), reference(FrameProblem)]}},
    )


def static() -> Json:
    """Describe the page's files."""
    name = {"name": "filename", "in": "path", "required": True, "schema": {"type": "string"}}
    file = answer("The file, or a range of it.", {"*/*": PICTURE})
    unchanged = {"description": "The file is as the client has it.", "headers": REQUEST_ID}
    responses = {"200": file, "206": file, "304": unchanged} | problems(404, 416)
    return get("A file of the pages", responses, parameters=[name])


def paths(config: Config, detectors: Sequence[str]) -> Json:
    """Describe every address."""
    page = {"text/html": {"type": "string"}}
    document = {"application/json": {"type": "object"}}
    metrics = {"text/plain": {"type": "string"}, "application/openmetrics-text": {"type": "string"}}
    status = {"application/json": reference(Status)}
    readiness = {"application/json": reference(Readiness)}
    model = {"application/json": reference(ModelBody)}
    described = {
        "/predict": predict(detectors),
        "/stream": stream(detectors),
        "/model": get("Which model is it", {"200": answer("Its card.", model)}),
        "/healthz": get("Is the process alive", {"200": answer("It is.", status)}),
        "/readyz": get(
            "Is the model loaded",
            {"200": answer("It is, and warmed.", readiness)} | problems(503),
        ),
        "/metrics": get("Metrics for Prometheus", {"200": answer("All of them.", metrics)}),
        "/openapi.json": get("This document", {"200": answer("OpenAPI 3.1.", document)}),
        "/docs": get("This document, to read", {"200": answer("The page.", page)}),
        "/": get("The page with the live camera", {"200": answer("The page.", page)}),
        "/static/{filename}": static(),
    }
    if config.METRICS_PORT:
        del described["/metrics"]  # it is not at this address
    if config.needs_keys:
        for path in described.keys() & set(GUARDED):
            for operation in described[path].values():
                operation["security"] = [{name: []} for name in KEYS]
                operation["responses"] |= problems(401, 429)
    if config.RATE_LIMIT:
        described["/predict"]["post"]["responses"] |= problems(429)
    return described


def document(config: Config, detectors: Sequence[str]) -> Json:
    """Return the OpenAPI document of a configured service and its installed detectors."""
    _, schemas = models_json_schema(MODELS, ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Mask check",
            "version": VERSION,
            "description": "How probable it is, for every face in a picture, that it wears a mask. "
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
