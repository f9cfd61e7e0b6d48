"""A broken or hostile server: the client reports it briefly, goes on, and uses little memory."""

from __future__ import annotations

import csv
import gzip
import json
import os
import pty
import socket
import tracemalloc
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socketserver import StreamRequestHandler

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from client import answers, shown, web
from client.answers import MOST_BYTES, MOST_FACES
from client.api import Refused, Unreachable, as_jpeg
from client.api import Service as Client
from client.frames import Frame
from client.stream import Stream
from client.tracks import MOST_PEOPLE, Tracks
from client.webhook import Webhook
from tests.client.stand_in import (
    FACE,
    TIMEOUT_S,
    Quiet,
    Service,
    film,
    finish,
    lines_of,
    picture,
    problem,
    run,
    serving,
    start,
)
from tests.client.test_stream import answer, told
from tests.client.test_webhook import EVENT, SECRET

JPEG = as_jpeg(picture(1), 90)
ESCAPES = "\x1b]0;owned\x07\x9b31m\u202eevil\u2066\r\n[red]markup[/red]\x00"
SMALL_MB = 40
BOMB = gzip.compress(bytes(300_000_000), compresslevel=1)


def faces(**change: object) -> bytes:
    return json.dumps({"request_id": "1", "faces": [FACE | change]}).encode()


BAD = {
    "html": b"<html>\x1b[31m",
    "not an object": b'["faces"]',
    "no face": b'{"request_id": "1", "faces": [{}]}',
    "infinite": faces().replace(b"0.98", b"1e999"),
    "not a number": faces().replace(b"0.98", b"NaN"),
    "infinite elsewhere": b'{"request_id": "1", "faces": [], "timings_ms": 1e999}',
    "beyond 1": faces(detection_confidence=7),
    "box of 2^40": faces(box={"x": 0, "y": 0, "width": 2**40, "height": 2**40}),
    "box before the picture": faces(box={"x": -(2**40), "y": 0, "width": 1, "height": 1}),
    "nested": b"[" * 400_000,
    "nested within": b'{"faces": [], "request_id": "1", "a": '
    + b"[" * 90_000
    + b"]" * 90_000
    + b"}",
    "long number": b'{"faces": [], "request_id": "1", "a": ' + b"9" * 100_000 + b"}",
    "label that is a formula": faces(label='=HYPERLINK("http://evil")'),
    "label that steers the terminal": faces(label=ESCAPES),
    "long label": faces(label="m" * 100_000),
    "many faces": json.dumps({"request_id": "1", "faces": [FACE] * 1001}).encode(),
    "many probabilities": faces(probabilities={f"p{n}": 0.1 for n in range(1000)}),
    "long": b" " * (MOST_BYTES + 1) + faces(),
    "not what its encoding says": b"plain",
    "halves of characters": b'{"request_id": "\\ud800", "faces": []}',
}


def is_inert(text: str) -> bool:
    """Tell whether a terminal shows text without acting on it."""
    return all(
        unicodedata.category(mark) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        for mark in text.replace("\n", "")
    )


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_a_failure_of_the_service(name: str):
    service = Service()
    encoding = {"Content-Encoding": "gzip"} if "encoding" in name else {}
    service.failures[0] = (200, {"Content-Type": "text/html", **encoding}, BAD[name])
    with service.serving() as port:
        client = Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S)
        with pytest.raises(Unreachable) as caught:
            client.predict(JPEG)
        assert len(client.predict(JPEG).faces) == 1
    assert len(str(caught.value)) < 300


