"""Requests that are malformed or have an ambiguous length, each in a different way."""

from __future__ import annotations

from bench.hardening.wire import get, post

CHUNKED = "Transfer-Encoding: chunked"
BEHIND = get()  # a request smuggled after another request, or in its body
WRONG = {
    "two lengths": post(b"abc", "Content-Length: 3", "Content-Length: 3"),
    "two lengths that differ": post(BEHIND, "Content-Length: 0", f"Content-Length: {len(BEHIND)}"),
    "a signed length": post(b"abc", "Content-Length: +3"),
    "a negative length": post(b"abc", "Content-Length: -3"),
    "a list of lengths": post(b"abc", "Content-Length: 3, 3"),
    "a hexadecimal length": post(b"abc", "Content-Length: 0x3"),
    "an empty length": post(b"abc", "Content-Length:"),
    "a length in another script": post(b"abc", "Content-Length: \xb3"),
    "a space after the name": post(b"abc", "Content-Length : 3"),
    "a folded length": post(b"abc", "Content-Length:\r\n 3"),
    "a length and chunks": post(b"0\r\n\r\n", "Content-Length: 5", CHUNKED),
    "chunks and a length": post(b"0\r\n\r\n", CHUNKED, "Content-Length: 5"),
    "chunks twice": post(b"0\r\n\r\n", CHUNKED, CHUNKED),
    "chunks before gzip": post(b"0\r\n\r\n", "Transfer-Encoding: chunked, gzip"),
    "gzip in another header": post(b"0\r\n\r\n", CHUNKED, "Transfer-Encoding: gzip"),
    "gzip alone": post(b"0\r\n\r\n", "Transfer-Encoding: gzip"),
    "something like chunks": post(b"0\r\n\r\n", "Transfer-Encoding: xchunked"),
    "a control character before chunks": post(b"0\r\n\r\n", "Transfer-Encoding:\x0bchunked"),
    "folded chunks": post(b"0\r\n\r\n", "Transfer-Encoding:\r\n chunked"),
    "chunks in HTTP/1.0": post(b"0\r\n\r\n", CHUNKED, version="1.0"),
    "a space after a chunk's size": post(b"3 \r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a negative chunk": post(b"-3\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a hexadecimal prefix": post(b"0x3\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a chunk longer than it says": post(b"3\r\nabcdef0\r\n\r\n", CHUNKED),
    "a chunk with a wrong extension": post(b"3;;\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a length as a trailer": post(b"0\r\nContent-Length: 3\r\n\r\n", CHUNKED),
    "a line that ends in a line feed": b"POST /predict HTTP/1.1\nContent-Length: 3\r\n\r\nabc",
    "a line that ends in a carriage return": post(b"abc", "Content-Length: 3\rHost: other"),
    "a space after Transfer-Encoding": post(b"0\r\n\r\n", "Transfer-Encoding : chunked"),
    "a tab after Transfer-Encoding": post(b"0\r\n\r\n", "Transfer-Encoding\t: chunked"),
    "chunks and identity": post(b"0\r\n\r\n", "Transfer-Encoding: chunked, identity"),
    "identity alone": post(b"abc", "Transfer-Encoding: identity", "Content-Length: 3"),
    "chunks in quotes": post(b"0\r\n\r\n", 'Transfer-Encoding: "chunked"'),
    "chunks after a NUL": post(b"0\r\n\r\n", "Transfer-Encoding: \0chunked"),
    "chunks with a parameter": post(b"0\r\n\r\n", "Transfer-Encoding: chunked;a=b"),
    "a length after a NUL": post(b"abc", "Content-Length: \x003"),
    "a length with an exponent": post(b"abc", "Content-Length: 3e0"),
    "a length with a point": post(b"abc", "Content-Length: 3.0"),
    "two lengths in one": post(b"abc", "Content-Length: 3 3"),
    "a line feed after a chunk's size": post(b"3\nabc\r\n0\r\n\r\n", CHUNKED),
    "a line feed after a chunk": post(b"3\r\nabc\n0\r\n\r\n", CHUNKED),
    "a carriage return after a chunk's size": post(b"3\rabc\r\n0\r\n\r\n", CHUNKED),
    "a line feed in an extension": post(b"3;a\nb\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a line feed in a trailer": post(b"0\r\nX-A: b\n\r\n\r\n", CHUNKED),
    "a signed chunk": post(b"+3\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a chunk's size with an underscore": post(b"0_3\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a chunk without an end": post(b"3\r\nabc0\r\n\r\n", CHUNKED),
    "an empty chunk's size": post(b"\r\nabc\r\n0\r\n\r\n", CHUNKED),
    "a head that ends in line feeds": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "a line feed before a field": get("/healthz", "X-A: b\nContent-Length: 40"),
    "the PROXY protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

CONTROLS = [chr(n) for n in (*range(9), 11, 12, *range(14, 32), 127)]
METHODS = ["", "G", "GET/", "get", "GE T", "G\xc9T", "GET:", "{GET}", "GET" * 9, "\x00GET", "GET\t"]
TARGETS = [
    "",
    "healthz",
    "*",
    "localhost:80",
    "/a b",
    "/\x01",
    "/\xe9",
    "/" + "a" * 9000,
    "http://[",
]
VERSIONS = [
    "",
    "HTTP",
    "HTTP/",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/1.1 ",
    "HTTP/1.10",
]
VERSIONS += ["http/1.1", "HTTPS/1.1", "HTTP/1.1\t", "HTTP/-1.1", "ICY/1.1", "HTTP/\xb9.\xb9"]
FIELDS = [":", ": no name", "no colon", " folded: first", "a b: space", "a\t: tab", "\xe4: latin"]
FIELDS += [
    "a(b): comment",
    "a: " + "b" * 9000,
    "Host: a\r\nHost: b",
    "Expect: miracles",
    "a: b\r\n folded",
]
FIELDS += [
    "a: b\nc: d",
    "a: b\rc: d",
    "\r\r: x",
    "@: at",
    "[a]: brackets",
    '"a": quotes',
    "a/b: slash",
]


def broken() -> dict[str, bytes]:
    """Return requests that a server must refuse, by what is wrong with them."""
    lines = {f"method {method!r:.30}": f"{method} /healthz HTTP/1.1" for method in METHODS}
    lines |= {f"target {target!r:.30}": f"GET {target} HTTP/1.1" for target in TARGETS}
    lines |= {f"version {version!r}": f"GET /healthz {version}" for version in VERSIONS}
    requests = {
        name: f"{line}\r\nHost: localhost\r\n\r\n".encode("latin-1") for name, line in lines.items()
    }
    fields = {f"field {field!r:.30}": field for field in FIELDS}
    fields |= {f"control {each!r} in a value": f"X-A: b{each}c" for each in CONTROLS}
    fields |= {f"control {each!r} in a name": f"X-{each}A: b" for each in CONTROLS}
    requests |= {name: get("/healthz", field) for name, field in fields.items()}
    requests["101 fields"] = get("/healthz", *(f"X-{n}: a" for n in range(101)))
    requests["70 kB of fields"] = get("/healthz", *(f"X-{n}: {'a' * 7000}" for n in range(10)))
    return requests | WRONG
