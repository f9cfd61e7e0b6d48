"""Tell the kind of a file by its first bytes; what a decoder then reads is checked in headers."""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD_BYTES = 1000  # all that the expressions see, which limits their time

CONVERT = "Convert it to JPEG or PNG and send that."
FRAMES = "Send single frames of it as JPEG."
UNCHANGED = "Send the file's bytes unchanged; with curl use --data-binary, not -d."
BYTES = "Send the picture's own bytes."
PAGES = "A download that needs a login often returns a page instead."
ENCODE = "Encode the pixels as JPEG or PNG and send that: cv2.imencode or Pillow's save does it."


class Unread(NamedTuple):
    """A kind of file that is recognised and not read: its name, its first bytes, what to do."""

    name: str
    start: re.Pattern[bytes]
    remedy: str


def starts(expression: bytes) -> re.Pattern[bytes]:
    """Compile an expression for the first bytes of a file."""
    return re.compile(expression, re.DOTALL)


# READ is tried first: an ISO file with an AVIF brand may have HEIC brands too.
READ = starts(
    rb"\xff\xd8|\x89PNG\r\n\x1a\n|RIFF....WEBP|....ftyp(?!hei[cxms]|hev[cxms])(?:....){0,15}?avi[fs]"
)
UNREAD = (
    Unread("a PNG whose line breaks were changed on the way", starts(rb"\x89PNG"), UNCHANGED),
    Unread(
        "a HEIC picture",
        starts(rb"....ftyp(?:....){0,15}?(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
        f"{CONVERT} An iPhone takes JPEG pictures with Settings > Camera > Formats > "
        "Most Compatible.",
    ),
    Unread("a raw picture", starts(rb"....ftypcrx |FUJIFILMCCD-RAW"), CONVERT),
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
    Unread("an icon", starts(rb"\0\0[\1\2]\0[\1-\x40]\0|icns"), CONVERT),
    Unread("a DDS texture", starts(rb"DDS \x7c\0\0\0"), CONVERT),
    Unread("an OpenEXR picture", starts(rb"\x76\x2f\x31\x01"), CONVERT),
    Unread("a DICOM picture", starts(rb".{128}DICM"), CONVERT),
    Unread("a Photoshop picture", starts(rb"8BPS\0"), CONVERT),
    Unread("a PDF document", starts(rb"%PDF-"), "Save the page as JPEG or PNG and send that."),
    Unread("a ZIP archive", starts(rb"PK\x03\x04"), "Unpack it and send one picture."),
    Unread("a ZIP archive without files", starts(rb"PK\x05\x06"), BYTES),
    Unread(
        "an archive",
        starts(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|.{257}ustar"),
        "Unpack it and send one picture.",
    ),
    Unread(
        "compressed data",
        starts(rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x78[\x01\x5e\x9c\xda]"),
        f"{BYTES} They are compressed already.",
    ),
    Unread(
        "an FLV, Windows Media or Ogg video",
        starts(rb"FLV\x01|\x30\x26\xb2\x75\x8e\x66\xcf\x11|OggS\0"),
        FRAMES,
    ),
    Unread("a NumPy array", starts(rb"\x93NUMPY"), ENCODE),
    Unread(
        "a picture that was read as text on the way",
        starts(rb"(?:\xef\xbf\xbd){2,4}|\xc3\xbf\xc3\x98\xc3\xbf|(?:\xc2\x89|\xef\xbf\xbd)PNG"),
        f"Read the file as bytes, open(name, 'rb') in Python. {UNCHANGED}",
    ),
    Unread("gzip data", starts(rb"\x1f\x8b\x08"), f"{BYTES} They are compressed already."),
)
# These start with text, as forms do, so is_binary() leaves them out.
TEXTS = (
    Unread(
        "an HTML page",
        starts(rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body)"),
        f"{BYTES} {PAGES}",
    ),
    Unread("an SVG drawing", starts(rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<[?!].*?)?<svg"), CONVERT),
    Unread("an XML document", starts(rb"(?:\xef\xbb\xbf)?\s*<\?xml"), f"{BYTES} {PAGES}"),
    Unread(
        "a PostScript document",
        starts(rb"%!PS"),
        "Save the page as JPEG or PNG and send that.",
    ),
    Unread("a PNM picture", starts(rb"P[1-6][ \t\r\n]"), CONVERT),
    Unread(
        "a pointer of Git LFS",
        starts(rb"version https://git-lfs"),
        f"{BYTES} 'git lfs pull' downloads them.",
    ),
    Unread(
        "an address (URL)",
        starts(rb"(?i)[\"']?\s*(?:blob:)?[a-z][a-z0-9+.-]{1,20}://"),
        "No addresses are fetched: download the picture and send its bytes.",
    ),
    Unread(
        "the name of a file",
        starts(rb"(?i)@?[^\r\n<>{}]{1,200}\.(?:jpe?g|png|webp|avif|hei[cf]|gif|bmp|tiff?)\s*\Z"),
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
