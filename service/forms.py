"""Find the picture and the parameters in a body, in whichever form they were sent.

A picture is recognised by its bytes; Content-Type only distinguishes the forms. Anything that is
not understood is refused, never ignored. The functions need no Flask request, so a thread can call
them.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from model import formats
from model.formats import is_binary
from model.images import UndecodableImage
from service.schemas import PredictQuery

V = TypeVar("V")

URLENCODED = "application/x-www-form-urlencoded"
FIELDS = ("image", *PredictQuery.model_fields)
PIECE_BYTES = 65_536  # of a form, parsed at a time
HEAD_BYTES = 500_000  # of a part's head
VALUE_BYTES = 1000  # of a parameter
# The parser of JSON keeps every value before any is checked.
JSON_MARKS, MOST_JSON_MARKS = (b",", b":", b"[", b"{"), 150

BOM = b"\xef\xbb\xbf"
# A field's name and "=", with which no other text starts.
FIRST_FIELD = re.compile(rb"[\w.%\[\]-]{1,40}=")
# How the base64 of a JPEG, PNG, WebP, AVIF (or HEIC), GIF and BMP starts.
AS_TEXT = re.compile(rb"\s*(?:data:|[/_]9j[/_]|iVBORw0KGgo|UklGR|AAAA[\w+/-]{2}Z0eX|R0lGOD|Qk0)")
ADDRESS = re.compile(r"\s*(?:blob:)?[A-Za-z][A-Za-z0-9+.-]{1,20}://")
ALPHABET = bytes.maketrans(b"-_", b"+/")  # base64url uses - and _
NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
WHITESPACE = b" \t\r\n"

HOW_TO_SEND = (
    "Send the picture's bytes as the body (curl --data-binary @picture.jpg), as the file 'image' "
    'of a form (curl -F image=@picture.jpg), or as JSON {"image": "<base64>"}.'
)
NO_BOUNDARY = (
    "The body is a form, but its Content-Type names no boundary. Do not set Content-Type yourself: "
    "the HTTP library sets it with the boundary when it makes the form."
)
NO_NAME = (
    "A part of the form has no name. Its head must hold a line such as "
    'Content-Disposition: form-data; name="image"; filename="picture.jpg"'
)
NO_ADDRESSES = "No addresses (URLs) are fetched: download the picture and send its bytes."


@dataclass(frozen=True)
class Sent:
    """A picture's bytes and the parameters sent in the same body, not yet validated."""

    image: bytes
    parameters: dict[str, object]


def read(body: bytes, kind: str, boundary: bytes) -> Sent:
    """Return what a body holds; raises BadRequest and UndecodableImage.

    kind: the media type of Content-Type, "" without one. The picture's bytes are not checked.
    """
    if not body:
        raise UndecodableImage(f"The body is empty (0 bytes). {HOW_TO_SEND}")
    if is_binary(body):
        return Sent(body, {})
    start = body[:1000].removeprefix(BOM).lstrip()
    if kind.startswith("multipart/") and boundary:
        return of_fields(once(multipart(body, boundary), FIELDS, "the form"))
    if kind.startswith("multipart/") or (
        start.startswith(b"--") and b"content-disposition" in start.lower()
    ):
        raise BadRequest(NO_BOUNDARY)
    if kind == "application/json" or start.startswith(b"{"):
        return of_json(body)
    if kind == URLENCODED and FIRST_FIELD.match(start):
        return of_fields(once(urlencoded(body), FIELDS, "the form"))
    return Sent(unwrapped(body), {})


def query(args: MultiDict[str, str], model: type[BaseModel]) -> dict[str, str]:
    """Return a query's parameters; raises BadRequest for one that is unknown or comes twice.

    Only `ignore` may come several times; its zones are put together.
    """
    pairs = [(name, value) for name, value in args.items(multi=True) if name != "ignore"]
    if "ignore" in args:
        pairs.append(("ignore", ";".join(args.getlist("ignore"))))
    return once(pairs, model.model_fields, "the query")


def once(pairs: Iterable[tuple[str, V]], allowed: Collection[str], where: str) -> dict[str, V]:
    """Return pairs as a dict; raises BadRequest for a name that is unknown or comes twice."""
    found: dict[str, V] = {}
    for name, value in pairs:
        if name not in allowed:
            raise BadRequest(f"{name[:40]!r} in {where} is unknown. Allowed: {', '.join(allowed)}.")
        if name in found:
            raise BadRequest(f"'{name}' is in {where} more than once. Send it once.")
        found[name] = value
    return found


def of_fields(fields: dict[str, bytes]) -> Sent:
    """Take the picture out of the fields of a form; raises BadRequest and UndecodableImage."""
    if "image" not in fields:
        raise BadRequest(f"The form has no field 'image'. {HOW_TO_SEND}")
    image = unwrapped(fields.pop("image"))
    return Sent(image, {name: value.decode("utf-8", "replace") for name, value in fields.items()})


