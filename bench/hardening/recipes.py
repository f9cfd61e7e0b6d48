"""Describe inputs by "genes", which a search can change.

A recipe contains only the genes that differ from DEFAULTS. `build` turns it into bytes. The same
recipe always gives the same bytes, and any values of the genes give an input.
"""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import TypeAlias

import numpy as np
from PIL import Image as PillowImage

from bench.frames import portrait
from bench.hardening.bombs import (
    LARGEST,
    behind_start,
    chunk,
    crowded_directory,
    many_scans,
    resized,
    segment,
)
from bench.hardening.inputs import HANDSHAKE, frame
from bench.hardening.mutations import saved
from model.headers import box

Recipe: TypeAlias = Mapping[str, int | str]

# The values of each gene: a list of words, or the least and greatest number.
WORDS: dict[str, tuple[str, ...]] = {
    "way": ("body", "form", "fields", "json", "chunks", "stream", "get"),
    "format": ("jpeg", "png", "webp", "avif", "none"),
    "content": ("plain", "noise", "faces"),
    "jpeg": ("baseline", "progressive", "arithmetic", "cmyk", "12-bit", "scans"),
    "png": ("grey", "bits", "palette", "grey16", "alpha", "rgb", "rgba", "rgb16", "rgba16"),
    "interlaced": ("", "true"),
    "webp": ("lossless", "lossy", "animated", "canvas"),
    "avif": ("4:2:0", "4:4:4", "4:0:0"),
    "extra": (
        *("", "fill", "APP1", "COM", "DHT", "DQT", "DRI", "ICC", "exif", "mpf"),
        *("iCCP", "tEXt", "zTXt", "iTXt", "eXIf", "IDAT", "PLTE", "sPLT", "fdAT", "IEND"),
        *("ICCP", "XMP", "ALPH", "ANMF"),
    ),
    "extra_data": ("zeros", "noise", "packed"),
    "detector": ("", "yunet", "haar", "ssd"),
    "min_confidence": ("", "0", "0.01", "0.5", "1"),
    "annotate": ("", "true"),
    "part": (
        *("field", "file", "line", "nested", "escaped"),
        *("ping", "pong", "text", "empty", "tiny", "large"),
    ),
    "header": (
        *("X", "Accept", "Accept-Language", "Cookie", "If-None-Match", "If-Match", "Range"),
        *("Content-Type", "X-Forwarded-For", "Forwarded", "Origin", "Authorization", "Connection"),
    ),
    "path": ("/metrics", "/openapi.json", "/docs", "/model", "/static/main.js", "/", "/nowhere"),
}
RANGES: dict[str, tuple[int, int]] = {
    "width": (1, 65_535),
    "height": (1, 65_535),
    "tile": (24, 512),
    "quality": (1, 100),
    "scans": (1, 3_000),
    "filter": (0, 4),
    "turned": (1, 8),
    "frames": (1, 2_000),
    "extras": (0, 1_000_000),
    "extra_bytes": (0, LARGEST),
    "kept_percent": (1, 100),
    "parts": (0, 1_000_000),
    "part_bytes": (0, LARGEST),
    "headers": (0, 120),
    "header_bytes": (0, 8_000),
    "parameters": (0, 1_000),
    "messages": (1, 4),
    "requests": (1, 200),
}
DEFAULTS: dict[str, int | str] = {
    **{name: words[0] for name, words in WORDS.items()},
    **{name: least for name, (least, _) in RANGES.items()},
    "width": 64,
    "height": 64,
    "tile": 96,
    "quality": 60,
    "kept_percent": 100,
}
# The genes that have an effect; only these are changed by the search and part of a recipe.
SIZE = ("width", "height", "content", "turned", "kept_percent")
OF_FORMAT: dict[str, tuple[str, ...]] = {
    "jpeg": ("jpeg", "quality", "scans", *SIZE, "extra"),
    "png": ("png", "interlaced", "filter", *SIZE, "extra"),
    "webp": ("webp", "quality", "frames", *SIZE, "extra"),
    "avif": ("avif", "quality", *SIZE, "extra"),
    "none": ("kept_percent", "extra"),
}
QUERY = ("format", "detector", "min_confidence", "annotate")
HEAD = ("header", "headers", "header_bytes", "parameters")
OF_WAY: dict[str, tuple[str, ...]] = {
    "body": (*QUERY, *HEAD),
    "chunks": (*QUERY, *HEAD, "parts"),
    "form": (*QUERY, *HEAD, "part", "parts", "part_bytes"),
    "json": (*QUERY, *HEAD, "part", "parts", "part_bytes"),
    "fields": (*QUERY, *HEAD, "part", "parts", "part_bytes"),
    "stream": (*QUERY, "part", "parts", "part_bytes", "messages"),
    "get": (*HEAD, "path", "requests"),
}
MOST_DRAWN = 51_000_000  # pixels; a larger picture is refused, so only its header is made
LONGEST_DRAWN = 65_500  # pixels of a side, the limit of JPEG encoders
MOST_ENCODED = 18_000_000  # pixels of an AVIF, the most that are decoded
MOST_ROWS = 220_000_000  # bytes of a PNG before compression


