"""Receive a request's body within the limits on bytes, rate and memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import gevent
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    LengthRequired,
    RequestEntityTooLarge,
    RequestTimeout,
)

from service.buffers import Loan
from service.inference import Overloaded
from service.server.connection import PIECE_BYTES, Connection

RECEIVED = "facemask.body_received"
COPIES = 2  # of a body at most: the whole, and its pieces or what was parsed out of it
# Limit on the framing of chunked bodies: tiny chunks would take seconds to parse. One piece is
# added for what gunicorn may have received but not parsed yet.
OVERHEAD_BYTES, OVERHEAD_SHARE = PIECE_BYTES + 65_536, 0.05


def receive(environ: dict[str, Any], most: int, loan: Loan) -> bytes:
    """Return a request's body of at most `most` bytes.

    Raises LengthRequired, RequestEntityTooLarge, RequestTimeout for a client that is too slow,
    BadRequest for a body cut short or in tiny chunks, and Overloaded if memory is short.
    """
    connection: Connection | None = environ.get("gunicorn.socket")
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
        raise LengthRequired("The body has no length. Send Content-Length or a chunked body.")
    body = b"".join(pieces(environ, connection, most, loan))
    environ[RECEIVED] = True
    loan.waiting_since = None
    return body


def close_if_unread(environ: dict[str, Any]) -> None:
    """Close the connection after the answer if the request's body was not received.

    Otherwise gunicorn would read the whole body, and could take a part of it for the next request.
    """
    connection: Connection | None = environ.get("gunicorn.socket")
    has_body = environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ
    if connection is not None and has_body and RECEIVED not in environ:
        connection.close_after_answer()


def pieces(
    environ: dict[str, Any], connection: Connection | None, most: int, loan: Loan
) -> list[bytes]:
    """Read a body to its end in pieces; raises the same errors as receive()."""
    stream, declared = environ["wsgi.input"], int(environ.get("CONTENT_LENGTH", 0))
    if declared > most:
        raise RequestEntityTooLarge
    received: list[bytes] = []
    size = 0
    loan.await_client()
    began = connection.received if connection else 0
    patience = connection.patience() if connection else nullcontext[Callable[[int], None]](no_limit)
    with patience as left:
        while not declared or size < declared:
            with gevent.Timeout(left(size), RequestTimeout("The body arrives too slowly.")):
                try:
                    piece = stream.read(PIECE_BYTES)
                except (ParseException, OSError) as error:
                    raise BadRequest("The body is cut short, or its chunks are broken.") from error
            if connection is not None and connection.evicted:
                raise Overloaded("The service is busy and the body arrives too slowly.", "memory")
            if not piece:
                break
            received.append(piece)
            size += len(piece)
            if size > most:
                raise RequestEntityTooLarge
            overhead = connection.received - began - size if connection and not declared else 0
            if overhead > OVERHEAD_BYTES + OVERHEAD_SHARE * size:
                raise BadRequest("The chunks are too small. Send at least 1,000 bytes a chunk.")
            loan.resize(COPIES * size)
            if size > PIECE_BYTES:
                gevent.sleep(0)  # let other clients run; a fast sender would block the loop
    if size < declared:
        raise ClientDisconnected
    return received


def no_limit(_: int) -> None:
    """Return no time limit; for a body that is already in memory."""
