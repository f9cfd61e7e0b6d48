"""The real service's log: one line per request, and nothing that clients send."""

import io
import json
import socket
import struct
import zlib
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image as PillowImage

from model.images import Image
from tests.conftest import TIMEOUT_S, encoded, open_stream, serving

JPEG = {"Content-Type": "image/jpeg"}
SECRET = "c0ffee5ecret"


def test_json_lines_tell_each_request_and_stream(portrait_jpeg: bytes) -> None:
    lines: list[str] = []
    with serving(lines, LOG_FORMAT="json") as url:
        answer = requests.post(f"{url}/predict", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S)
        missing = requests.get(f"{url}/no?x=1", timeout=TIMEOUT_S)
        with open_stream(url) as stream:
            stream.send(portrait_jpeg)
            stream.recv(TIMEOUT_S)
    entries = [json.loads(line) for line in lines]  # gunicorn's own lines too
    assert all({"time", "level", "logger", "message"} <= entry.keys() for entry in entries)
    requested = [entry for entry in entries if entry["message"] == "request"]
    (predicted,) = (entry for entry in requested if entry["path"] == "/predict")
    assert predicted["request_id"] == answer.headers["X-Request-ID"]
    assert (predicted["method"], predicted["status"], predicted["faces"]) == ("POST", 200, 1)
    assert predicted["bytes_in"] == len(portrait_jpeg)
    assert predicted["bytes_out"] == len(answer.content)
    assert predicted["remote"] == "127.0.0.1"
    assert predicted["ms"] > 0
    (lost,) = (entry for entry in requested if entry["path"] == "/no")
    assert (lost["request_id"], lost["status"]) == (missing.headers["X-Request-ID"], 404)
    (opened,) = (entry for entry in entries if entry["message"] == "stream opened")
    (closed,) = (entry for entry in entries if entry["message"] == "stream closed")
    (streamed,) = (entry for entry in requested if entry["path"] == "/stream")
    assert opened["request_id"] == closed["request_id"] == streamed["request_id"]
    assert (closed["frames"], closed["dropped"], streamed["status"]) == (1, 0, 101)


def test_text_lines_cannot_be_forged() -> None:
    lines: list[str] = []
    with serving(lines) as url:
        requests.get(f"{url}/a%0a2026-01-01 INFO request status=200", timeout=TIMEOUT_S)
    (line,) = (line for line in lines if "path=" in line and "/a" in line)
    assert 'path="/a\\n2026-01-01 INFO request status=200" status=404' in line


def test_what_pillow_warns_of_is_not_logged(portrait: Image) -> None:
    lines: list[str] = []
    picture = encoded(portrait, ".png")
    chunk = b"acTL" + bytes(8)  # an animation of no pictures
    chunk = struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk))
    odd = picture[:33] + chunk + picture[33:]
    with pytest.warns(UserWarning, match="APNG"):
        PillowImage.open(io.BytesIO(odd))
    with serving(lines, LOG_LEVEL="debug") as url:
        headers = {"Content-Type": "image/png"}
        answer = requests.post(f"{url}/predict", odd, headers=headers, timeout=TIMEOUT_S)
    assert answer.status_code == 200
    assert any("path=/predict" in line for line in lines)
    assert not any("APNG" in line for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_clients_send_is_logged_even_at_debug(portrait_jpeg: bytes, form: str) -> None:
    lines: list[str] = []
    secret = SECRET.encode()
    with serving(lines, LOG_FORMAT=form, LOG_LEVEL="debug") as url:
        address = urlsplit(url)
        for query in (f"min_confidence={SECRET}", f"detector={SECRET}", f"{SECRET}=1"):
            requests.post(f"{url}/predict?{query}", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S)
        for kind in ("image/jpeg", "application/json", "multipart/form-data; boundary=x"):
            headers = {"Content-Type": kind, "X-Note": SECRET, "User-Agent": SECRET}
            requests.post(f"{url}/predict", secret, headers=headers, timeout=TIMEOUT_S)
        requests.post(f"{url}/predict", portrait_jpeg + secret, headers=JPEG, timeout=TIMEOUT_S)
        with open_stream(url, "?min_confidence=0.5") as stream:
            for frame in (secret, SECRET):
                stream.send(frame)
                stream.recv(TIMEOUT_S)
        # Broken requests, which never reach the application but could contain bytes of a picture.
        for raw in (
            secret + b"\r\n\r\n",
            b"GET /?" + secret + b" HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + secret + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nA " + secret + b": 1\r\n\r\n",
            b"GET /?" + secret * 1000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: " + secret * 1000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: " + secret + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: " + secret + b"\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nContent-Type: image/jpeg\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + secret + b"\r\n",
            secret,
        ):
            with socket.create_connection(
                (address.hostname, address.port), timeout=TIMEOUT_S
            ) as sender:
                sender.sendall(raw)
                sender.shutdown(socket.SHUT_WR)
                while sender.recv(65536):
                    pass
    said = "\n".join(lines)
    assert "/predict" in said
    assert SECRET not in said
    assert "Invalid request from ip=127.0.0.1" in said
