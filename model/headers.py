"""What stands in a picture's file around its pixels, read and bounded before a decoder sees it.

Decoders follow what a file says without asking what it costs: a few megabytes can hold a hundred
thousand scans of a large picture, or millions of segments.
"""

from __future__ import annotations

import re
import struct

JPEG_START = b"\xff\xd8"
MOST_SEGMENTS = 1000  # a profile and EXIF data of 10 MB take some 160
MOST_SCANS = 64  # encoders write about 10, each of which costs a pass over the whole picture
# A marker is 0xFF and a byte; 0x00 stands for 0xFF itself, and those of restarts carry nothing.
MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")
END, SCAN, COMMENT = 0xD9, 0xDA, 0xFE
METADATA = (*range(0xE1, 0xEE), 0xEF, COMMENT)  # not JFIF and Adobe, which tell of colours
EXIF_SEGMENT, EXIF = 0xE1, b"Exif\0\0"
ORIENTATION, SHORT = 0x0112, 3


class TooCostly(ValueError):
    """The file is made to cost more than a picture may."""


def bare_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG without its metadata, and its EXIF data, b"" where there is none.

    Raises TooCostly if it has more segments or scans than any camera or encoder writes.
    """
    kept, exif = [JPEG_START], b""
    at = begin = len(JPEG_START)
    segments = scans = 0
    while (marker := MARKER.search(data, at)) is not None:
        kind, at = marker[1][0], marker.end()
        if kind == END:
            break
        segments += 1
        scans += kind == SCAN
        if segments > MOST_SEGMENTS or scans > MOST_SCANS:
            raise TooCostly(f"it has over {MOST_SCANS} scans or {MOST_SEGMENTS} segments")
        length = int.from_bytes(data[at : at + 2], "big")
        if kind in METADATA:
            kept.append(data[begin : marker.start()])
            begin = at + length
            body = data[at + 2 : begin]
            if kind == EXIF_SEGMENT and not exif and body.startswith(EXIF):
                exif = body
        at += length
    kept.append(data[begin:])
    return b"".join(kept), exif


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, that EXIF data tell; 1 where they tell none."""
    tiff = exif.removeprefix(EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    count = int.from_bytes(tiff[start : start + 2], "little" if order == "<" else "big")
    entries = tiff[start + 2 : start + 2 + 12 * count]
    for tag, kind, length, value in struct.iter_unpack(
        f"{order}HHIHxx", entries[: len(entries) // 12 * 12]
    ):
        if (tag, kind, length) == (ORIENTATION, SHORT, 1):
            return int(value) if 1 <= value <= 8 else 1
    return 1