@dataclass(frozen=True)
class Sent:
    """Data for one connection; in a stream, the worker must be idle before the next part."""

    parts: tuple[bytes, ...]
    stream: bool = False

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(map(len, self.parts))


def build(recipe: Recipe) -> Sent:
    """Return the data that a recipe describes."""
    genes = {**DEFAULTS, **recipe}
    way = genes["way"]
    lines = head_lines(genes)
    if way == "get":
        asked = [f"GET {target(str(genes['path']), genes)} HTTP/1.1", "Host: a", *lines, "", ""]
        return Sent(("\r\n".join(asked).encode() * number(genes, "requests"),))
    names = (name for name in active(genes) if name not in OF_WAY[str(way)])
    picture = picture_of(tuple((name, genes[name]) for name in ("format", *names)))
    if way == "stream":
        head = f"GET {target('/stream', genes)} HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\n"
        rng = random.Random(0)  # noqa: S311 (the same each time)
        message = frame(rng, 2, picture)
        return Sent(
            (head.encode(), flood(genes), *repeat(message, number(genes, "messages"))), stream=True
        )
    kind, body = "image/jpeg", picture
    if way == "form":
        kind, body = "multipart/form-data; boundary=b", form(genes, picture)
    elif way == "json":
        kind, body = "application/json", json_body(genes, picture)
    elif way == "fields":
        kind, body = "application/x-www-form-urlencoded", fields(genes, picture)
    if way == "chunks":
        step = max(1, -(-len(body) // max(1, number(genes, "parts"))))
        cut = (body[at : at + step] for at in range(0, len(body), step))
        body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in cut) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(body)}")
    path = target("/predict", genes)
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", *lines, "", ""]
    return Sent(("\r\n".join(lines).encode() + body,))


# The item that is repeated in the value of each header.
ITEMS = {
    "Accept": "a/b;q=0.1,",
    "Accept-Language": "aa;q=0.1,",
    "Cookie": "a=b;",
    "If-None-Match": '"a",',
    "If-Match": 'W/"a",',
    "Range": "0-1,",
    "Content-Type": ";a*0=b",
    "X-Forwarded-For": "1.2.3.4,",
    "Forwarded": "for=a,",
    "Connection": "a,",
}


