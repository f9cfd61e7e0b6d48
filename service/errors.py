"""Turn every error into application/problem+json (RFC 9457)."""

from __future__ import annotations

import socket
import uuid
from contextlib import suppress
from http import HTTPStatus

from flask import Flask, Response, current_app, g, request
from pydantic import ValidationError
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    RequestTimeout,
)

from model.detectors.faces import DetectorUnavailable
from model.images import ImageTooLarge, UndecodableImage
from service.inference import Overloaded
from service.schemas import Problem
from service.server.connection import Connection
from service.services import current_services

STATUS = {
    ValidationError: HTTPStatus.BAD_REQUEST,
    DetectorUnavailable: HTTPStatus.BAD_REQUEST,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UndecodableImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
}
POST_IT = (
    "This address takes pictures: send one with POST, as in curl -F image=@picture.jpg. "
    "The page at / sends them from a browser, and /docs describes the API."
)
# For users who open /predict in a browser. Relative links also work behind a proxy's path prefix.
PREDICT_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Mask check: /predict</title>
<h1>This address is for programs</h1>
<p>Programs send pictures here with POST: <code>curl -F image=@picture.jpg .../predict</code>
<p><a href=".">Check a picture or a camera in this browser</a>
<p><a href="docs">Read how to use the API</a>
</html>
"""


def register(app: Flask) -> None:
    """Make an application answer every exception with a problem."""
    app.register_error_handler(Exception, answer)


def answer(error: Exception) -> Response:
    """Make the response to an exception."""
    problem = problem_of(error)
    headers = {}
    if isinstance(error, HTTPException):
        passed_on = {"Allow", "Retry-After", "Upgrade", "WWW-Authenticate"}
        headers = {k: v for k, v in error.get_headers() if k in passed_on}
    refused = current_services().metrics.refused
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.RETRY_AFTER_S)
        refused.labels(error.reason).inc()
    if isinstance(error, RequestTimeout):
        refused.labels("slow").inc()
    body, status, kind = problem.model_dump_json(), problem.status, "application/problem+json"
    if isinstance(error, MethodNotAllowed) and request.path == "/predict":
        headers["Vary"] = "Accept"
        if request.accept_mimetypes.best_match([kind, "text/html"]) == "text/html":
            body, kind = PREDICT_PAGE, "text/html"
    return Response(body, status, headers, mimetype=kind)


def refuse(client: socket.socket, code: int, *_: str) -> None:
    """Refuse a request that gunicorn could not parse; replaces gunicorn's util.write_error().

    Gunicorn's own answer is HTML that quotes what the client sent.
    """
    status, request_id = HTTPStatus(code), uuid.uuid4().hex
    detail = f"{status.description or status.phrase}."
    problem = Problem(title=status.phrase, status=status, detail=detail, request_id=request_id)
    body = problem.model_dump_json()
    head = (
        f"HTTP/1.1 {code} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        f"X-Content-Type-Options: nosniff\r\nX-Request-ID: {request_id}\r\n\r\n"
    )
    with suppress(OSError):  # the client is gone
        client.sendall((head + body).encode())
    if isinstance(client, Connection) and (client.lingers or not client.evicted):
        client.linger()


def problem_of(error: Exception) -> Problem:
    """Describe an exception as a problem; an unexpected one is logged and its text is not shown."""
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
        detail = error.description or status.description
        if isinstance(error, MethodNotAllowed) and request.path == "/predict":
            detail = POST_IT
        if isinstance(error, RequestEntityTooLarge):
            detail = f"The body is larger than {current_app.config['MAX_CONTENT_LENGTH']} bytes."
    elif kind := next((each for each in type(error).__mro__ if each in STATUS), None):
        status, detail = STATUS[kind], describe(error)
    else:
        current_app.logger.error("Unexpected error, request %s", g.request_id, exc_info=error)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        detail = "The service failed. Its log has the reason under this request_id."
    return Problem(title=status.phrase, status=status, detail=detail, request_id=g.request_id)


def describe(error: Exception) -> str:
    """Return a sentence that says what is wrong.

    For a validation error it has the names and reasons, but no values.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    reasons = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()]
    return "; ".join(reasons) + "."
