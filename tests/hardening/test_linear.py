"""Each parser takes at most linear time, whatever bytes it gets."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask, request

from bench.hardening.bombs import (
    behind_start,
    chunk,
    frame_header,
    riff,
    riff_chunk,
    segment,
    small,
    with_chunks,
)
from model.headers import bare, orientation
from model.training.data.voc import parse
from model.training.data.yolo import described_in
from service.config import ConfigError
from service.keys import Keys, key_protocol

TIMES = 8
MOST = 24  # most growth of CPU time for 8 times the bytes: linear is 8, quadratic 64

ANIMATED = riff_chunk(b"VP8X", bytes([2]) + bytes(9)) + riff_chunk(b"ANIM", bytes(6))
PICTURES: dict[str, Callable[[int], bytes]] = {
    "JPEG of 0xFF": lambda n: b"\xff\xd8" + b"\xff" * n + b"\0",
    "JPEG of 0xFF in a scan": lambda n: small()[:-2] + b"\xff" * n + b"\0",
    "JPEG of stuffed 0xFF": lambda n: small()[:-2] + b"\xff\0" * n,
    "JPEG of restarts": lambda n: small()[:-2] + b"\xff\xd0" * n,
    "JPEG of comments": lambda n: behind_start(small(), segment(0xFE, bytes(n // 900)) * 900),
    "JPEG of comments in a scan": lambda n: small()[:-2] + segment(0xFE, bytes(n // 900)) * 900,
    "JPEG of tables": lambda n: behind_start(small(), segment(0xDB, b"") * (n // 64)),
    "JPEG of segments without length": lambda n: b"\xff\xd8" + b"\xff\xfe\0\0" * n,
    "JPEG of frame headers": lambda n: behind_start(small(), frame_header(0xC0, 8, 8) * (n // 64)),
    "PNG of empty chunks": lambda n: with_chunks(chunk(b"tEXt", b"") * (n // 64)),
    "PNG of empty pixels": lambda n: with_chunks(chunk(b"IDAT", b"") * (n // 64)),
    "PNG of zeros": lambda n: with_chunks(bytes(n)),
    "WebP of empty chunks": lambda n: riff(riff_chunk(b"abcd", b"") * (n // 64)),
    "WebP of frames": lambda n: riff(ANIMATED + riff_chunk(b"ANMF", b"") * (n // 64)),
}
EXIF: dict[str, Callable[[int], bytes]] = {
    "EXIF data of entries": lambda n: b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * n),
    "EXIF data with its directory far behind": lambda n: b"MM\0*" + n.to_bytes(4, "big") + bytes(n),
}
YAML: dict[str, Callable[[int], bytes]] = {
    "YAML list": lambda n: b"names: [" + b"a," * n + b"]",
    "YAML keys": lambda n: b"".join(b"a%d: b\n" % i for i in range(n)),
    "YAML text": lambda n: b"names: " + b"a " * n,
    "YAML quotes": lambda n: b'names: "' + b"a\\n" * n + b'"',
    "YAML comments": lambda n: b"#\n" * n,
    "YAML brackets": lambda n: b"[" * n,
    "YAML dashes": lambda n: b"- " * n,
    "YAML question marks": lambda n: b"? " * n,
    "YAML anchors": lambda n: b"".join(b"- &a%d b\n" % i for i in range(n)),
    "YAML number in sixties": lambda n: b"names: 1" + b":1" * n,
    "YAML long number": lambda n: b"names: " + b"1" * n,
}
XML: dict[str, Callable[[int], bytes]] = {
    "XML objects": lambda n: b"<annotation>" + b"<object/>" * n + b"</annotation>",
    "XML depth": lambda n: b"<annotation>" + b"<a>" * n + b"</a>" * n + b"</annotation>",
    "XML attributes": lambda n: (
        b"<annotation " + b" ".join(b"a%d=''" % i for i in range(n)) + b"></annotation>"
    ),
    "XML text": lambda n: b"<annotation>" + b"&lt;" * n + b"</annotation>",
    "XML left open": lambda n: b"<annotation " + b"a" * n,
}
KEYS: dict[str, Callable[[int], bytes]] = {
    "keys": lambda n: b"".join(b"%064x # who\n" % i for i in range(n)),
    "bad keys": lambda n: b"x\n" * n,
    "key of many digits": lambda n: b"a" * n,
    "number signs": lambda n: b"#" * n,
    "spaces": lambda n: b" " * n + b"a",
}


def cpu_s(parse_: Callable[[], object]) -> float:
    """Return the least CPU time of this thread in five runs; other processes do not count."""
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        with suppress(ValueError, ConfigError):
            parse_()
        best = min(best, time.thread_time() - began)
    return best


def assert_linear(
    parse_: Callable[[bytes], object], make: Callable[[int], bytes], size: int
) -> None:
    few, many = make(size), make(TIMES * size)
    assert cpu_s(lambda: parse_(many)) <= MOST * cpu_s(lambda: parse_(few))


def of_file(read: Callable[[Path], object], file: Path) -> Callable[[bytes], object]:
    def parse_(data: bytes) -> object:
        file.write_bytes(data)
        return read(file)

    return parse_


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_walked_in_linear_time(name: str) -> None:
    assert_linear(bare, PICTURES[name], 8000)


@pytest.mark.parametrize("name", EXIF)
def test_exif_data_are_read_in_linear_time(name: str) -> None:
    assert_linear(orientation, EXIF[name], 8000)


@pytest.mark.parametrize("name", YAML)
def test_a_data_yaml_is_read_in_linear_time(name: str, tmp_path: Path) -> None:
    assert_linear(of_file(described_in, tmp_path / "data.yaml"), YAML[name], 1000)


@pytest.mark.parametrize("name", XML)
def test_a_voc_file_is_read_in_linear_time(name: str, tmp_path: Path) -> None:
    assert_linear(of_file(parse, tmp_path / "a.xml"), XML[name], 4000)


@pytest.mark.parametrize("name", KEYS)
def test_a_file_of_keys_is_read_in_linear_time(name: str, tmp_path: Path) -> None:
    assert_linear(of_file(lambda file: Keys(file=file), tmp_path / "keys"), KEYS[name], 2000)


@pytest.mark.parametrize("offered", ["a,", ",", " ", "key"])
def test_the_key_of_a_stream_is_looked_for_in_linear_time(offered: str) -> None:
    def parse_(data: bytes) -> object:
        headers = {"Sec-WebSocket-Protocol": data.decode()}
        with Flask(__name__).test_request_context(headers=headers):
            return key_protocol(request)

    assert_linear(parse_, lambda n: offered.encode() * n, 4000)
