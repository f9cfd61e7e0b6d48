"""Make small files that are expensive to decode, byte by byte."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image as PillowImage

from model.headers import PNG_START, box

LARGEST = 10_000_000  # bytes of a body, the service's default limit


def small(file_format: str = "JPEG", **options: object) -> bytes:
    """Return a picture of 32 x 32 pixels."""
    buffer = io.BytesIO()
    grey = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
    PillowImage.fromarray(grey).save(buffer, file_format, **options)
    return buffer.getvalue()


def plain(file_format: str, width: int, height: int, **options: object) -> bytes:
    """Return a picture of one colour."""
    buffer = io.BytesIO()
    PillowImage.new("RGB", (width, height), (77, 77, 77)).save(buffer, file_format, **options)
    return buffer.getvalue()


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG; data holds at most 65533 bytes."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def behind_start(jpeg: bytes, segments: bytes) -> bytes:
    """Insert segments after the first two bytes of a JPEG."""
    return jpeg[:2] + segments + jpeg[2:]


def frame_header(marker: int, width: int, height: int, bits: int = 8, components: int = 1) -> bytes:
    """Return the segment with a JPEG's size."""
    each = b"".join(bytes([n + 1, 0x11, 0]) for n in range(components))
    return segment(marker, struct.pack(">BHHB", bits, height, width, components) + each)


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """Change the size in a JPEG's header."""
    at = next(n for n in range(len(jpeg)) if jpeg[n] == 0xFF and jpeg[n + 1] in {0xC0, 0xC2})
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def many_scans(width: int, height: int, scans: int) -> bytes:
    """Return a progressive grey JPEG in which each scan says that all blocks are zero."""
    quantisation = segment(0xDB, bytes([0]) + bytes([1]) * 64)
    # One code of one bit: DC difference 0, and for AC the end of a run of 16384 or more blocks.
    dc = segment(0xC4, bytes([0x00, 1] + [0] * 15 + [0]))
    ac = segment(0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0]))
    blocks = -(-width // 8) * -(-height // 8)
    bands = -(-blocks // 16384)
    first = segment(0xDA, bytes([1, 1, 0x00, 0, 0, 0])) + bytes(-(-blocks // 8))
    bits = "0" + "0" * 14  # the code, and the number of further blocks
    packed = (bits * bands).ljust(-(-len(bits) * bands // 8) * 8, "1")
    data = int(packed, 2).to_bytes(len(packed) // 8, "big").replace(b"\xff", b"\xff\0")
    again = segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0])) + data
    header = frame_header(0xC2, width, height)
    return b"\xff\xd8" + quantisation + dc + ac + header + first + again * scans + b"\xff\xd9"


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(*chunks: bytes) -> bytes:
    """Insert chunks after the header of a PNG."""
    png = small("PNG")
    return png[:33] + b"".join(chunks) + png[33:]


def riff_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a WebP."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def riff(chunks: bytes) -> bytes:
    """Return a WebP of these chunks."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def sides(width: int, height: int) -> bytes:
    """Return width and height as encoded in a WebP."""
    return struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]


def animated_webp(width: int, height: int, frames: int = 1) -> bytes:
    """Return an animation of 32 x 32 pixels on a larger canvas."""
    frame = riff_chunk(b"ANMF", bytes(6) + sides(32, 32) + bytes(4) + small("WEBP")[12:])
    canvas = riff_chunk(b"VP8X", bytes([2, 0, 0, 0]) + sides(width, height))
    return riff(canvas + riff_chunk(b"ANIM", bytes(6)) + frame * frames)


def refined(width: int, height: int, components: int, passes: int) -> bytes:
    """Return a progressive JPEG in which each pass reads all values of a component."""
    quantisation = segment(0xDB, bytes([0]) + bytes([1]) * 64)
    codes = segment(0xC4, bytes([0x00, 1] + [0] * 15 + [0]))
    codes += segment(0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0]))
    blocks = -(-width // 8) * -(-height // 8)
    packed = ("0" * 15 * -(-blocks // 16384)).ljust(-(-15 * -(-blocks // 16384) // 8) * 8, "1")
    nothing = int(packed, 2).to_bytes(len(packed) // 8, "big").replace(b"\xff", b"\xff\0")
    jpeg = b"\xff\xd8" + quantisation + codes + frame_header(0xC2, width, height, 8, components)
    for name in range(1, components + 1):
        jpeg += segment(0xDA, bytes([1, name, 0, 0, 0, 0])) + bytes(-(-blocks // 8))
    for number in range(passes):
        level = 13 - number // components
        levels = 13 if level == 13 else (level + 1) << 4 | level
        jpeg += segment(0xDA, bytes([1, number % components + 1, 0, 1, 63, levels])) + nothing
    return jpeg + b"\xff\xd9"


def png(width: int, height: int, depth: int, colours: int, packed: bytes) -> bytes:
    """Return a PNG of these pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return PNG_START + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def predicted(width: int, height: int, depth: int, colours: int, bytes_each: int) -> bytes:
    """Return a PNG in which each byte must be predicted from three others (Paeth)."""
    row = b"\4" + bytes(range(64)) * (width * bytes_each // 64)
    rows = row.ljust(width * bytes_each + 1, b"\1") * height
    return png(width, height, depth, colours, zlib.compress(rows, 1))


def predicted_dark(width: int, height: int) -> bytes:
    """Return a PNG of 16 bits a colour whose values take eight of them, and so are looked at."""
    row = b"\0" + b"\0\x7f" * (3 * width)
    return png(width, height, 16, 2, zlib.compress(row * height, 1))


def cut(data: bytes, share: float) -> bytes:
    """Return the beginning of data."""
    return data[: int(len(data) * share)]


def noisy_avif(width: int, height: int) -> bytes:
    """Return an AVIF of full colours with as many bits as encoders spend."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    PillowImage.fromarray(noise).save(
        buffer, "AVIF", quality=75, speed=10, subsampling="4:4:4", max_threads=1
    )
    return buffer.getvalue()


def wide_webp(width: int, height: int) -> bytes:
    """Return a WebP of 32 x 32 pixels that claims a larger canvas."""
    return riff(riff_chunk(b"VP8X", bytes(4) + sides(width, height)) + small("WEBP")[12:])


def crowded_directory(entries: int, value: int) -> bytes:
    """Return EXIF data with many entries that all claim the same bytes as their value."""
    head = b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", entries)
    each = (struct.pack(">HHII", 0x8000 + n, 7, value, 8) for n in range(entries))
    directory = head + b"".join(each) + bytes(4)
    return directory.ljust(value + 8, b"\0")


def circular_directory() -> bytes:
    """Return EXIF data with a directory that contains itself and is its own successor."""
    entries = struct.pack(">HHII", 0x8769, 4, 1, 8) + struct.pack(">HHII", 0x0112, 3, 1, 6 << 16)
    return b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", 2) + entries + struct.pack(">I", 8)


def exif_jpeg(exif: bytes) -> bytes:
    """Return a JPEG with EXIF data, split into segments."""
    pieces = (exif[n : n + 65_000] for n in range(0, len(exif), 65_000))
    return behind_start(small(), b"".join(segment(0xE1, b"Exif\0\0" + each) for each in pieces))


def zeros(length: int) -> bytes:
    """Return compressed zeros."""
    return zlib.compress(bytes(length), 9)


def full(build: Callable[[int], bytes]) -> bytes:
    """Call build with the number of repetitions that fills the largest body."""
    once = len(build(1)) - len(build(0))
    return build((LARGEST - len(build(0))) // once)


BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG of 10 MB of 0xFF": lambda: b"\xff\xd8" + b"\xff" * (LARGEST - 3) + b"\0",
    "JPEG of endless quantisation tables": lambda: full(
        lambda n: behind_start(small(), segment(0xDB, (bytes([0]) + bytes([1]) * 64) * 1000) * n)
    ),
    "JPEG of endless junk": lambda: full(lambda n: behind_start(small(), b"\xff\0" * n)),
    "JPEG of 49 megapixels whose passes refine nothing": lambda: refined(7_000, 7_000, 3, 39),
    "JPEG of as many blocks as are read": lambda: refined(7_000, 7_000, 3, 11),
    "JPEG of as many blocks as are read, with extra bytes": lambda: (
        refined(7_000, 7_000, 3, 11)[:-2] + b"\xff\xd1" + b"\1\2\3" * 10 + b"\xff\xd9"
    ),
    "CMYK JPEG of as many pixels and blocks as are read": lambda: refined(3_870, 3_870, 4, 26),
    "PNG of endless profiles": lambda: full(
        lambda n: with_chunks(chunk(b"iCCP", b"x\0\0" + zeros(1_000_000)) * n)
    ),
    "PNG of endless profiles after its pixels": lambda: full(
        lambda n: (
            small("PNG")[:-12]
            + chunk(b"iCCP", b"x\0\0" + zeros(1_000_000)) * n
            + small("PNG")[-12:]
        )
    ),
    "PNG of 7,000 x 7,000 at 64 bits, predicted": lambda: predicted(7_000, 7_000, 16, 6, 8),
    "PNG of as many bytes as are read": lambda: predicted(4_240, 4_240, 8, 2, 3),
    "PNG of as many bytes as are read, 64 bits": lambda: predicted(2_730, 2_730, 16, 6, 8),
    "WebP with a canvas of 16,383 x 16,383": lambda: animated_webp(16_383, 16_383),
    "WebP of endless pictures": lambda: animated_webp(32, 32, 40_000),
    "JPEG of 60,000 x 60,000": lambda: resized(small(), 60_000, 60_000),
    "JPEG of 7,000 x 7,000 without pixels": lambda: resized(small(), 7_000, 7_000),
    "progressive JPEG of 7,000 x 7,000 without pixels": lambda: resized(
        small(progressive=True), 7_000, 7_000
    ),
    "JPEG of 65,500 x 1": lambda: resized(small(), 65_500, 1),
    "JPEG of 1 x 65,500": lambda: resized(small(), 1, 65_500),
    "JPEG of 0 x 0": lambda: resized(small(), 0, 0),
    "JPEG of endless scans": lambda: full(lambda n: many_scans(7_000, 7_000, n)),
    "JPEG of endless scans of few pixels": lambda: full(lambda n: many_scans(512, 512, n)),
    "JPEG of as many scans as are read": lambda: many_scans(3_000, 3_000, 63),
    "JPEG of 10 MB of comments": lambda: full(
        lambda n: behind_start(small(), segment(0xFE, bytes(65_533)) * n)
    ),
    "JPEG of endless empty comments": lambda: full(
        lambda n: behind_start(small(), segment(0xFE, b"") * n)
    ),
    "JPEG of endless Huffman tables": lambda: full(
        lambda n: behind_start(small(), segment(0xC4, bytes([0, 1] + [0] * 15 + [0]) * 3000) * n)
    ),
    "JPEG whose Huffman table has too many codes": lambda: behind_start(
        small(), segment(0xC4, bytes([0] + [255] * 16) + bytes(255 * 16))
    ),
    "JPEG of 10 MB of colour profile": lambda: full(
        lambda n: behind_start(small(), segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000)) * n)
    ),
    "arithmetic JPEG": lambda: small().replace(b"\xff\xc0", b"\xff\xc9"),
    "lossless JPEG": lambda: small().replace(b"\xff\xc0", b"\xff\xc3"),
    "JPEG of 12 bits": lambda: small().replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc1\0\x0b\x0c"),
    "JPEG with a crowded directory": lambda: exif_jpeg(crowded_directory(5_000, 64_000)),
    "JPEG with a crowded directory of 9 MB": lambda: exif_jpeg(
        crowded_directory(20_000, 9_000_000)
    ),
    "JPEG with a circular directory": lambda: exif_jpeg(circular_directory()),
    "JPEG with a crowded directory of pictures": lambda: behind_start(
        small(), segment(0xE2, b"MPF\0" + crowded_directory(5_000, 64_000))
    ),
    "PNG of 60,000 x 60,000": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0))
    ),
    "PNG of 50,000,000 x 1": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000_000, 1, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", zeros(50_000_000 // 8 + 1))
        + chunk(b"IEND", b"")
    ),
    "PNG of 1 x 50,000,000": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 50_000_000, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", zeros(100_000_000))
        + chunk(b"IEND", b"")
    ),
    "PNG of 7,000 x 7,000 at 64 bits": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 7_000, 7_000, 16, 6, 0, 0, 0))
        + chunk(b"IDAT", zeros(7_000 * 7_000 * 8 + 7_000))
        + chunk(b"IEND", b"")
    ),
    "PNG with a profile of 4 GB": lambda: with_chunks(
        chunk(b"iCCP", b"x\0\0" + zeros(1 << 30) * 4)
    ),
    "PNG with endless texts": lambda: full(
        lambda n: with_chunks(chunk(b"zTXt", b"x\0\0" + zeros(1_000_000)) * n)
    ),
    "PNG with endless empty texts": lambda: full(lambda n: with_chunks(chunk(b"tEXt", b"x\0") * n)),
    "PNG with a crowded directory of 9 MB": lambda: with_chunks(
        chunk(b"eXIf", crowded_directory(20_000, 9_000_000))
    ),
    "PNG whose pixels never end": lambda: with_chunks(
        chunk(b"IDAT", zeros(1 << 30)), chunk(b"IDAT", zeros(1 << 30))
    ),
    "PNG of endless chunks of pixels": lambda: full(lambda n: with_chunks(chunk(b"IDAT", b"") * n)),
    "dark PNG of as many bytes as are read, 48 bits": lambda: predicted_dark(3_150, 3_150),
    "cut-off JPEG of as many blocks as are read": lambda: refined(7_000, 7_000, 3, 11)[:-100],
    "cut-off JPEG of 49 megapixels": lambda: cut(plain("JPEG", 7_000, 7_000, quality=90), 0.9),
    "AVIF of as many pixels as are read": lambda: plain("AVIF", 4_200, 4_200, speed=10),
    "AVIF of noise": lambda: noisy_avif(2_400, 2_400),
    "AVIF of endless boxes": lambda: full(lambda n: small("AVIF") + box(b"free") * n),
    "WebP of 2 kB and 7,000 x 7,000": lambda: plain("WEBP", 7_000, 7_000, lossless=True),
    "PNG of 65,500 x 763": lambda: plain("PNG", 65_500, 763),
    "WebP of 16,383 x 16,383": lambda: wide_webp(16_383, 16_383),
    "WebP of 7,000 x 7,000": lambda: wide_webp(7_000, 7_000),
    "WebP of 16,000,000 x 200": lambda: wide_webp(16_000_000, 200),
}
