"""Make small pictures of every kind and damage them; a random.Random determines everything."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image as PillowImage

from bench.frames import portrait

INTERESTING = (0, 1, 2, 7, 8, 16, 63, 64, 127, 128, 255, 256, 1000, 32767, 32768, 65535)
HUGE = (2**16, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
MOST_BYTES = 60_000
PNG_START = 8
RIFF_START = 12


@cache
def pictures() -> tuple[bytes, ...]:
    """Return valid pictures in many formats: NASA's portrait, reduced, and a plain one."""
    face = PillowImage.fromarray(portrait()[40:210, 130:300]).resize((96, 96))
    plain = PillowImage.new("RGB", (17, 9), (200, 30, 90))
    exif = PillowImage.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    jpeg: list[dict[str, Any]] = [
        {},
        {"progressive": True},
        {"exif": exif},
        {"subsampling": 0, "quality": 30},
        {"optimize": True, "comment": b"comment"},
        {"restart_marker_rows": 1},
        {"icc_profile": bytes(500)},
    ]
    made = [saved(face, "JPEG", **options) for options in jpeg]
    made += [saved(face.convert(mode), "JPEG") for mode in ("L", "CMYK")]
    made += [saved(face, "MPO", save_all=True, append_images=[plain])]
    made += [saved(face.convert(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
    made += [saved(face, "PNG", exif=exif, icc_profile=bytes(500))]
    made += [saved(face, "PNG", save_all=True, append_images=[face.rotate(90)])]
    grey = np.asarray(face.convert("L")).astype(np.uint16) * 256
    colours = np.asarray(face).astype(np.uint16) * 256
    made += [cv2.imencode(".png", image)[1].tobytes() for image in (grey, colours)]
    made += [interlaced_png(13, 11)]
    made += [saved(face, "WEBP", **options) for options in ({}, {"lossless": True}, {"exif": exif})]
    made += [saved(face.convert("RGBA"), "WEBP")]
    made += [saved(plain, "WEBP", save_all=True, append_images=[plain.rotate(180)], duration=50)]
    made += [saved(plain, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    avif: list[dict[str, Any]] = [{}, {"subsampling": "4:4:4"}, {"subsampling": "4:0:0"}]
    avif += [{"exif": exif, "xmp": bytes(300), "icc_profile": bytes(500)}]
    made += [saved(face, "AVIF", **options) for options in avif]
    made += [saved(face.convert("RGBA"), "AVIF")]
    made += [saved(plain, "AVIF", save_all=True, append_images=[plain.rotate(180)])]
    made += [made[0][:-2], made[0][:-20], made[1][:-2]]  # JPEGs without their end
    made += [cv2.imencode(".png", image >> 6)[1].tobytes() for image in (grey, colours)]
    made += [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + made[0]]
    return tuple(made)


def saved(picture: PillowImage.Image, file_format: str, **options: Any) -> bytes:
    """Return a picture encoded in a format; options are passed to Pillow's save."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def interlaced_png(width: int, height: int) -> bytes:
    """Return a grey interlaced PNG (Adam7); each pass is x and y of its first pixel, and steps."""
    passes = (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8)),
        *((2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    )
    grey = np.arange(width * height, dtype=np.uint32).reshape(height, width).astype(np.uint8)
    rows = (row for x, y, dx, dy in passes for row in grey[y::dy, x::dx] if len(row))
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)


def flip(rng: random.Random, data: bytes) -> bytes:
    """Flip a few bits."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def overwrite(rng: random.Random, data: bytes) -> bytes:
    """Overwrite a random place, often near the start, with a number at which code tends to fail."""
    at = rng.randrange(min(len(data), rng.choice((40, 200, len(data)))))
    value = rng.choice(INTERESTING + HUGE)
    form = rng.choice(("B", ">H", "<H", ">I", "<I"))
    number = struct.pack(form, value % 256 ** struct.calcsize(form))
    return data[:at] + number + data[at + len(number) :]


def part(rng: random.Random, data: bytes) -> tuple[int, int]:
    """Return start and end of a random part of the data."""
    begin = rng.randrange(len(data))
    return begin, min(len(data), begin + rng.choice((1, 2, 4, 16, 64, 512, 4096)))


def duplicate(rng: random.Random, data: bytes) -> bytes:
    """Repeat a part."""
    begin, end = part(rng, data)
    return data[:end] + data[begin:end] * rng.choice((1, 1, 2, 20)) + data[end:]


def delete(rng: random.Random, data: bytes) -> bytes:
    """Delete a part."""
    begin, end = part(rng, data)
    return data[:begin] + data[end:]


def truncate(rng: random.Random, data: bytes) -> bytes:
    """Cut off the end."""
    return data[: rng.randrange(len(data))]


def insert(rng: random.Random, data: bytes) -> bytes:
    """Insert random bytes."""
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 2, 8, 100))) + data[at:]


def splice(rng: random.Random, data: bytes) -> bytes:
    """Replace the end by the end of another picture."""
    other = rng.choice(pictures())
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def pieces(data: bytes) -> list[bytes]:
    """Split a picture into the segments of a JPEG, chunks of a PNG or WebP, or boxes of an AVIF.

    A box starts four bytes before its name.
    """
    if data[4:8] == b"ftyp":
        names = (b"meta", b"pitm", b"iloc", b"iinf", b"iprp", b"ispe", b"av1C", b"ipma", b"mdat")
        cuts = sorted(data.find(name) - 4 for name in names if name in data)
    elif data.startswith(b"\xff\xd8"):
        cuts = [n for n in range(2, len(data) - 1) if data[n] == 0xFF and data[n + 1] >= 0xC0]
    else:
        png = data.startswith(b"\x89PNG")
        at, form, rest = (PNG_START, ">I", 12) if png else (RIFF_START, "<I", 8)
        cuts = []
        while at + 8 <= len(data):
            cuts.append(at)
            length = struct.unpack_from(form, data, at if png else at + 4)[0]
            at += length + rest + (0 if png else length % 2)
    ends = [*cuts, len(data)]
    return [data[begin:end] for begin, end in zip([0, *cuts], ends, strict=True)]


def rearrange(rng: random.Random, data: bytes) -> bytes:
    """Repeat, delete, swap or damage whole pieces; a damaged PNG chunk gets a valid checksum."""
    parts = pieces(data)
    at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    what = rng.choice(("repeat", "leave", "exchange", "spoil", "spoil"))
    if what == "repeat":
        parts[at:at] = [parts[at]] * rng.choice((1, 2, 100))
    elif what == "leave":
        del parts[at]
    elif what == "exchange":
        parts[at], parts[other] = parts[other], parts[at]
    elif parts[at]:
        spoilt = rng.choice((flip, overwrite))(rng, parts[at])
        if data.startswith(b"\x89PNG") and len(parts[at]) >= 12:
            body = rng.choice((flip, overwrite, duplicate))(rng, parts[at][8:-4] or b"\0")
            spoilt = png_chunk(parts[at][4:8], body)
        parts[at] = spoilt
    return b"".join(parts)


def resize(rng: random.Random, data: bytes) -> bytes:
    """Change the size in the header."""
    width, height = (rng.choice((*INTERESTING, *(range(1, 300)))) for _ in range(2))
    if rng.random() < 0.1:
        width = rng.choice(HUGE)
    if data.startswith(b"\x89PNG") and len(data) > 33:
        header = struct.pack(">II", width, height) + data[24:29]
        return data[:8] + png_chunk(b"IHDR", header) + data[33:]
    if data.startswith(b"\xff\xd8"):
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        sides = struct.pack(">HH", height % 65536, width % 65536)
        return data[: at + 5] + sides + data[at + 9 :] if at > 0 else data
    if (at := data.find(b"ispe")) > 0:
        mdat = data.find(b"mdat") + 4  # in which the coded size follows in a few bits
        data = data[: at + 8] + struct.pack(">II", width, height) + data[at + 16 :]
        return data[: mdat + 5] + rng.randbytes(4) + data[mdat + 9 :]
    at = data.find(b"VP8X")
    if at > 0:
        sides = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
        return data[: at + 12] + sides + data[at + 18 :]
    return data[:26] + struct.pack("<HH", width % 16384, height % 16384) + data[30:]


GENERAL: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(flip, flip, overwrite, overwrite, duplicate, delete, truncate, insert, splice),
)
OF_PICTURES = (*GENERAL, rearrange, rearrange, resize)


def spoil(
    rng: random.Random,
    data: bytes,
    ways: tuple[Callable[[random.Random, bytes], bytes], ...] = GENERAL,
) -> bytes:
    """Damage data in one or more ways."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        data = rng.choice(ways)(rng, data)[:MOST_BYTES] or b"\0"
    return data


def picture(rng: random.Random) -> bytes:
    """Return a picture that is usually damaged."""
    data = rng.choice(pictures())
    return data if rng.random() < 0.05 else spoil(rng, data, OF_PICTURES)
