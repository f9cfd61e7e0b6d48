"""A broken or hostile camera: the client uses little memory, stays quiet and goes on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import md5

import cv2
import numpy as np
import pytest

from client import cameras
from client.frames import SourceError
from client.sources import open_source
from tests.client.stand_in import Quiet, number_of, picture, serving

ESCAPES = "\x1b]0;owned\x07\x1b[31m"
JPEG = cv2.imencode(".jpg", picture(5))[1].tobytes()


def part(jpeg: bytes, *headers: str) -> bytes:
    lines = ["--frame", "Content-Type: image/jpeg", *headers, "", ""]
    return "\r\n".join(lines).encode() + jpeg + b"\r\n"


def camera_that(
    send: Callable[[Callable[[bytes], object]], object],
    headers: dict[str, str] | None = None,
):
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200, ESCAPES)
            kind = "multipart/x-mixed-replace; boundary=frame"
            for name, value in ({"Content-Type": kind} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                send(self.wfile.write)

    return serving(Handler)


def huge(side: int = 65_500) -> bytes:
    """Return a small JPEG whose header claims billions of pixels."""
    data = bytearray(JPEG)
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = side.to_bytes(2) * 2
    return bytes(data)


def forever(write: Callable[[bytes], object], data: bytes) -> None:
    for _ in itertools.repeat(None):
        write(data)


@pytest.mark.parametrize(
    "send",
    [
        lambda write: forever(write, b"--frame\r\n" + b"X-Header: " + b"a" * 4000 + b"\r\n"),
        lambda write: forever(write, b"X-Header: a\r\n" * 1000),
        lambda write: (
            write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 2000000000\r\n\r\n"),
            forever(write, bytes(1_000_000)),
        ),
        lambda write: forever(write, bytes(1_000_000)),
        lambda write: forever(write, part(huge())),
    ],
    ids=["long header", "endless headers", "long picture", "zeros", "huge pictures"],
)
def test_a_camera_that_floods_is_left_at_a_bound(
    send: Callable[[Callable[[bytes], object]], object], monkeypatch: pytest.MonkeyPatch
):
    read = 0
    plain = cameras.Body.read

    def counted(body: cameras.Body, count: int) -> bytes:
        nonlocal read
        data = plain(body, count)
        read += len(data)
        return data

    monkeypatch.setattr(cameras.Body, "read", counted)
    with camera_that(send) as port, pytest.raises(SourceError, match="gives no picture"):
        open_source(f"http://127.0.0.1:{port}/", "the camera", threading.Event(), print)
    assert read <= cameras.MOST_BYTES + 100_000


def test_one_bad_picture_does_not_end_a_camera(capfd: pytest.CaptureFixture[str]):
    def send(write: Callable[[bytes], object]) -> None:
        for body in (JPEG, huge(), JPEG[:300], b"no picture", JPEG, JPEG):
            write(part(body, f"Content-Length: {len(body)}", f"X: {ESCAPES}"))

    with camera_that(send, {"Server": ESCAPES}) as port:
        seen = [number_of(pixels) for pixels, _ in cameras.http(f"http://127.0.0.1:{port}/")]
    assert seen.count(5) >= 3
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_a_camera_may_send_another_size():
    small = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()

    def send(write: Callable[[bytes], object]) -> None:
        for body in (JPEG, small, JPEG, JPEG):
            write(part(body, f"Content-Length: {len(body)}"))

    with camera_that(send) as port:
        shapes = [pixels.shape for pixels, _ in cameras.http(f"http://127.0.0.1:{port}/")]
    assert (48, 64, 3) in shapes
    assert (240, 320, 3) in shapes


def test_a_password_reaches_a_camera_that_asks_for_a_digest():
    seen = []

    class Handler(Quiet):
        def do_GET(self) -> None:
            given = self.headers["Authorization"] or ""
            seen.append(given.partition(" ")[0])
            if not given.startswith("Digest"):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Digest realm="cam", nonce="n", qop="auth"')
                self.end_headers()
                return
            fields = dict(item.strip().split("=", 1) for item in given[7:].split(","))
            fields = {name: value.strip('"') for name, value in fields.items()}
            first = md5(b"user:cam:p@ss").hexdigest()
            second = md5(f"GET:{fields['uri']}".encode()).hexdigest()
            middle = f"n:{fields['nc']}:{fields['cnonce']}:auth"
            expected = md5(f"{first}:{middle}:{second}".encode()).hexdigest()
            self.send_response(200 if fields["response"] == expected else 403)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for _ in range(4):
                self.wfile.write(part(JPEG))

    with serving(Handler) as port:
        url = f"http://user:p%40ss@127.0.0.1:{port}/live?channel=1"
        assert len([pixels for pixels, _ in cameras.http(url)]) >= 3
    assert seen == ["", "Digest"]  # never as plain text


def test_a_camera_that_knows_plain_passwords_only_gets_one():
    seen = []

    class Handler(Quiet):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200 if seen[-1] else 401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with suppress(OSError):
                for _ in range(4 if seen[-1] else 300_000):  # a flood that the client does not read
                    self.wfile.write(part(JPEG))

    with serving(Handler) as port:
        assert len(list(cameras.http(f"http://user:p@127.0.0.1:{port}/"))) >= 3
    assert seen[0] is None
    assert seen[-1].startswith("Basic ")


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (404, {}, "404 Not Found"),
        (302, {"Location": "http://u:s3cr3t@cam/?a=s3cr3t"}, "it redirects to http://cam/…"),
        (200, {"Content-Type": "application/vnd.apple.mpegurl"}, "HLS playlist"),
        (200, {"Content-Type": "text/html"}, "Invalid data"),
    ],
)
def test_what_is_no_camera_is_named(status: int, headers: dict[str, str], said: str):
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"<html>")

    with serving(Handler) as port, pytest.raises(SourceError, match="does not open") as caught:
        open_source(f"http://127.0.0.1:{port}/", "the camera", threading.Event(), print)
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
