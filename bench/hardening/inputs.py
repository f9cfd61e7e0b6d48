"""Make the fuzzer's inputs; each is determined by the seed and its number."""

import base64
import json
import random
import struct
from dataclasses import dataclass
from urllib.parse import quote

from bench.hardening.mutations import picture, pictures, spoil

TYPES = (
    *("image/jpeg", "image/jpeg", "image/png", "image/webp", "image/avif", "image/jpg"),
    *("application/octet-stream", "text/plain", "application/x-www-form-urlencoded"),
    *("application/json", "multipart/form-data", "multipart/form-data; boundary=limit"),
)
ENCODINGS = ("gzip", "deflate", "br", "identity", "gzip, gzip", "")
PATHS = (
    *("/predict", "/predict", "/predict", "/stream", "/model", "/metrics", "/healthz", "/"),
    *("/static/../service/app.py", "/static/%2e%2e/app.py", "//predict", "/predict/", "/docs"),
    *("/static/main.js", "/static/%00", "/%ff%fe", "/openapi.json", "*", "http://x/predict"),
)
METHODS = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "QUERY")
VALUES = (
    *("", "0.5", "1", "0.0001", "-1", "2", "nan", "inf", "-inf", "1e999", "1e-999", "0x1", "1_0"),
    *("true", "false", "yes", "2", "None", "null", "yunet", "haar", "ssd", "YUNET", "eyes", " 0.9"),
    *("%00", "%0d%0aX: y", "%ff", "%ed%a0%80", "%F0%9F%98%B7", "%", "+", "a" * 3000, "[]", "{}"),
    *("../../etc/passwd", "0.5&min_confidence=0.7", "1;2", "\u0663", "\uff10.5", "<script>", "'"),
)
NAMES = ("detector", "min_confidence", "annotate", "", "x", "image", "Detector", "%00", "a[]")
HEADERS = (
    *("Accept", "Accept", "Content-Type", "Content-Encoding", "Range", "If-None-Match", "Origin"),
    *("If-Modified-Since", "Authorization", "X-API-Key", "X-Forwarded-For", "Host", "Cookie"),
    *("User-Agent", "Transfer-Encoding", "Expect", "Connection", "Upgrade", "Forwarded", "TE"),
    *(
        "Access-Control-Request-Method",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Accept-Language",
    ),
)
HEADER_VALUES = (
    *(
        "",
        "*/*",
        "text/html",
        "image/jpeg",
        "image/jpeg;q=nan",
        "application/json;q=2",
        "text/*;q=-1",
        ",;,=",
    ),
    *(
        "bytes=0-",
        "bytes=5-1",
        "bytes=-99999999999",
        "bytes=0-0,2-3",
        "gzip",
        "chunked",
        "identity",
    ),
    *("multipart/form-data", 'multipart/form-data; boundary="', "image/jpeg; charset=x" * 9),
    *("Bearer ", "Bearer \xff\xfe", "Basic Og==", "Digest =", "a" * 5000, "\xe9\xff", 'W/"x"'),
    *("100-continue", "close", "keep-alive, Upgrade", "websocket", "13", "::1", "1.2.3.4, x"),
    *("Thu, 99 Foo 9999 99:99:99 GMT", "null", "http://x\x00", "a\tb", "[::", "x:99999"),
)
OPCODES = (0, 1, 2, 2, 2, 3, 8, 9, 10, 11)
HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@dataclass(frozen=True)
class Input:
    """Bytes to send on a connection.

    framed: it is one request with its correct length, so that one answer comes and the connection
    can be reused. after: bytes to send after an answer of 101.
    """

    data: bytes
    method: str = "POST"
    framed: bool = True
    after: bytes = b""


def make(seed: int, number: int) -> Input:
    """Return the input with this number."""
    rng = random.Random(f"{seed} {number}")  # noqa: S311 (the same each time)
    kinds = (pictured, form, fields, text, query, headers, raw, stream)
    (kind,) = rng.choices(kinds, (40, 12, 6, 10, 8, 8, 6, 10))
    return kind(rng)


def request(
    rng: random.Random,
    body: bytes,
    *lines: str,
    method: str = "POST",
    target: str = "/predict",
    framed: bool = True,
) -> Input:
    """Return a request; sometimes its body is chunked."""
    head = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *lines]
    if rng.random() < 0.1 and method == "POST":
        head.append("Transfer-Encoding: chunked")
        cut = rng.randrange(len(body) + 1)
        chunks = (each for each in (body[:cut], body[cut:]) if each)
        body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    else:
        head.append(f"Content-Length: {len(body)}")
    return Input("\r\n".join([*head, "", ""]).encode("latin-1") + body, method, framed)


