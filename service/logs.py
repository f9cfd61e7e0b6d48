"""The log: one line per event on standard error, as text or as JSON.

It never holds a picture, a box, or the value of a query or header. Parts of broken requests and
exception messages could contain them, so they are left out too.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import gevent
from flask import Flask, Response, g, request

EVENTS = logging.getLogger("service.events")
FAILURES = logging.getLogger("service.failures")
PLAIN = re.compile(r"[\w./:@+-]+", re.ASCII)


def event(name: str, **fields: object) -> None:
    """Log an event and its fields at level info."""
    EVENTS.info(name, extra={"fields": fields})


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields that were passed to event(), in their order."""
    return dict(getattr(record, "fields", {}))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if exception := exception_of(record):
            entry["exception"] = exception
        return json.dumps(entry | fields_of(record), default=str)


class TextFormatter(logging.Formatter):
    """The same as readable text: time (UTC), level, message and name=value pairs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(" ", "milliseconds")
        pairs = [f"{name}={quoted(value)}" for name, value in fields_of(record).items()]
        line = " ".join([at, record.levelname, record.getMessage(), *pairs])
        exception = exception_of(record)
        return f"{line}\n{exception}" if exception else line


def quoted(value: object) -> str:
    """Return a value as text, quoted if it could be mistaken for another field or line."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def is_discreet(record: logging.LogRecord) -> bool:
    """Remove client data, such as bytes of a picture or a query, from gunicorn's log lines."""
    if record.name == "gunicorn.error":
        message = record.getMessage()
        if message.startswith("Invalid request from ip="):
            record.msg, record.args = message.split(": ")[0], ()
        elif message.startswith(("Error handling request", "Ignored premature client")):
            record.msg, record.args = re.split(r"[?.]", message)[0], ()
    return True


def exception_of(record: logging.LogRecord) -> str:
    """Return the traceback of a record's exception, the first cause first; "" without one.

    Messages of exceptions are left out, as they could hold client data or a box. The exception is
    an error at the start of a worker, before any client has connected.
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    if record.getMessage() == "Exception in worker process":
        return "".join(traceback.format_exception(error)).rstrip()
    told: list[str] = []
    while error is not None:
        lines = traceback.format_tb(error.__traceback__)
        told.insert(0, f"{type(error).__module__}.{type(error).__qualname__}\n{''.join(lines)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nthen ".join(told).rstrip()


def log_failures() -> None:
    """Log errors that Python would otherwise write to standard error with their message."""

    def in_thread(failure: threading.ExceptHookArgs) -> None:
        FAILURES.error("Unexpected error in a thread", exc_info=failure.exc_value)

    def ignored(failure: sys.UnraisableHookArgs) -> None:
        FAILURES.error("Unexpected error, ignored", exc_info=failure.exc_value)

    def in_greenlet(_: object, __: object, error: object, ___: object) -> None:
        cause = error if isinstance(error, BaseException) else None
        FAILURES.error("Unexpected error in a greenlet", exc_info=cause)

    gevent.get_hub().print_exception = in_greenlet  # type: ignore[assignment,method-assign]
    threading.excepthook = in_thread
    sys.unraisablehook = ignored
    # No line shows its caller, thread or process, so these need not be looked up ("Optimization" in
    # Python's logging HOWTO).
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Pillow warns about damaged headers. Python stores each distinct warning, so memory would grow.
    warnings.simplefilter("ignore")


def settings(form: str, level: str) -> dict[str, Any]:
    """Return the configuration for logging.config.dictConfig; form is text or json."""
    formatter = JsonFormatter if form == "json" else TextFormatter
    console = {"level": level.upper(), "handlers": ["console"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "filters": {"discreet": {"()": lambda: is_discreet}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["discreet"],
            }
        },
        # Verbose log lines of libraries could hold client data.
        "root": {"level": "WARNING", "handlers": ["console"]},
        "loggers": {
            "service": console,
            "gunicorn.error": console,
            # Its lines hold the query; log_requests() writes lines without it.
            "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
        },
    }


def log_requests(app: Flask) -> None:
    """Make an application log one line per answer."""

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def log(response: Response) -> Response:
        event(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            ms=round((time.perf_counter() - g.began) * 1e3, 1),
            bytes_in=request.content_length or 0,
            bytes_out=response.content_length or 0,
            **faces_found(),
            request_id=g.request_id,
            remote=request.remote_addr,
        )
        return response


def faces_found() -> Mapping[str, int]:
    """Return the number of faces as a log field, if a picture was analysed."""
    return {"faces": g.faces} if "faces" in g else {}
