"""Tell the kind of a file by its first bytes; what a decoder then reads is checked in headers."""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD_BYTES = 1000  # all that the expressions see, which limits their time

CONVERT = "Convert it to JPEG or PNG and send that."
FRAMES = "Send single frames of it as JPEG."
UNCHANGED = "Send the file's bytes unchanged; with curl use --data-binary, not -d."
BYTES = "Send the picture's own bytes."


class Unread(NamedTuple):
    """A kind of file that is recognised and not read: its name, its first bytes, what to do."""

    name: str
    start: re.Pattern[bytes]
    remedy: str


def starts(expression: bytes) -> re.Pattern[bytes]:
    """Compile an expression for the first bytes of a file."""
    return re.compile(expression, re.DOTALL)


# READ is tried first: an ISO file with an AVIF brand may have HEIC brands too.
READ = starts(rb"\xff\xd8|\x89PNG\r\n\x1a\n|RIFF....WEBP|....ftyp(?:....){0,15}?avi[fs]")
UNREAD = (
    Unread("a PNG whose line breaks were changed on the way", starts(rb"\x89PNG"), UNCHANGED),
    Unread(
        "a HEIC picture",
        starts(rb"....ftyp(?:....){0,15}?(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
        f"{CONVERT} An iPhone takes JPEG pictures with Settings > Camera > Formats > "
        "Most Compatible.",
    ),
    Unread("an MP4 or QuickTime video", starts(rb"....(?:ftyp|moov|mdat|wide)"), FRAMES),
    Unread("an AVI video", starts(rb"RIFF....AVI "), FRAMES),
    Unread("a Matroska or WebM video", starts(rb"\x1a\x45\xdf\xa3"), FRAMES),
    Unread(
        "a BMP picture", starts(rb"BM....\0{4}...\0[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"), CONVERT
    ),
    Unread("a TIFF or raw picture", starts(rb"II[*+]\0|MM\0[*+]"), CONVERT),
    Unread("a GIF picture", starts(rb"GIF8[79]a"), CONVERT),
    Unread("a JPEG XL picture", starts(rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n"), CONVERT),
    Unread("a JPEG 2000 picture", starts(rb"\0{3}\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), CONVERT),
    Unread("a Photoshop picture", starts(rb"8BPS\0"), CONVERT),
    Unread("a PDF document", starts(rb"%PDF-"), "Save the page as JPEG or PNG and send that."),
    Unread("a ZIP archive", starts(rb"PK\x03\x04"), "Unpack it and send one picture."),
    Unread("gzip data", starts(rb"\x1f\x8b\x08"), f"{BYTES} They are compressed already."),
)
# These start with text, as forms do, so is_binary() leaves them out.
TEXTS = (
    Unread("an SVG drawing", starts(rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?)?<svg"), CONVERT),
    Unread(
        "an HTML page",
        starts(rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body)"),
        f"{BYTES} A download that needs a login often returns a page instead.",
    ),
    Unread(
        "an address (URL)",
        starts(rb"(?i)[\"']?\s*https?://"),
        "No addresses are fetched: download the picture and send its bytes.",
    ),
    Unread(
        "the name of a file",
        starts(rb"(?i)@?[\w./\\:~-]{1,200}\.(?:jpe?g|png|webp|avif)\s*\Z"),
        f"{BYTES} curl reads a file behind an @: curl -F image=@picture.jpg.",
    ),
)


def is_binary(data: bytes) -> bool:
    """Tell whether data are a picture or another file that is known by its first bytes."""
    head = data[:HEAD_BYTES]
    return any(pattern.match(head) for pattern in (READ, *(each.start for each in UNREAD)))


def unread(data: bytes) -> str:
    """Return what data are and what to do, where they are known and not read; else ""."""
    head = data[:HEAD_BYTES]
    if READ.match(head):
        return ""
    for name, start, remedy in (*UNREAD, *TEXTS):
        if start.match(head):
            return f"This is {name}. Only JPEG, PNG, WebP and AVIF pictures are read. {remedy}"
    return ""
