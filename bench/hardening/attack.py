"""Send attacks, which must be refused without affecting the worker.

    python -m bench.hardening.attack

The attacks are decompression bombs, polyglot files, broken request lines, headers and framing,
endless bodies, oversized input, guessed keys, cross-origin requests, path traversal and header
injection.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rich.progress import track

from bench.hardening.bombs import BOMBS, small
from bench.hardening.heads import BEHIND, broken
from bench.hardening.load import FRAME
from bench.hardening.rows import Row, command
from bench.hardening.wire import Answer, answers, connect, get, post
from bench.servers import running

KEY = "the-key-of-this-trial"
SITE = "https://shop.example"
GUESSES = 200
PATHS = [
    *("/static/../app.py", "/static/../../etc/passwd", "/../../../../etc/passwd", "//etc/passwd"),
    *("/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    *(
        "/static/..%5capp.py",
        "/static/..;/app.py",
        "/static/%252e%252e/app.py",
        "/static//etc/passwd",
    ),
    *(
        "/static/%c0%ae%c0%ae/app.py",
        "/static/index.html%00.py",
        "/static/.%00./app.py",
        "/static/",
    ),
    *(
        "/.env",
        "/.git/config",
        "/service/app.py",
        "/static/....//app.py",
        "/%2e%2e/%2e%2e/etc/passwd",
    ),
]
INJECTION = "%0d%0aX-Injected:%20yes%0d%0a%0d%0a<script>"
SCRIPT = b"<html><script>alert(1)</script></html>"


@dataclass(frozen=True)
class Sent:
    """An attack and its answers; there are none if the connection was closed without one."""

    name: str
    answers: tuple[Answer, ...]

    @property
    def refused(self) -> bool:
        """Whether every answer is a problem document with a status other than 500."""
        return all(is_refusal(each) for each in self.answers)


def is_refusal(answer: Answer) -> bool:
    """Return whether an answer is a refusal as problem+json and not an internal error."""
    if not 400 <= answer.status < 600 or answer.status == 500:
        return False
    kind = answer.headers.get("Content-Type") == "application/problem+json"
    return kind and json.loads(answer.body)["status"] == answer.status


def send(url: str, name: str, data: bytes) -> Sent:
    """Send bytes, end the sending side, and read all answers."""
    got: list[Answer] = []
    with connect(url, timeout_s=60) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            got.extend(answers(sock))
        except (ConnectionError, OSError):  # closed before everything was sent
            pass
    return Sent(name, tuple(got))


def endless(url: str, first: bytes, again: bytes, most_s: float = 60) -> Sent:
    """Send data without end until the connection is refused or closed."""
    got: list[Answer] = []
    end = time.monotonic() + most_s
    with connect(url, timeout_s=60) as sock:
        try:
            sock.sendall(first)
            while time.monotonic() < end:
                sock.sendall(again)
        except OSError:
            pass
        with suppress(OSError):
            got.extend(answers(sock))
        ended = time.monotonic() < end
    name = "endless body"
    return Sent(name if ended else f"{name}, which was never refused", tuple(got))


def polyglots() -> dict[str, bytes]:
    """Return files that are a picture and something else, or only look like a picture."""
    jpeg, png = FRAME, small("PNG")
    return {
        "JPEG followed by a page": jpeg + SCRIPT,
        "JPEG followed by an archive": jpeg + b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18),
        "PNG followed by a page": png + SCRIPT,
        "page followed by a JPEG": SCRIPT + jpeg,
        "PDF with a JPEG inside": b"%PDF-1.7\n" + jpeg,
        "GIF with a script": b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)",
        "SVG with a script": b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
        "TIFF": b"II*\0\x08\0\0\0" + bytes(200),
        "MVG that reads a file": b"push graphic-context\nimage over 0,0 1,1 '/etc/passwd'",
        "XML with an entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        "program": b"\x7fELF" + bytes(200),
        "pickle": b"cos\nsystem\n(S'true'\ntR.",
    }


def oversized() -> dict[str, bytes]:
    """Return requests that are each too large in one way."""
    fields = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="n%d"\r\n\r\nx\r\n' % n for n in range(5000)
    )
    form, json_ = "Content-Type: multipart/form-data; boundary=b", "Content-Type: application/json"
    jpeg = "Content-Type: image/jpeg"

    def typed(body: bytes, kind: str) -> bytes:
        return post(body).replace(jpeg.encode(), kind.encode(), 1)

    return {
        "body of 11 MB": post(bytes(11_000_000)),
        "length of 10^18": post(b"x", "Content-Length: 999999999999999999"),
        "chunk of 2^60": post(b"fffffffffffffff\r\nx", "Transfer-Encoding: chunked"),
        "30,000 chunks": post(b"1\r\nx\r\n" * 30_000, "Transfer-Encoding: chunked"),
        "5,000 fields of a form": typed(fields + b"--b--\r\n", form),
        "field of 9 MB": typed(
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 9_000_000, form
        ),
        "deep JSON": typed(b"[" * 1_000_000, json_),
        "JSON with a number of a million digits": typed(b'{"image":' + b"9" * 1_000_000, json_),
        "JSON with many names": typed(
            b"{" + b",".join(b'"n%d":1' % n for n in range(200_000)) + b"}", json_
        ),
        "query of 9 kB": get("/predict?detector=" + "y" * 9000),
        "many parameters": post(b"x", path="/predict?" + "&".join(f"a{n}=1" for n in range(900))),
        "header of 9 kB": get("/healthz", "X-Large: " + "x" * 9000),
        "1 MB without a line's end": b"GET /" + b"a" * 1_000_000,
    }


def allows(answer: Answer) -> bool:
    """Return whether a browser would let a page from another site read the answer."""
    return "Access-Control-Allow-Origin" in answer.headers


def handshake(origin: str, *headers: str) -> bytes:
    """Return the WebSocket request that a page from an origin would send."""
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    asks = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    return get("/stream", *asks, f"Origin: {origin}", *headers)


def injections(url: str) -> Iterator[Sent]:
    """Send text that could end up in a header of the answer, raw or decoded."""
    yield send(url, "query", post(FRAME, path=f"/predict?detector=yunet{INJECTION}"))
    yield send(url, "path", get(f"/nowhere{INJECTION}"))
    yield send(url, "slash", get(f"//elsewhere.example/{INJECTION}"))
    yield send(url, "type", post(b"x").replace(b"image/jpeg", f"a/b{INJECTION}".encode(), 1))
    yield send(url, "protocol", handshake(SITE, f"Sec-WebSocket-Protocol: key.{INJECTION}"))


def count(sent: Iterable[Sent]) -> str:
    """Count the answers by their status."""
    statuses = Counter(str(each.answers[0].status) if each.answers else "closed" for each in sent)
    return ", ".join(f"{number} x {status}" for status, number in sorted(statuses.items()))


def refusals(test: str, sent: Sequence[Sent]) -> Row:
    """Return the row for the goal that all are refused; names the failures."""
    bad = [each.name for each in sent if not each.refused]
    measured = count(sent) + (f"; NOT: {', '.join(bad[:5])}" if bad else "")
    return Row(test, f"all {len(sent)} refused, as problem+json", measured, not bad)


def survivals(test: str, sent: Sequence[Sent]) -> Row:
    """Return the row for the goal that all are judged or refused and none is echoed."""
    bad = [
        each.name
        for each in sent
        if not each.answers
        or not (each.answers[0].status == 200 or each.refused)
        or SCRIPT in each.answers[0].body
    ]
    measured = count(sent) + (f"; NOT: {', '.join(bad[:5])}" if bad else "")
    return Row(test, f"all {len(sent)} judged within the limits or refused", measured, not bad)


def run(bombs: Sequence[str] | None = None, guesses: int = GUESSES) -> list[Row]:
    """Attack a service without keys and one that requires them; bombs: names, all if None."""
    names = list(BOMBS) if bombs is None else list(bombs)
    rows: list[Row] = []
    with running(LOG_LEVEL="error", CORS_ORIGINS=SITE) as server:
        url, worker = server.url, server.worker()
        pictures = [
            send(url, name, post(BOMBS[name](), "Connection: close"))
            for name in track(names, "Bombs")
        ]
        rows.append(survivals("decompression bombs", pictures))
        both = [send(url, name, post(data)) for name, data in polyglots().items()]
        rows.append(survivals("polyglots", both))
        heads = broken()
        sent = [send(url, n, d + BEHIND) for n, d in track(heads.items(), "Broken requests")]
        rows.append(refusals("broken request lines, headers, framings", sent))
        chunked = post(b"", "Transfer-Encoding: chunked")
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        trailer = b"0\r\n" + b"X-A: b\r\n"
        sent = [
            endless(url, chunked, chunk),
            endless(url, chunked, b"1\r\nx\r\n" * 1000),
            endless(url, chunked, b"1;" + b"a" * 9000),
            endless(url, chunked + trailer, b"X-A: b\r\n" * 1000),
            endless(url, b"GET / HTTP/1.1\r\n", b"X-A: b\r\n" * 1000),
        ]
        rows.append(refusals("endless chunks, trailers and headers", sent))
        sent = [send(url, name, data) for name, data in track(oversized().items(), "Oversized")]
        rows.append(refusals("oversized everything", sent))
        sent = [send(url, path, get(path)) for path in PATHS]
        rows.append(refusals("path traversal", sent))
        sent = list(injections(url))
        bad = [each.name for each in sent if any("X-Injected" in a.headers for a in each.answers)]
        rows.append(Row("header injection", "no header is injected", count(sent), not bad))
        strange = ["https://elsewhere.example", "null", f"{SITE}.elsewhere.example", "http://shop"]
        pages = [send(url, o, get("/model", f"Origin: {o}")) for o in strange]
        allowed = sum(allows(answer) for each in pages for answer in each.answers)
        rows.append(
            Row("wrong origin, CORS", "no page may read it", f"{allowed} allowed", allowed == 0)
        )
        opened = [send(url, origin, handshake(origin)) for origin in strange]
        rows.append(refusals("wrong origin, WebSocket", opened))
        same = worker is not None and server.worker() == worker
        rows.append(Row("all attacks", "the worker is not replaced", "yes" if same else "no", same))
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    with running(API_KEYS=digest, LOG_LEVEL="error") as server:
        url = server.url
        guarded = [get("/model"), get("/metrics"), post(FRAME), handshake("http://localhost")]
        sent = [send(url, "no key", request) for request in guarded]
        rows.append(refusals("missing key", sent))
        good = send(url, "good key", get("/model", f"X-API-Key: {KEY}"))
        keys = [digest, KEY[:-1], KEY + "x", KEY.upper(), *map(str, range(guesses))]
        sent = [send(url, key, get("/model", f"X-API-Key: {key}")) for key in keys]
        rows.append(refusals("key brute force", sent))
        again = send(url, "good key", get("/model", f"X-API-Key: {KEY}"))
        known = [answer.status for each in (good, again) for answer in each.answers]
        rows.append(
            Row("key brute force", "a valid key is accepted", str(known), known == [200, 200])
        )
    return rows


if __name__ == "__main__":
    command(run, __doc__, "--guesses 20", guesses="number of guessed keys")