def head_lines(genes: Mapping[str, int | str]) -> list[str]:
    """Return header lines with the same name, each with a list of header_bytes."""
    name = str(genes["header"])
    item = ITEMS.get(name, "x")
    value = item * (number(genes, "header_bytes") // len(item))
    first = {"Range": "bytes=", "Content-Type": "multipart/form-data"}.get(name, "")
    many = number(genes, "headers")
    return [f"{f'X-{n}' if name == 'X' else name}: {first}{value}" for n in range(many)]


def number(genes: Mapping[str, int | str], name: str) -> int:
    """Return the value of a numeric gene."""
    return int(genes[name])


def target(path: str, genes: Mapping[str, int | str]) -> str:
    """Return the path with its query."""
    names = {
        "/predict": ("detector", "min_confidence", "annotate"),
        "/stream": ("detector", "min_confidence"),
    }.get(path, ())
    pairs = [f"{name}={genes[name]}" for name in names if genes[name]]
    pairs += [f"a{n}=1" for n in range(number(genes, "parameters"))]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def times(genes: Mapping[str, int | str], name: str, each: bytes, room: int = LARGEST) -> bytes:
    """Repeat bytes as often as a gene says, within the size limit."""
    return each * min(number(genes, name), max(0, room) // max(1, len(each)))


def form(genes: Mapping[str, int | str], picture: bytes) -> bytes:
    """Return a form with the picture after other fields, files or header lines."""
    padding = b"x" * min(number(genes, "part_bytes"), LARGEST)
    room = LARGEST - len(picture) - 200
    field = b'--b\r\nContent-Disposition: form-data; name="a"%b\r\n\r\n' + padding + b"\r\n"
    part = genes["part"]
    lines = times(genes, "parts", b"X-A: " + padding + b"\r\n", room) if part == "line" else b""
    name = b'; filename="a"' if part == "file" else b""
    before = b"" if part == "line" else times(genes, "parts", field % name, room)
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
    return before + head + lines + b"\r\n" + picture + b"\r\n--b--\r\n"


def json_body(genes: Mapping[str, int | str], picture: bytes) -> bytes:
    """Return JSON with the picture after other members, or with padded base64."""
    text = base64.b64encode(picture + bytes(min(number(genes, "part_bytes"), LARGEST * 3 // 4)))
    text = text[: LARGEST - 100]
    kinds = {"line": b"\n", "nested": b'"a":[[[[[[]]]]]],', "escaped": b'"\\u0061":[],'}
    each = kinds.get(str(genes["part"]), b'"a":1,')
    return (
        b"{" + times(genes, "parts", each, LARGEST - 100 - len(text)) + b'"image":"' + text + b'"}'
    )


def fields(genes: Mapping[str, int | str], picture: bytes) -> bytes:
    """Return a form without files: the picture as base64, maybe escaped, behind other fields."""
    text = base64.b64encode(picture + bytes(min(number(genes, "part_bytes"), LARGEST * 3 // 4)))
    if genes["part"] == "escaped":
        text = b"".join(b"%%%02x" % each for each in text[: LARGEST // 3 - 100])
    text = text[: LARGEST - 100]
    return times(genes, "parts", b"a=1&", LARGEST - 100 - len(text)) + b"image=" + text


def flood(genes: Mapping[str, int | str]) -> bytes:
    """Return the frames that a stream sends before its pictures."""
    rng = random.Random(0)  # noqa: S311 (the same each time)
    data = bytes(min(number(genes, "part_bytes"), LARGEST - 14))
    part = genes["part"]
    if part in {"ping", "pong"}:
        return times(genes, "parts", frame(rng, 9 if part == "ping" else 10, data[:125]))
    if part in {"empty", "tiny"}:
        pieces = times(genes, "parts", frame(rng, 0, data[: part == "tiny"], last=False))
        return frame(rng, 2, b"", last=False) + pieces + frame(rng, 0, b"") if pieces else b""
    return times(genes, "parts", frame(rng, 1 if part == "text" else 2, data))


@lru_cache(24)
def picture_of(chosen: tuple[tuple[str, int | str], ...]) -> bytes:
    """Return a picture; chosen: its genes as pairs."""
    genes = {**DEFAULTS, **dict(chosen)}
    make = {"jpeg": jpeg, "png": png, "webp": webp, "avif": avif}.get(str(genes["format"]))
    data = make(genes) if make else extra(genes)
    return data[: max(1, min(LARGEST - 20_000, len(data) * number(genes, "kept_percent") // 100))]


def drawn(genes: Mapping[str, int | str], width: int, height: int) -> PillowImage.Image:
    """Return a picture of tiles that are plain, noise or faces."""
    side = number(genes, "tile")
    if genes["content"] == "faces":
        face = PillowImage.fromarray(portrait()[40:210, 130:300])
        tile = np.asarray(face.resize((side, side)))
    elif genes["content"] == "noise":
        tile = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    else:
        return PillowImage.new("RGB", (width, height), (77, 77, 77))
    tiled = np.tile(tile, (-(-height // side), -(-width // side), 1))[:height, :width]
    return PillowImage.fromarray(np.ascontiguousarray(tiled))


def sides(genes: Mapping[str, int | str]) -> tuple[int, int, bool]:
    """Return width, height, and whether the pixels are drawn (see MOST_DRAWN)."""
    width, height = number(genes, "width"), number(genes, "height")
    return width, height, width * height <= MOST_DRAWN and max(width, height) <= LONGEST_DRAWN


def filler(genes: Mapping[str, int | str], most: int) -> bytes:
    """Return the content of an extra piece: zeros, noise, or 1000 times as many packed zeros."""
    length = min(number(genes, "extra_bytes"), most)
    if genes["extra_data"] == "packed":
        return zlib.compress(bytes(min(length * 1000, 20_000_000)), 9)[:most]
    if genes["extra_data"] == "noise":
        return random.Random(0).randbytes(length)  # noqa: S311 (the same each time)
    return bytes(length)


def turn(genes: Mapping[str, int | str]) -> bytes:
    """Return the piece of a picture with its EXIF orientation; empty if it is upright."""
    if genes["turned"] == 1:
        return b""
    exif = b"MM\0\x2a\0\0\0\x08\0\1" + struct.pack(">HHIHxx", 0x0112, 3, 1, genes["turned"])
    exif += bytes(4)
    if genes["format"] == "jpeg":
        return segment(0xE1, b"Exif\0\0" + exif)
    return chunk(b"eXIf", exif) if genes["format"] == "png" else riff(b"EXIF", exif)


def riff(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a WebP."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def extra(genes: Mapping[str, int | str]) -> bytes:
    """Return the extra pieces between a picture's header and its pixels."""
    name = str(genes["extra"])
    if not name or not genes["extras"]:
        return b""
    if name == "fill":
        return b"\xff" * min(number(genes, "extras"), LARGEST - 100_000) + b"\0"
    if genes["format"] in {"jpeg", "none"}:
        exif = crowded_directory(min(number(genes, "extras"), 5_000), 64_000)[:65_000]
        known = {
            "APP1": (0xE1, b"Exif\0\0" + filler(genes, 65_000)),
            "COM": (0xFE, filler(genes, 65_000)),
            "DHT": (0xC4, bytes([0, 1] + [0] * 15 + [0]) * max(1, len(filler(genes, 3_000)))),
            "DQT": (0xDB, (bytes(1) + bytes([1]) * 64) * max(1, len(filler(genes, 900)))),
            "DRI": (0xDD, bytes(2)),
            "ICC": (0xE2, b"ICC_PROFILE\0\1\xff" + filler(genes, 65_000)),
            "exif": (0xE1, b"Exif\0\0" + exif),
            "mpf": (0xE2, b"MPF\0" + exif),
        }
        marker, body = known.get(name, (0xEF, filler(genes, 65_000)))
        return times(genes, "extras", segment(marker, body), LARGEST - 200_000)
    if genes["format"] == "png":
        heads = {"iCCP": b"x\0\0", "zTXt": b"x\0\0", "tEXt": b"x\0", "iTXt": b"x\0\1\0\0\0"}
        body = filler(genes, LARGEST - 200_000)
        if name in {"exif", "eXIf"}:
            name, body = "eXIf", crowded_directory(20_000, max(240_010, len(body)))
        each = chunk((name.encode() + b"aaaa")[:4], heads.get(name, b"") + body)
        return times(genes, "extras", each, LARGEST - 200_000)
    if genes["format"] == "avif":
        each = box((name.encode() + b"aaaa")[:4], filler(genes, LARGEST - 200_000))
        return times(genes, "extras", each, LARGEST - 200_000)
    body = filler(genes, LARGEST - 200_000)
    name = {"exif": "EXIF"}.get(name, name.ljust(4))[:4]
    return times(genes, "extras", riff(name.encode(), body), LARGEST - 200_000)


def jpeg(genes: Mapping[str, int | str]) -> bytes:
    """Return a JPEG of one of its kinds."""
    width, height, draws = sides(genes)
    kind = genes["jpeg"]
    if kind == "scans":
        data = many_scans(width, height, number(genes, "scans")) if draws else many_scans(64, 64, 1)
        return behind_start(data, turn(genes) + extra(genes))
    inner = drawn(genes, width, height) if draws else drawn(genes, 64, 64)
    options = {"quality": number(genes, "quality"), "progressive": kind == "progressive"}
    data = saved(inner.convert("CMYK") if kind == "cmyk" else inner, "JPEG", **options)
    if kind == "arithmetic":
        data = data.replace(b"\xff\xc0", b"\xff\xc9", 1)
    elif kind == "12-bit":
        data = data.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c", 1)
    elif not draws:
        data = resized(data, width, height)
    return behind_start(data, turn(genes) + extra(genes))


def pixels_of(genes: Mapping[str, int | str], length: int) -> bytes:
    """Return a row of pixels of a length in bytes."""
    if genes["content"] == "plain":
        return bytes(length)
    return np.resize(np.asarray(drawn(genes, 512, 1)), length).astype(np.uint8).tobytes()


# The passes of an interlaced PNG: x and y of the first pixel, and the steps to the next ones.
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8)),
    *((2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def png(genes: Mapping[str, int | str]) -> bytes:
    """Return a PNG in which all rows are equal."""
    width, height, draws = sides(genes)
    colour, depth, samples = {
        "grey": (0, 8, 1),
        "bits": (0, 1, 1),
        "palette": (3, 8, 1),
        "grey16": (0, 16, 1),
        "alpha": (4, 8, 2),
        "rgb": (2, 8, 3),
        "rgba": (6, 8, 4),
        "rgb16": (2, 16, 3),
        "rgba16": (6, 16, 4),
    }[str(genes["png"])]
    passes = ADAM7 if genes["interlaced"] else ((0, 0, 1, 1),)
    packer, packed, room = zlib.compressobj(1), [], MOST_ROWS
    for x, y, across, down in passes:
        length = -(-max(0, -(-(width - x) // across)) * depth * samples // 8)
        row = bytes([number(genes, "filter")]) + pixels_of(genes, length)
        rows = max(0, -(-(height - y) // down)) if draws and length else 0
        rows = min(rows, room // len(row) + 1)
        room = max(0, room - rows * len(row))
        for begin in range(0, rows, band := max(1, 1_000_000 // len(row))):
            packed.append(packer.compress(row * min(band, rows - begin)))
    pixels = b"".join([*packed, packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, bool(genes["interlaced"]))
    chunks = [chunk(b"IHDR", header)]
    chunks += [chunk(b"PLTE", bytes(768))] if colour == 3 else []
    chunks += [turn(genes), extra(genes), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def plain_vp8l(width: int, height: int) -> bytes:
    """Return the chunk of a lossless WebP with pixels of zero bits: each code has one symbol."""
    bits = "".join(
        format(value, f"0{length}b")[::-1]
        for value, length in (
            *((0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3)),
            *((0, 1), (0, 1), (0, 1)),  # no transform, no colour cache, one group of codes
            *((1, 1), (0, 1), (1, 1), (77, 8)) * 4,  # green, red, blue, alpha
            *((1, 1), (0, 1), (0, 1), (0, 1)),  # distance
        )
    )
    bits = bits.ljust(-(-len(bits) // 16) * 16, "0")
    data = int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")
    return riff(b"VP8L", data)


def webp(genes: Mapping[str, int | str]) -> bytes:
    """Return a WebP; the pictures of an animation are all plain."""
    width, height, draws = sides(genes)
    kind = genes["webp"]
    limited = (min(width, 16_383), min(height, 16_383))
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    pieces = extra(genes)
    flags = 2 if kind == "animated" else 0
    flags |= {"ICCP": 0x20, "exif": 8, "XMP": 4}.get(str(genes["extra"]), 0)
    inner = plain_vp8l(*limited)
    if kind == "animated":
        at = (
            bytes(6) + struct.pack("<I", limited[0] - 1)[:3] + struct.pack("<I", limited[1] - 1)[:3]
        )
        shown = at + bytes([50, 0, 0, 0]) + inner
        inner = riff(b"ANIM", bytes(6)) + riff(b"ANMF", shown) * number(genes, "frames")
    elif kind == "lossy" or (kind == "lossless" and genes["content"] != "plain"):
        size = limited if draws else (64, 64)
        options = {"quality": number(genes, "quality"), "lossless": kind == "lossless", "method": 0}
        inner = saved(drawn(genes, *size), "WEBP", **options)[12:]
    elif kind == "canvas":
        inner = plain_vp8l(64, 64)
    if inner.startswith(b"VP8X"):
        inner = inner[18:]
    turned = turn(genes)
    flags |= 8 if turned else 0
    if flags or pieces or kind == "canvas":
        inner = riff(b"VP8X", bytes([flags, 0, 0, 0]) + canvas) + pieces + inner + turned
    return riff(b"RIFF", b"WEBP" + inner)


def avif(genes: Mapping[str, int | str]) -> bytes:
    """Return an AVIF, with boxes behind it; one of too many pixels to encode is small."""
    width, height, draws = sides(genes)
    size = (width, height) if draws and width * height <= MOST_ENCODED else (64, 64)
    exif = PillowImage.Exif()
    exif[0x0112] = genes["turned"]
    options = {"quality": number(genes, "quality"), "subsampling": genes["avif"], "speed": 10}
    return saved(drawn(genes, *size), "AVIF", exif=exif, **options) + extra(genes)


def mutated(rng: random.Random, recipe: Recipe, other: Recipe) -> Recipe:
    """Change a few genes, or take some from another recipe; genes equal to DEFAULTS are omitted."""
    genes = {**DEFAULTS, **recipe}
    if rng.random() < 0.15:
        genes |= {n: v for n, v in {**DEFAULTS, **other}.items() if rng.random() < 0.3}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        names = active(genes)
        asked = [name for name in names if name in QUERY]
        # Choose the few genes of the query more often than by chance.
        name = rng.choice(asked if asked and rng.random() < 0.25 else names)
        if name in WORDS:
            genes[name] = rng.choice([word for word in WORDS[name] if word != genes[name]])
            continue
        least, most = RANGES[name]
        value = number(genes, name)
        steps = (value * 2, value * 10, value // 2, value + 1, value - 1, least, most, most)
        anywhere = round(most ** rng.random())
        genes[name] = min(most, max(least, rng.choice((*steps, anywhere, anywhere, anywhere))))
    return {name: genes[name] for name in active(genes) if genes[name] != DEFAULTS[name]}


def active(genes: Recipe) -> tuple[str, ...]:
    """Return the names of the genes that have an effect."""
    names = ["way", *OF_WAY[str(genes["way"])]]
    if "format" in names:
        names += OF_FORMAT[str(genes["format"])]
    if genes["content"] == "plain":
        names = [name for name in names if name != "quality"]
    elif "content" in names:
        names.append("tile")
    if "extra" in names and genes["extra"]:
        names += ["extras", "extra_bytes", "extra_data"]
    return tuple(names)


def recipe_of(text: str) -> Recipe:
    """Parse a recipe of the form `gene=value gene=value`; raises ValueError if it is invalid."""
    recipe: dict[str, int | str] = {}
    for pair in text.split():
        name, _, value = pair.partition("=")
        if name in RANGES:
            least, most = RANGES[name]
            recipe[name] = min(most, max(least, int(value)))
        elif value in WORDS.get(name, ()):
            recipe[name] = value
        else:
            genes = ", ".join((*WORDS, *RANGES))
            raise ValueError(f"'{pair}' is not a valid gene=value; genes are {genes}")
    return recipe


def text_of(recipe: Recipe) -> str:
    """Format a recipe so that recipe_of() can parse it."""
    return " ".join(f"{name}={value}" for name, value in recipe.items())


# The costliest inputs of every kind found so far, and two cheap ones.
LARGE = "format=webp width=16383 height=3050"
SEEDS: dict[str, Recipe] = {
    name: recipe_of(text)
    for name, text in {
        "small JPEG": "",
        "portrait": "content=faces width=640 height=480",
        "JPEG of fill bytes": "extra=fill extras=200000",
        "haar": "format=webp width=2560 height=2560 content=faces detector=haar",
        "PNG of profiles": (
            "format=png extra=iCCP extras=10000 extra_bytes=1000 extra_data=packed"
        ),
        "WebP without bytes": f"{LARGE} min_confidence=0",
        "annotated": f"{LARGE} annotate=true",
        "many scans": "jpeg=scans scans=63 width=7000 height=7000 min_confidence=0",
        "pings": "way=stream part=ping parts=170000",
        "tiny pieces": "way=stream part=tiny parts=140000 part_bytes=1",
        "large messages": "way=stream part=large parts=1 part_bytes=9900000 messages=2",
        "nested JSON": "way=json part=nested parts=1000000",
        "all faces of a tiny WebP": "format=webp min_confidence=0",
        "deep PNG": (
            "format=png png=grey16 width=7000 height=7000 interlaced=true turned=6 "
            "annotate=true min_confidence=0"
        ),
        "wide PNG": (
            "format=png png=rgb width=8000 height=6200 filter=4 content=noise turned=6 "
            "annotate=true min_confidence=0"
        ),
        "progressive JPEG": (
            "jpeg=progressive width=7000 height=7000 content=faces tile=24 quality=5 "
            "annotate=true min_confidence=0"
        ),
        "CMYK": "jpeg=cmyk width=8000 height=6200 turned=6 annotate=true min_confidence=0",
        "animation": "format=webp webp=animated frames=2000 width=16383 height=3050 annotate=true",
        "empty chunks": "format=png extra=sPLT extras=800000",
        "haar in a stream": (
            "way=stream format=webp width=2560 height=2560 content=faces detector=haar"
        ),
        "texts": "way=stream part=text parts=100000 part_bytes=1",
        "JSON of 10 MB": "way=json part_bytes=7400000",
        "form of 100,000 fields": "way=form parts=100000",
        "form of 100,000 lines": "way=form part=line parts=100000",
        "many chunks": "way=chunks parts=1000000 width=1000 height=1000",
        "AVIF": "format=avif content=faces width=640 height=480",
        "noisy AVIF": (
            "format=avif avif=4:4:4 width=3000 height=2400 content=noise tile=512 quality=75 "
            "turned=6 annotate=true min_confidence=0"
        ),
        "plain AVIF": "format=avif width=4000 height=4400 turned=6 annotate=true min_confidence=0",
        "AVIF of boxes": "format=avif extra=COM extras=1000000",
        "JPEG that is cut off": (
            "width=7000 height=7000 content=faces tile=24 kept_percent=80 annotate=true"
        ),
        "dark PNG": "format=png png=rgb16 width=3100 height=3100 turned=6 annotate=true",
        "fields": "way=fields parts=1 part_bytes=7400000",
        "escaped fields": "way=fields part=escaped part_bytes=1000000",
        "metrics": "way=get path=/metrics requests=100",
    }.items()
}