def test_after_bad_answers_the_client_goes_on(tmp_path: Path):
    source, written = film(tmp_path / "film.mp4", frames=2, fps=12), tmp_path / "answers.jsonl"
    service = Service()
    for count, name in enumerate(("html", "box of 2^40", "infinite elsewhere"), start=1):
        service.failures[count] = (200, {"Content-Type": f"text/{ESCAPES[:5]}"}, BAD[name])
    with service.serving() as port:
        url = f"http://127.0.0.1:{port}"
        done = run(
            *("--url", url, "--source", str(source), "--no-window", "--answers", str(written))
        )
    assert done.returncode == 0, done.stderr
    assert "2 frames answered, 0 refused" in done.stdout
    assert f"{url} answered 200 with text/" in done.stderr
    assert "trying again" in done.stderr
    assert "The service answers again." in done.stderr
    assert is_inert(done.stderr)
    assert [line["frame"] for line in lines_of(written)] == [0, 1]


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
@pytest.mark.parametrize("status", [200, 302, 404, 503])
def test_an_answer_that_unpacks_to_a_flood_takes_no_memory(status: int, encoding: str):
    service = Service()
    body = gzip.compress(BOMB) if "," in encoding else BOMB
    headers = {"Content-Encoding": encoding, "Location": "http://127.0.0.1/"}
    service.failures[0] = (status, headers, body)
    with service.serving() as port:
        client = Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S)
        tracemalloc.start()
        with pytest.raises(Unreachable, match="more than"):
            client.predict(JPEG)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < SMALL_MB * 1e6


def test_the_answer_of_a_webhook_is_not_read_and_cookies_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("client.webhook.FLUSH_S", TIMEOUT_S)
    sent = []

    class Flood(Quiet):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            sent.append(self.headers["Cookie"])
            self.send_response(200)
            self.send_header("Set-Cookie", "a=b")
            self.end_headers()
            with suppress(OSError):
                for _ in range(300):
                    self.wfile.write(bytes(1_000_000))

    with serving(Flood) as port:
        tracemalloc.start()
        webhook = Webhook(f"http://127.0.0.1:{port}/", SECRET, print)
        webhook.put(EVENT)
        webhook.put(EVENT)
        webhook.close()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert webhook.dropped == 0
    assert sent == [None, None]
    assert peak < SMALL_MB * 1e6


def test_a_stream_that_floods_or_lies_is_left():
    def bad(text: str) -> Callable[[ServerConnection], None]:
        def handler(connection: ServerConnection) -> None:
            connection.recv()
            with suppress(ConnectionClosed):
                connection.send(text)
                connection.recv()

        return handler

    def good(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(answer(0, 1))
        with suppress(ConnectionClosed):
            connection.recv()

    lies = [
        "[" * 100_000,
        '["no object"]',
        answer(0, 1).replace("0.98", "1e999"),
        answer(0, 2**60),
        '{"frame_id": 0, "status": {}}',
    ]
    floods = [" " * (MOST_BYTES + 1), *lies]
    with told(*map(bad, floods), good) as (stream, notes):
        with pytest.raises(Unreachable, match="more than 4,000,000 bytes"):
            stream.ask(JPEG)
        for _ in lies:
            with pytest.raises(Unreachable, match="without verdicts"):
                stream.ask(JPEG)
        assert len(stream.ask(JPEG).faces) == 1
    assert notes == []


def test_a_stream_that_talks_of_other_frames_without_end_is_left():
    def babbling(connection: ServerConnection) -> None:
        connection.recv()
        with suppress(ConnectionClosed):
            while True:
                connection.send(answer(7))

    silence = pytest.raises(Unreachable, match="no answer within 2 s")
    with told(babbling, timeout_s=2) as (stream, _), silence:
        stream.ask(JPEG)


def test_a_key_is_not_in_the_message_about_a_bad_stream():
    def handler(connection: ServerConnection) -> None:
        connection.recv()
        connection.send("no JSON")

    with told(handler) as (stream, _), pytest.raises(Unreachable) as caught:
        stream.ask(JPEG)
    assert "sesame" not in str(caught.value)


def test_what_an_error_says_cannot_steer_a_terminal(tmp_path: Path):
    source = film(tmp_path / "film.mp4", frames=3, fps=12)
    ours, theirs = pty.openpty()
    service = Service()
    service.failures[1] = problem(415, ESCAPES, ESCAPES + "x" * 100_000)
    with service.serving() as port:
        url = f"http://127.0.0.1:{port}"
        done = finish(start("--url", url, "--source", str(source), "--no-window", stderr=theirs))
    os.close(theirs)
    seen = os.read(ours, 1_000_000).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "]0;owned" in seen
    assert "\x1b]0;owned" not in seen
    assert not {"\x07", "\x9b", "\u202e", "\u2066", "\0"} & set(seen)
    assert "[red]markup[/red]" in seen
    assert seen.count("x") < 2000


@pytest.mark.parametrize(
    "name", ['=HYPERLINK("a").png', "+1.png", "-1.png", "@SUM.png", "\t=1.png"]
)
def test_a_file_name_is_no_formula_in_a_table(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(cv2.imencode(".png", picture(1))[1].tobytes())
    table = tmp_path / "events.csv"
    with Service().serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", f"--source={name}", "--no-window"),
            *("--csv", str(table)),
            folder=tmp_path,
        )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2
    assert all(value[:1] not in set("=+-@\t\r") for row in rows for value in row.values())


@settings(deadline=None)
@given(st.text())
def test_any_text_is_shown_as_one_inert_line(text: str):
    assert is_inert(shown.plain(text))
    assert len(shown.plain(text)) <= 500
    assert not str(shown.cell(text)).startswith(tuple("=+-@\t\r\n"))


@settings(deadline=None)
@given(st.text())
def test_any_retry_after_is_a_bounded_wait(value: str):
    wait_s = web.retry_after(value)
    assert wait_s is None or 0 <= wait_s <= 300


def test_an_error_without_a_body_still_says_who_sent_it():
    service = Service()
    service.failures[0] = (404, {"Content-Type": "application/problem+json"}, b"[" * 200_000)
    with service.serving() as port, pytest.raises(Refused, match="may not be a mask service"):
        Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S).predict(JPEG)


