"""Check a picture's headers and strip its metadata before a decoder sees the file.

Decoders follow a file's instructions whatever they cost. A few megabytes can hold a hundred
thousand scans of a large picture, millions of segments, or gigabytes of compressed text. Each
function here takes time proportional to the length of the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

JPEG_START, JPEG_END, PNG_START = b"\xff\xd8", b"\xff\xd9", b"\x89PNG\r\n\x1a\n"

# Limits. Timings are for one core, default settings and a body of 10 MB.
# MOST: limits for a JPEG.
MOST = {
    "segments": 1000,  # 10 MB of colour profile and EXIF data need about 160
    "scans": 64,  # encoders write about 10
    "bytes of tables": 65_536,  # headers without metadata; encoders write under 1,000
}
# Blocks of 8 x 8 values that all scans of a JPEG decode together. A baseline JPEG of 50 megapixels
# has 1.2 to 2.3 million blocks. A progressive one has 3.5 to 7 million if mozjpeg wrote it, and 6.2
# to 10.9 million if libjpeg did. The costliest JPEG within this limit takes .4 s.
MOST_BLOCKS = 11_000_000
MOST_CHUNKS = 20_000  # libpng writes one chunk for each 8 kB of pixels
# Bytes of unpacked pixels and number of pixels, for pictures that cannot be decoded at a reduced
# size: PNG, WebP and CMYK JPEG. This allows 18 megapixels of RGB or 15 of RGBA; a screen of
# 5120 x 2880 has 15. At 84 MB, a rotated PNG with 50 faces and annotation took 1.4 s of CPU on a
# busy machine.
MOST_UNPACKED, MOST_UNPACKED_PIXELS = 60_000_000, 18_000_000
MOST_ENTRIES = 1000  # in EXIF data; cameras write under 100

# A JPEG marker is 0xFF and one more byte. 0x00 after 0xFF is an escaped 0xFF; restart markers carry
# no data. Any number of 0xFF may precede the byte. An expression that matched a whole run of them
# would restart at each one and take time that grows with the square of the run's length.
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
END, SCAN, COMMENT = 0xD9, 0xDA, 0xFE
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive
REFUSED = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}  # the other frames
METADATA = {*range(0xE1, 0xEE), 0xEF, COMMENT}  # except JFIF and Adobe, which describe the colours
APPLICATION = {*range(0xE0, 0xF0)}
EXIF_SEGMENT, EXIF = 0xE1, b"Exif\0\0"
ORIENTATION, SHORT = 0x0112, 3
CMYK = 4  # components; such a JPEG cannot be decoded at a reduced size

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PNG_ONCE = {b"IHDR", b"PLTE", b"IEND"}  # the chunks that decoding needs, besides IDAT
WEBP_STILL, WEBP_FRAME = {b"VP8 ": 3, b"VP8L": 4}, b"ANMF"  # bytes per pixel
WEBP_FLAGS = 0x12  # animation and transparency


class TooCostly(ValueError):
    """The file would cost more to decode than is allowed."""


class TooManyPixels(TooCostly):
    """The picture has more pixels than its format is allowed."""


class Frame(NamedTuple):
    """A JPEG's width and height in pixels, number of components, and blocks per component."""

    width: int
    height: int
    components: int
    blocks: dict[int, int]


def bare(data: bytes) -> tuple[bytes, bytes]:
    """Return a picture without its metadata, and its EXIF data (b"" if it has none).

    A JPEG, PNG or WebP keeps only what decoding needs; an animation keeps its first picture. Other
    formats are returned unchanged. Raises TooCostly and TooManyPixels.
    """
    if data.startswith(JPEG_START):
        return bare_jpeg(data)
    if data.startswith(PNG_START):
        return bare_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return bare_webp(data)
    return data, b""