def pictured(rng: random.Random) -> Input:
    """Return a request with a picture as its body."""
    target = "/predict?annotate=true" if rng.random() < 0.1 else "/predict"
    lines = [f"Content-Type: {rng.choice(TYPES)}"] if rng.random() < 0.95 else []
    if rng.random() < 0.03:
        lines.append(f"Content-Encoding: {rng.choice(ENCODINGS)}")
    method = "PUT" if rng.random() < 0.1 else "POST"
    return request(rng, picture(rng), *lines, method=method, target=target)


def as_text(rng: random.Random, data: bytes) -> str:
    """Write a picture as base64 in one of several ways, or return other text."""
    plain = base64.b64encode(data).decode()
    return rng.choice(
        (
            *(plain, plain, f"data:image/jpeg;base64,{plain}", base64.encodebytes(data).decode()),
            *(base64.urlsafe_b64encode(data).decode(), f"data:image/jpeg,{plain}", plain[:-1]),
            *(f" \n{plain}==", "data:", "https://a.example/b.jpg", "face.jpg", "=" * 9),
        )
    )


def parameter(rng: random.Random) -> tuple[str, str]:
    """Return a parameter and its value, right or wrong."""
    right = (("detector", "yunet"), ("min_confidence", "0.5"), ("annotate", "true"))
    return rng.choice(right) if rng.random() < 0.5 else (rng.choice(NAMES), rng.choice(VALUES))


def fields(rng: random.Random) -> Input:
    """Send a form without files."""
    pairs = [("image", as_text(rng, picture(rng)[:20_000]))] * rng.choice((0, 1, 1, 1, 1, 2))
    pairs += [parameter(rng) for _ in range(rng.choice((0, 0, 1, 1, 2, 500)))]
    escape = rng.choice((quote, quote, str, lambda text: "".join(f"%{ord(c):02x}" for c in text)))
    rng.shuffle(pairs)
    body = "&".join(f"{name}={escape(value)}" for name, value in pairs).encode() or b"&"
    if rng.random() < 0.3:
        body = spoil(rng, body)
    return request(rng, body, "Content-Type: application/x-www-form-urlencoded")


