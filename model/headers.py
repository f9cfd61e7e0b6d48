"""Check a picture's headers and strip its metadata before a decoder sees the file.

Decoders follow a file's instructions whatever they cost. A few megabytes can hold a hundred
thousand scans of a large picture, millions of segments, or gigabytes of compressed text. Each
function here takes time proportional to the length of the file.
"""

from __future__ import annotations

import io
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
LAST_BIT = bytes([63, 0x10])  # of a scan: up to the highest frequency, from bit 1 to bit 0
CMYK = 4  # components; such a JPEG cannot be decoded at a reduced size

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PNG_ONCE = {b"IHDR", b"PLTE", b"IEND"}  # the chunks that decoding needs, besides IDAT
WEBP_STILL, WEBP_FRAME = {b"VP8 ": 3, b"VP8L": 4}, b"ANMF"  # bytes per pixel
WEBP_FLAGS = 0x12  # animation and transparency

# AVIF: boxes of ISO 23008-12, and in them one picture in units (OBUs) of AV1.
MOST_BOXES = 1000  # and items, and properties of an item; encoders write under 50
SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6  # types of units
ENOUGH_UNITS = 64  # of a picture; encoders write 3
# EXIF orientations by the mirror (imir: 0 swaps top and bottom, 1 left and right) and, before it,
# the quarters of a turn to the left (irot).
ORIENTATIONS = {
    None: (1, 8, 3, 6),
    0: (4, 5, 2, 7),
    1: (2, 7, 4, 5),
}