def multipart(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the value of each part of a form; raises BadRequest.

    Everything stays in memory: Werkzeug's own reader would put large files on disk.
    """
    name, pieces, size = "", list[bytes](), 0
    try:
        for event in events(body, boundary):
            if isinstance(event, (Field, File)):
                name, pieces, size = event.name or "", [], 0
                if not name:
                    raise BadRequest(NO_NAME)
                if name not in FIELDS:
                    yield name, b""
            elif isinstance(event, Data):
                pieces.append(event.data)
                size += len(event.data)
                if name != "image" and size > VALUE_BYTES:
                    raise BadRequest(f"The form's field '{name}' has over {VALUE_BYTES} bytes.")
                if not event.more_data:
                    yield name, b"".join(pieces)
    except (ValueError, RequestEntityTooLarge) as error:
        if "Content-Disposition" in str(error):
            raise BadRequest(NO_NAME) from error
        raise BadRequest(
            "The body is cut off, or no form with the boundary of its Content-Type. Do not set "
            "Content-Type yourself: the HTTP library sets it when it makes the form."
        ) from error


def events(body: bytes, boundary: bytes) -> Iterator[Field | File | Data]:
    """Yield what a multipart form consists of; raises ValueError and RequestEntityTooLarge."""
    decoder = MultipartDecoder(boundary, HEAD_BYTES)
    for at in (*range(0, len(body), PIECE_BYTES), None):
        decoder.receive_data(None if at is None else body[at : at + PIECE_BYTES])
        while not isinstance(event := decoder.next_event(), NeedData):
            if isinstance(event, Epilogue):
                return
            if isinstance(event, (Field, File, Data)):
                yield event


def urlencoded(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the value of each field of a form without files."""
    for pair in body.strip(WHITESPACE).split(b"&", len(FIELDS)):
        name, _, value = pair.partition(b"=")
        # A plus sign is kept: it should mean a space, but base64 has plus signs and no spaces.
        yield unescaped(name[:200]).decode("utf-8", "replace"), unescaped(value)


def unescaped(text: bytes) -> bytes:
    """Replace each %XX by its byte.

    Reads it as quoted-printable (=XX), which Python does in C; urllib takes 100 ms for 500,000.
    """
    return binascii.a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))


def of_json(body: bytes) -> Sent:
    """Take a JSON object apart; raises BadRequest and UndecodableImage."""
    if sum(map(body.count, JSON_MARKS)) > MOST_JSON_MARKS:
        raise BadRequest(f"The JSON has more than the fields allowed: {', '.join(FIELDS)}.")
    try:
        # An object becomes a tuple of pairs, in which a name can come twice.
        pairs = json.loads(body.decode("utf-8-sig"), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        where = (
            f", {error.msg}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise BadRequest(f"The body is not JSON in UTF-8{where}. {HOW_TO_SEND}") from error
    if not isinstance(pairs, tuple):
        raise BadRequest(f"The JSON is no object. {HOW_TO_SEND}")
    if any(isinstance(value, str) and is_address(value) for _, value in pairs):
        raise BadRequest(f"The JSON holds an address in place of a picture. {NO_ADDRESSES}")
    fields = once(pairs, FIELDS, "the JSON")
    image = fields.pop("image", None)
    if not isinstance(image, str):
        raise BadRequest(f"The JSON has no text in the field 'image'. {HOW_TO_SEND}")
    return Sent(of_base64(image.encode("utf-8", "replace")), fields)


def is_address(text: str) -> bool:
    """Tell whether a text is a URL."""
    return bool(ADDRESS.match(text[:100]))


def unwrapped(data: bytes) -> bytes:
    """Return a picture that may be written as base64 or a data URI; raises UndecodableImage."""
    return of_base64(data) if AS_TEXT.match(data[:100]) else data


def of_base64(text: bytes) -> bytes:
    """Return what base64 or a data URI stands for; raises UndecodableImage.

    Line breaks are skipped, the signs + and / may be - and _, and the padding may be left out.
    """
    text = text.lstrip(WHITESPACE)
    if text[:5].lower() == b"data:":
        head, comma, text = text.partition(b",")
        if not comma or not head.strip().lower().endswith(b";base64"):
            raise UndecodableImage("The data URI has no ';base64,' before its data. Send base64.")
        text = unescaped(text) if b"%" in text else text
    text = text.translate(ALPHABET, WHITESPACE).rstrip(b"=")
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error as error:
        if reason := formats.unread(text):
            raise UndecodableImage(reason) from error
        wrong = NO_BASE64.search(text)
        why = f"character {wrong.start() + 1} is {chr(wrong[0][0])!a}" if wrong else str(error)
        raise UndecodableImage(f"The text is not base64: {why}. {HOW_TO_SEND}") from error