def test_a_crowd_that_a_service_makes_up_is_not_followed():
    tracks = Tracks(live=False)
    body = json.dumps({"request_id": "1", "faces": [FACE] * MOST_FACES})
    made_up = answers.verdicts(answers.parsed(body), 1.0)
    for number in range(5):
        faces = [
            replace(face, track_id=number * MOST_FACES + n) for n, face in enumerate(made_up.faces)
        ]
        frame = Frame(number, "film", picture(1), number / 30)
        list(tracks.add(frame, replace(made_up, faces=tuple(faces))))
        assert len(tracks.people) <= MOST_PEOPLE
    assert {person.frame.index for person in tracks.people.values()} == {4}


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
RAW = {
    "nothing": b"",
    "zeros": bytes(100_000),
    "no line": b"x" * 200_000,
    "odd status": b"HTTP/1.1 99999999999 \x1b[31m\r\n\r\n",
    "no version": b"HTTP/x 200 OK\r\n\r\n",
    "many headers": HEAD + b"a: b\r\n" * 1000 + b"\r\n",
    "long header": HEAD + b"a: " + b"b" * 200_000 + b"\r\n\r\n",
    "no header": HEAD + b"\x1b]0;owned\x07\r\n\r\n",
    "short body": HEAD + b"Content-Length: 100\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 5, 6\r\n\r\n{}",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "long chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
    "chunk line": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
    "bad gzip": HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08broken",
    "many codings": HEAD + b"Content-Encoding: " + b"gzip, " * 1000 + b"gzip\r\n\r\n{}",
    "switched": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\xff\xff",
    "informed": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_hardly_http_is_a_failure_of_the_service(
    name: str, capfd: pytest.CaptureFixture[str]
):
    class Server(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65_536)
                self.wfile.write(RAW[name])
                self.request.shutdown(socket.SHUT_WR)
                while self.request.recv(65_536):
                    pass

    with serving(Server) as port:
        service = Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S)
        notes: list[str] = []
        for ask in (service.predict, Stream(service, notes.append).ask):
            with pytest.raises((Unreachable, Refused)):
                ask(JPEG)
    assert "\x1b" not in "".join(capfd.readouterr())
