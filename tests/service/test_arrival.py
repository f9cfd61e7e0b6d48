"""Where a request ends: nothing in a body is ever taken for a request, on the real service."""

from __future__ import annotations

import json

import pytest

from tests.hardening.heads import BEHIND, CHUNKED, WRONG
from tests.wire import Answer, answers, connect, get, post, told


def is_problem(answer: Answer) -> bool:
    kind = answer.headers["Content-Type"] == "application/problem+json"
    return kind and json.loads(answer.body)["status"] == answer.status


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_where_the_end_is_in_doubt_nothing_behind_it_is_answered(
    server_url: str, wrong: bytes
) -> None:
    (answer,) = told(server_url, wrong + BEHIND)
    assert answer.status in {400, 501}
    assert is_problem(answer)
    assert answer.headers["Connection"] == "close"


def test_a_body_in_pieces_of_any_size_is_one_body(server_url: str, portrait_jpeg: bytes) -> None:
    small = portrait_jpeg[:700]
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(p), p) for p in (small[:1], small[1:]))
    request = post(chunks + b"000\r\nX-Sum: 1\r\n\r\n", CHUNKED)
    answered = told(server_url, *(bytes([byte]) for byte in request + BEHIND))
    assert [each.status for each in answered] == [422, 200]  # half a picture


def test_pipelined_requests_are_answered_in_their_order(
    server_url: str, portrait_jpeg: bytes
) -> None:
    size = b"%x\r\n" % len(portrait_jpeg)
    answered = told(
        server_url,
        post(portrait_jpeg)
        + get("/nowhere")
        + post(size + portrait_jpeg + b"\r\n0\r\n\r\n", CHUNKED)
        + b"\r\n"  # as old browsers sent it behind a body
        + post(b"no picture")
        + get("/healthz"),
    )
    assert [each.status for each in answered] == [200, 404, 200, 422, 200]
    assert len(json.loads(answered[2].body)["faces"]) == 1


def test_a_body_that_nobody_wants_ends_no_connection(server_url: str) -> None:
    other = post(b"x" * 300_000).replace(b"image/jpeg", b"text/plain")
    answered = told(server_url, other + post(b"", path="/healthz") + BEHIND)
    assert [each.status for each in answered] == [415, 405, 200]
    assert {each.headers["Connection"] for each in answered} == {"keep-alive"}


@pytest.mark.parametrize(
    "request_",
    [
        post(b"x" * 200_000, "Content-Length: 10000001"),
        post(b"x" * 200_000, "Content-Length: 999999999999999999"),
        post(b"%x\r\n" % 10_000_001 + b"x" * 200_000, CHUNKED),
        post(b"1\r\nx\r\n" * 20_001, CHUNKED),
    ],
)
def test_a_body_too_large_is_refused_before_it_has_come_and_ends_the_connection(
    server_url: str, request_: bytes
) -> None:
    with connect(server_url) as sock:
        sock.sendall(request_)
        answer, *more = answers(sock)
    assert answer.status == 413
    assert is_problem(answer)
    assert answer.headers["Connection"] == "close"
    assert not more


@pytest.mark.parametrize("framing", ["Content-Length: 15", CHUNKED])
def test_who_expects_it_is_told_to_continue(server_url: str, framing: str) -> None:
    with connect(server_url) as sock:
        sock.sendall(post(b"", "Expect: 100-Continue", framing))
        answered = answers(sock)
        assert next(answered).status == 100
        sock.sendall(b"a\r\nno picture\r\n0\r\n\r\n" if framing == CHUNKED else b"no picture at a")
        assert next(answered).status == 422
        sock.sendall(BEHIND)
        assert next(answered).status == 200


def test_who_is_too_large_or_too_old_is_not_told_to_continue(server_url: str) -> None:
    large = post(b"", "Expect: 100-continue", "Content-Length: 10000001")
    assert [each.status for each in told(server_url, large)] == [413]
    old = post(b"", "Expect: 100-continue", "Content-Length: 3", version="1.0")
    assert [each.status for each in told(server_url, old, b"abc", pause_s=0.3)] == [422]
    assert [each.status for each in told(server_url, post(b"a", "Expect: miracles"))] == [417]


def test_a_connection_of_http_1_0_is_kept_where_that_is_asked_for(server_url: str) -> None:
    kept = post(b"x", "Connection: keep-alive", version="1.0")
    closed = post(b"x", version="1.0")
    assert [each.status for each in told(server_url, kept + closed + BEHIND)] == [422, 422]


def test_head_is_answered_without_a_body(server_url: str) -> None:
    with connect(server_url) as sock:
        sock.sendall(get("/healthz", method="HEAD") + get("/predict", method="HEAD"))
        answered = answers(sock, head=True)
        assert [next(answered).status for _ in range(2)] == [200, 405]


def test_what_comes_with_the_handshake_of_a_stream_is_no_request(server_url: str) -> None:
    handshake = get(
        "/stream",
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    with connect(server_url) as sock:
        sock.sendall(handshake + BEHIND)
        assert next(answers(sock)).status == 101
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_a_header_names_no_other_place_for_the_application(server_url: str) -> None:
    (answer,) = told(server_url, get("/healthz", "SCRIPT_NAME: /elsewhere", "PATH_INFO: /metrics"))
    assert answer.status == 200
    assert json.loads(answer.body) == {"status": "alive"}


def test_a_head_too_large_is_refused_also_where_it_comes_at_once(server_url: str) -> None:
    large = get("/healthz", *(f"X-{n}: {'a' * 7000}" for n in range(10)))
    assert [each.status for each in told(server_url, large + BEHIND)] == [431]


def test_a_path_with_too_many_slashes_leads_nowhere(server_url: str) -> None:
    (answer,) = told(server_url, get("/static//index.html"))
    assert (answer.status, answer.headers["Location"]) == (404, None)