def form(rng: random.Random) -> Input:
    """Return a form, in which parts or boundaries may be damaged."""
    parts = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5, 1200 if rng.random() < 0.1 else 3))):
        name = rng.choice(("image", "image", "image", "", "x", "im\xffage", *NAMES[:3]))
        file = rng.choice(('; filename="a.jpg"', '; filename="a.jpg"', "", "; filename*=x''%ff"))
        kind = rng.choice(("Content-Type: image/jpeg\r\n", "", "Content-Type: ;\r\n"))
        head = f'--limit\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{kind}\r\n'
        content = picture(rng)[: 60_000 // 20]
        if name in NAMES[:3] and rng.random() < 0.9:
            content = rng.choice(VALUES).encode()
        elif rng.random() < 0.1:
            content = as_text(rng, content).encode()
        parts.append(head.encode("latin-1") + content + b"\r\n")
    body = b"".join(parts) + b"--limit--\r\n"
    if rng.random() < 0.5:
        body = spoil(rng, body)
    limit = rng.choice(("limit", "limit", "limit", "limi", "", '"limit"', "x" * 300))
    return request(rng, body, f"Content-Type: multipart/form-data; boundary={limit}")


def text(rng: random.Random) -> Input:
    """Return JSON that may have the wrong structure or be damaged."""
    encoded = as_text(rng, picture(rng))
    value: object = rng.choice(
        (encoded, encoded, encoded, encoded[:-1], "=" * 9, "\ud800", None, 7, [], {}, 1e308)
    )
    name = rng.choice(("image", "image", "image", "image", "x", "", "url", "\ud800"))
    whole = {name: value, **dict(parameter(rng) for _ in range(rng.choice((0, 0, 0, 1, 3))))}
    if rng.random() < 0.3:
        whole["min_confidence"] = rng.choice((0.5, 1, 10**400, -1, True, None, [], "0.5"))
        whole["annotate"] = rng.choice((True, False, 0, 2, "yes", None, {}))
    body = json.dumps(whole).encode()
    if rng.random() < 0.05:
        body = body[:-1] + b"," + body[1:]  # every name twice
    deep = b"[" * 20_000
    strange = (deep, b'{"image":' * 3000, b"\xef\xbb\xbf{}", b"\xff\xfe{", b"NaN", b'"\\ud800"')
    if rng.random() < 0.2:
        body = rng.choice(strange)
    elif rng.random() < 0.5:
        body = spoil(rng, body)
    kind = rng.choice(("application/json", "application/json; charset=utf-16", "application/json"))
    return request(rng, body, f"Content-Type: {kind}")


def query(rng: random.Random) -> Input:
    """Return a request with an undamaged picture, and valid and invalid parameters."""
    pairs = [
        f"{rng.choice(NAMES[:3] if rng.random() < 0.8 else NAMES)}={rng.choice(VALUES)}"
        for _ in range(rng.choice((1, 1, 2, 3, 50)))
    ]
    target = f"/predict?{'&'.join(pairs)}".replace(" ", "%20")
    safe = target.encode().decode("latin-1")
    return request(rng, rng.choice(pictures()), "Content-Type: image/jpeg", target=safe)


def headers(rng: random.Random) -> Input:
    """Return a request with unusual headers, and any method and path."""
    lines = [
        f"{rng.choice(HEADERS)}: {rng.choice(HEADER_VALUES)}"
        for _ in range(rng.choice((1, 1, 2, 5, 120)))
    ]
    method, target = rng.choice(METHODS), rng.choice(PATHS)
    body = picture(rng)[:2000] if rng.random() < 0.5 else b""
    return request(rng, body, *lines, method=method, target=target, framed=False)


def raw(rng: random.Random) -> Input:
    """Return a request in which any byte may be damaged."""
    whole = rng.choice((pictured, form, fields, text, query))(rng).data
    head, limit, body = whole.partition(b"\r\n\r\n")
    if rng.random() < 0.8:
        return Input(spoil(rng, head) + limit + body, framed=False)
    return Input(spoil(rng, whole), framed=False)


def frame(rng: random.Random, opcode: int, data: bytes, *, last: bool = True) -> bytes:
    """Return a WebSocket frame as a client sends it."""
    key = rng.randbytes(4)
    short = len(data) if len(data) < 126 else 126 if len(data) < 65536 else 127
    length = {126: struct.pack(">H", len(data) % 65536), 127: struct.pack(">Q", len(data))}
    repeated = key * (len(data) // 4 + 1)
    masked = bytes(a ^ b for a, b in zip(data, repeated, strict=False))
    head = bytes([(0x80 if last else 0) | opcode, 0x80 | short])
    return head + length.get(short, b"") + key + masked


def stream(rng: random.Random) -> Input:
    """Return a stream with whole, fragmented and broken messages and control frames."""
    target = rng.choice(("/stream", "/stream", "/stream", "/stream?detector=haar", "/stream?x=1"))
    lines = HANDSHAKE
    if spoilt := rng.random() < 0.1:
        lines = spoil(rng, lines.encode()).decode("latin-1")
    elif rng.random() < 0.2:
        lines += f"{rng.choice(HEADERS)}: {rng.choice(HEADER_VALUES)}\r\n"
    sent = []
    # Half of the streams are valid, so that the service processes their messages.
    orderly = rng.random() < 0.5
    whats = ("picture", "pieces") if orderly else ("picture", "any", "control", "length", "many")
    for _ in range(rng.choice((1, 2, 3, 6))):
        what = rng.choice(whats)
        if what == "picture":
            sent.append(frame(rng, 2, picture(rng)))
        elif what == "pieces":
            data = picture(rng)
            step = rng.choice((100, 1000, 5000))
            cuts = [data[n : n + step] for n in range(0, len(data), step)] or [b""]
            sent += [
                frame(rng, 0 if n else 2, each, last=n == len(cuts) - 1)
                for n, each in enumerate(cuts)
            ]
        elif what == "any":
            data = rng.randbytes(rng.choice((0, 1, 125, 126, 3000)))
            sent.append(frame(rng, rng.choice(OPCODES), data, last=rng.random() < 0.7))
        elif what == "control":
            reason = rng.choice(
                (b"", b"\xff\xfe", b"\x03", b"\x03\xe8\xff\xfe", b"\x00\x00", b"x" * 130)
            )
            sent.append(frame(rng, rng.choice((8, 9, 10)), reason))
        elif what == "length":
            length = rng.choice((2**63 - 1, 2**64 - 1, 2**32, 10_000_001, 0))
            sent.append(b"\x82\xff" + struct.pack(">Q", length) + rng.randbytes(20))
        else:
            sent.append(frame(rng, 2, b"", last=False) + frame(rng, 0, b"", last=False) * 500)
    data = b"".join(sent)
    if not orderly and rng.random() < 0.5:
        data = spoil(rng, data)
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n"
    return Input(head.encode("latin-1"), "GET", framed=False, after=b"" if spoilt else data)