RESAVE = "Save it as JPEG, or with an ordinary encoder."


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

    A JPEG, PNG, WebP or AVIF keeps only what decoding needs; an animation keeps its first picture.
    Other formats are returned unchanged. Raises TooCostly and TooManyPixels.
    """
    if data.startswith(JPEG_START):
        return bare_jpeg(data)
    if data.startswith(PNG_START):
        return bare_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return bare_webp(data)
    if data[4:8] == b"ftyp":
        return bare_avif(data)
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
                check_unpacked("a CMYK JPEG", frame.width, frame.height, unpacked)
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


def nearly_sharp(data: bytes) -> bool:
    """Tell whether a cut progressive JPEG lacks at most the last bit of its values.

    So it is if it ends in a scan that adds that bit to all frequencies, which encoders write last.
    """
    last = b""
    for kind, _, start, end in jpeg_segments(data):
        if kind == SCAN:
            last = data[start + 4 : end]
    return last[-2:] == LAST_BIT


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
            check_unpacked("a PNG", width, height, height * row)
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
            check_unpacked("a WebP", width, height, width * height * WEBP_STILL[name])
        elif name == WEBP_FRAME and not picture and len(canvas) == 18:
            picture = canvas + animation + data[at:end]
            width, height = (int.from_bytes(canvas[n : n + 3], "little") + 1 for n in (12, 15))
            check_unpacked("a WebP", width, height, width * height * 4)
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


def bare_avif(data: bytes) -> tuple[bytes, bytes]:
    """Return an AVIF with its primary picture only, and EXIF data with its orientation.

    Transparency, previews, profiles and animations are dropped. Size and depth come from the AV1
    data, which a decoder follows. Raises TooCostly for a picture of several tiles, layers or
    frames, and TooManyPixels.
    """
    meta = boxes(next((body for name, body in each_box(data) if name == b"meta"), b"")[4:])
    primary = int.from_bytes(meta.get(b"pitm", b"")[4:], "big")
    start, length = extent(meta.get(b"iloc", b""), primary)
    coded = data[start : start + length]
    width, height, depth, channels = av1_size(coded)
    check_unpacked("an AVIF", width, height, int(width * height * channels * (1 + (depth > 8))))
    properties = properties_of(meta.get(b"iprp", b""), primary)
    kept = [(b"ispe", bytes(4) + struct.pack(">II", width, height))]
    kept += [(b"av1C", body[:4]) for name, body in properties if name == b"av1C"][:1]
    kept += [
        (b"colr", body[:11]) for name, body in properties if name == b"colr" and body[:4] == b"nclx"
    ][:1]
    turns = {name: body[0] for name, body in properties if name in {b"irot", b"imir"} and body}
    mirror = turns[b"imir"] & 1 if b"imir" in turns else None
    turn = ORIENTATIONS[mirror][turns.get(b"irot", 0) & 3]
    entry = struct.pack(">HHHIHxx", 1, ORIENTATION, SHORT, 1, turn)
    return avif_of(coded, kept), b"MM\0*\0\0\0\x08" + entry if turn != 1 else b""


def avif_of(coded: bytes, properties: list[tuple[bytes, bytes]]) -> bytes:
    """Return an AVIF of one picture, coded as AV1, with its properties."""
    uses = b"".join(bytes([0x80 | n]) for n in range(1, len(properties) + 1))
    association = bytes(4) + struct.pack(">IHB", 1, 1, len(properties)) + uses
    about = box(b"ipco", *(box(*each) for each in properties)) + box(b"ipma", association)
    entry = box(b"infe", b"\2\0\0\0", struct.pack(">HH", 1, 0), b"av01\0")
    before = b"".join(
        [
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), struct.pack(">H", 1)),
            box(b"iinf", bytes(4), struct.pack(">H", 1), entry),
            box(b"iprp", about),
        ]
    )
    head = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")
    # iloc holds the offset of the picture: after meta, which iloc ends, and the header of mdat.
    start = len(head) + 12 + len(before) + 30 + 8
    place = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, start, len(coded))
    meta = box(b"meta", bytes(4), before, box(b"iloc", bytes(4), place))
    return head + meta + box(b"mdat", coded)


def box(name: bytes, *parts: bytes) -> bytes:
    """Return a box of an ISO file."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def each_box(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and body of each box, also of a last one that is cut off.

    Raises TooCostly for more than MOST_BOXES.
    """
    at, count = 0, 0
    while at + 8 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = at + 8
        if length == 1:
            length, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        end = at + length if length else len(data)
        if end < body:  # damaged; a decoder would continue elsewhere
            return
        yield name, data[body:end]
        at, count = end, count + 1
        if count > MOST_BOXES:
            raise TooCostly(f"The AVIF has over {MOST_BOXES} boxes, more than the limit. {RESAVE}")


def boxes(data: bytes) -> dict[bytes, bytes]:
    """Return the first box of each name."""
    found: dict[bytes, bytes] = {}
    for name, body in each_box(data):
        found.setdefault(name, body)
    return found


def number(stream: io.BytesIO, length: int) -> int:
    """Read a big-endian number of this many bytes."""
    return int.from_bytes(stream.read(length), "big")


def extent(body: bytes, item: int) -> tuple[int, int]:
    """Return the offset and length of an item; body: that of the iloc box.

    Raises TooCostly unless the item is stored in one piece.
    """
    stream = io.BytesIO(body)
    version, sizes = number(stream, 4) >> 24, number(stream, 2)
    offset_size, length_size, base_size, index_size = (sizes >> n & 15 for n in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    before = index_size if version else 0
    for _ in range(min(number(stream, wide), MOST_BOXES)):
        owner, method = number(stream, wide), number(stream, 2) & 15 if version else 0
        stream.read(2)
        base, count = number(stream, base_size), number(stream, 2)
        pieces = io.BytesIO(stream.read(count * (before + offset_size + length_size)))
        if owner == item and count == 1 and method == 0:
            pieces.read(before)
            return base + number(pieces, offset_size), number(pieces, length_size)
    raise TooCostly(f"The AVIF's picture is not in one piece. {RESAVE}")


def properties_of(body: bytes, item: int) -> list[tuple[bytes, bytes]]:
    """Return the name and body of each property of an item; body: that of the iprp box."""
    held = boxes(body)
    known = list(each_box(held.get(b"ipco", b"")))
    stream = io.BytesIO(held.get(b"ipma", b""))
    flags = number(stream, 4)
    size, mask = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
    for _ in range(min(number(stream, 4), MOST_BOXES)):
        owner, count = number(stream, 4 if flags >> 24 else 2), number(stream, 1)
        listed = io.BytesIO(stream.read(count * size))
        if owner == item:
            indices = [number(listed, size) & mask for _ in range(count)]
            return [known[index - 1] for index in indices if 0 < index <= len(known)]
    return []


def av1_size(coded: bytes) -> tuple[int, int, int, float]:
    """Return width, height, bits and channels of a still picture of AV1; raises TooCostly.

    channels: 1 for grey, 1.5 to 3 for colour. Only the reduced header of a still picture is
    accepted, because it fixes the size of its one frame.
    """
    at, units, frames = 0, 0, 0
    size = None
    while at < len(coded) and units < ENOUGH_UNITS:
        head = coded[at]
        kind, at = head >> 3 & 15, at + 1 + (head >> 2 & 1)
        length = len(coded) - at
        if head & 2:
            length, at = leb128(coded, at)
        if kind == SEQUENCE and size is None:
            size = sequence(coded[at : min(at + length, at + 64)])
        elif kind == SEQUENCE:
            frames = 2  # a second header could announce a larger frame
        frames += kind in {FRAME, FRAME_HEADER}
        at, units = at + length, units + 1
    if size is None or frames > 1 or at < len(coded):
        raise TooCostly(f"The AVIF is not coded as one still picture. {RESAVE}")
    return size


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """Read a variable-length number of AV1; returns it and the offset after it."""
    value = 0
    for index in range(8):
        byte = data[at + index] if at + index < len(data) else 0
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, at + index + 1
    return value, at + 8


def sequence(body: bytes) -> tuple[int, int, int, float] | None:
    """Read an AV1 sequence header; returns None unless it is the reduced one of a still picture."""
    text = "".join(f"{byte:08b}" for byte in body) + "0" * 64
    at = 0

    def bits(count: int) -> int:
        nonlocal at
        at += count
        return int(text[at - count : at] or "0", 2)

    profile, _, is_short, _ = bits(3), bits(1), bits(1), bits(5)
    if not is_short:
        return None
    wide, high = bits(4) + 1, bits(4) + 1
    width, height = bits(wide) + 1, bits(high) + 1
    bits(6)  # flags of decoding tools
    depth = 10 if bits(1) else 8
    if profile == 2 and depth == 10 and bits(1):
        depth = 12
    if profile != 1 and bits(1):
        return width, height, depth, 1.0
    return width, height, depth, {0: 1.5}.get(profile, 3.0)


def check_unpacked(kind: str, width: int, height: int, unpacked: int) -> None:
    """Raise TooManyPixels for a picture with too many pixels or unpacked bytes."""
    if unpacked > MOST_UNPACKED or width * height > MOST_UNPACKED_PIXELS:
        raise TooManyPixels(
            f"The picture has {width} x {height} pixels, {unpacked / 1e6:.0f} MB unpacked; "
            f"{kind} may have at most {MOST_UNPACKED / 1e6:g} MB and "
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