def bare_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """Return a JPEG without its metadata, and its EXIF data (b"" if it has none).

    Raises TooCostly if it holds more than cameras and encoders write, or is not Huffman-coded.
    Raises TooManyPixels if decoding it would cost too much.
    """
    kept, exif = [JPEG_START], b""
    counts = dict.fromkeys(MOST, 0)
    frame, blocks = Frame(0, 0, 0, {}), 0
    for kind, before, start, end in jpeg_segments(data):
        if counts["scans"]:  # before the first scan, bytes between segments are junk, not pixels
            # A trailing 0xFF could form a marker with the bytes after a dropped segment.
            kept.append(data[before:start].rstrip(b"\xff"))
        body = data[start + 4 : end]
        if kind in FRAMES:
            frame = frame_of(body)
            if frame.components == CMYK:
                unpacked = CMYK * frame.width * frame.height
                check_unpacked("CMYK JPEG", frame.width, frame.height, unpacked)
        elif kind in REFUSED:
            raise TooCostly(
                "The JPEG is arithmetic-coded, lossless or hierarchical; only baseline, extended "
                "and progressive JPEGs are accepted. Save it as a baseline JPEG."
            )
        elif kind == SCAN:
            counts["scans"] += 1
            blocks += sum(frame.blocks.get(component, 0) for component in scanned(body))
        elif kind == EXIF_SEGMENT and not exif and body.startswith(EXIF):
            exif = body
        if kind not in METADATA:
            kept.append(data[start:end])
        counts["segments"] += 1
        counts["bytes of tables"] += len(body) if kind not in METADATA | APPLICATION else 0
        check_counts(counts)
        check_blocks(frame, blocks)
    return b"".join(kept), exif


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield each segment of a JPEG as (kind, end of the one before, start, end).

    The last segment is END; it is empty if the file is truncated. A damaged file yields no END.
    """
    at = len(JPEG_START)
    while (marker := MARKER.search(data, at)) is not None:
        kind, start = marker[1][0], marker.start()
        if kind == END:
            yield END, at, start, start + 2
            return
        length = int.from_bytes(data[start + 2 : start + 4], "big")
        if length < 2:  # invalid, as it includes its own two bytes: decoders would disagree with us
            return
        yield kind, at, start, start + 2 + length
        at = start + 2 + length
    yield END, at, len(data), len(data)


def check_counts(counts: dict[str, int]) -> None:
    """Raise TooCostly for a JPEG that exceeds a limit in MOST."""
    for what, most in MOST.items():
        if counts[what] > most:
            raise TooCostly(
                f"The JPEG has over {most} {what}; at most {most} are accepted. "
                "Save it as a baseline JPEG without metadata."
            )


def check_blocks(frame: Frame, blocks: int) -> None:
    """Raise TooManyPixels for a JPEG whose scans decode more blocks than MOST_BLOCKS."""
    if blocks > MOST_BLOCKS:
        raise TooManyPixels(
            f"The picture has {frame.width} x {frame.height} pixels, and the scans of the JPEG "
            f"decode over {MOST_BLOCKS / 1e6:g} million blocks; no more are accepted. "
            "Send a smaller one, or a baseline JPEG."
        )


def frame_of(body: bytes) -> Frame:
    """Read a JPEG's frame header; a damaged one gives an empty Frame and is left to the decoder."""
    if len(body) < 6:
        return Frame(0, 0, 0, {})
    height, width, count = struct.unpack_from(">HHB", body, 1)
    rows = body[6 : 6 + 3 * count]
    components = [
        (name, sampling >> 4, sampling & 15)
        for name, sampling, _ in struct.iter_unpack("BBB", rows[: len(rows) // 3 * 3])
    ]
    most_across = max((across for _, across, _ in components), default=0) or 1
    most_down = max((down for _, _, down in components), default=0) or 1
    blocks: dict[int, int] = {}
    for name, across, down in components:
        wide, high = -(-width * across // (8 * most_across)), -(-height * down // (8 * most_down))
        blocks[name] = max(wide * high, blocks.get(name, 0))  # several components may share a name
    return Frame(width, height, count, blocks)


def scanned(body: bytes) -> bytes:
    """Return the components that a JPEG scan header names, one byte each."""
    return body[1 : 1 + 2 * body[0] : 2] if body else b""


def bare_png(data: bytes) -> tuple[bytes, bytes]:
    """Return a PNG with only its pixels and palette, and its EXIF data (b"" if it has none).

    Colour profiles and texts are dropped, because Pillow would decompress each of them. Later
    pictures of an animation are dropped too. Raises TooCostly and TooManyPixels.
    """
    kept, exif, seen = [PNG_START], b"", set()
    at, chunks = len(PNG_START), 0
    while at < len(data) and b"IEND" not in seen:
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, end = at + 8, at + 12 + length
        if name == b"IDAT" or (name in PNG_ONCE and name not in seen):
            kept.append(data[at:end])
        if name == b"IHDR" and name not in seen and len(data) >= body + 13:
            width, height, depth, colours = struct.unpack_from(">IIBB", data, body)
            row = -(-width * depth * PNG_CHANNELS.get(colours, 4) // 8)
            check_unpacked("PNG", width, height, height * row)
        if name == b"eXIf" and not exif:
            exif = data[body : body + length]
        seen.add(name)
        at, chunks = end, chunks + 1
        check_chunks("PNG", chunks)
    return b"".join(kept), exif


def bare_webp(data: bytes) -> tuple[bytes, bytes]:
    """Return a WebP with one picture, and its EXIF data (b"" if it has none).

    A still picture loses its separate alpha channel; an animation loses its later pictures.
    Raises TooCostly and TooManyPixels.
    """
    picture, exif, canvas, animation = b"", b"", b"", b""
    at, chunks = 12, 0
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body, end = at + 8, at + 8 + length + length % 2
        if name == b"VP8X" and not canvas and length == 10:
            flags = data[body] & WEBP_FLAGS if body < len(data) else 0
            canvas = data[at:body] + bytes([flags]) + data[body + 1 : end]
        elif name == b"ANIM" and not animation:
            animation = data[at:end]
        elif name in WEBP_STILL and not picture:
            picture = data[at:end]
            width, height = webp_size(name, data[body : body + 10])
            check_unpacked("WebP", width, height, width * height * WEBP_STILL[name])
        elif name == WEBP_FRAME and not picture and len(canvas) == 18:
            picture = canvas + animation + data[at:end]
            width, height = (int.from_bytes(canvas[n : n + 3], "little") + 1 for n in (12, 15))
            check_unpacked("WebP", width, height, width * height * 4)
        elif name == b"EXIF" and not exif:
            exif = data[body : body + length]
        at, chunks = end, chunks + 1
        check_chunks("WebP", chunks)
    if not picture:
        raise TooCostly("The WebP contains no picture. Send a file that contains one.")
    return b"RIFF" + struct.pack("<I", 4 + len(picture)) + b"WEBP" + picture, exif


def webp_size(name: bytes, body: bytes) -> tuple[int, int]:
    """Return width and height in pixels from the start of WebP data; 0, 0 if it is truncated."""
    if len(body) < 10:
        return 0, 0
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    bits = int.from_bytes(body[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def check_unpacked(kind: str, width: int, height: int, unpacked: int) -> None:
    """Raise TooManyPixels for a picture with too many pixels or unpacked bytes."""
    if unpacked > MOST_UNPACKED or width * height > MOST_UNPACKED_PIXELS:
        raise TooManyPixels(
            f"The picture has {width} x {height} pixels, {unpacked / 1e6:.0f} MB unpacked; "
            f"a {kind} may have at most {MOST_UNPACKED / 1e6:g} MB and "
            f"{MOST_UNPACKED_PIXELS / 1e6:g} megapixels. Send a smaller one, or an RGB JPEG."
        )


def check_chunks(kind: str, chunks: int) -> None:
    """Raise TooCostly for a picture with more chunks than MOST_CHUNKS."""
    if chunks > MOST_CHUNKS:
        raise TooCostly(
            f"The {kind} has over {MOST_CHUNKS} chunks; at most {MOST_CHUNKS} are accepted. "
            "Save it with an ordinary encoder."
        )


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8, in EXIF data; 1 if it is missing or invalid.

    Reads only the first MOST_ENTRIES entries.
    """
    at = len(EXIF) if exif.startswith(EXIF) else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[at : at + 4])
    if order is None or len(exif) < at + 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, at + 4)
    start += at
    count = int.from_bytes(exif[start : start + 2], "little" if order == "<" else "big")
    entries = exif[start + 2 : start + 2 + 12 * min(count, MOST_ENTRIES)]
    for tag, kind, length, value in struct.iter_unpack(
        f"{order}HHIHxx", entries[: len(entries) // 12 * 12]
    ):
        if (tag, kind, length) == (ORIENTATION, SHORT, 1):
            return int(value) if 1 <= value <= 8 else 1
    return 1
