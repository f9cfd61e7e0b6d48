"""Slow clients hold no thread: the real service has fewer threads than there are slow clients."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import pytest
import requests

from bench.hardening.wire import answers, connect, get, post, told
from bench.servers import Server, running
from tests.conftest import TIMEOUT_S, assert_clean, serving

JPEG = {"Content-Type": "image/jpeg"}
SLOW = 20
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    few = {"INFERENCE_SLOTS": "1", "QUEUE_SIZE": "2", "MAX_STREAMS": "0"}  # 7 threads
    with running(CLIENT_TIMEOUT="3", **few) as server:
        yield server
    assert_clean(server)


@pytest.fixture
def url(server: Server) -> str:
    return server.url


def is_served(url: str, picture: bytes) -> bool:
    answer = requests.post(f"{url}/predict", picture, headers=JPEG, timeout=TIMEOUT_S)
    return answer.status_code == 200 and len(answer.json()["faces"]) == 1


def remote_ports(server: Server) -> set[int]:
    """Return the ports of all connected clients."""
    worker = server.worker()
    assert worker is not None
    return {each.raddr.port for each in worker.net_connections("tcp") if each.raddr}


def begun(url: str, stack: ExitStack, sent: bytes) -> list[socket.socket]:
    slow = [stack.enter_context(connect(url)) for _ in range(SLOW)]
    for sock in slow:
        sock.sendall(sent)
    return slow


@pytest.mark.parametrize(
    "sent",
    [
        get()[:-2],
        b"GET",
        post(b"some", "Content-Length: 100000"),
        post(b"5\r\nhello\r\n5\r\nhe", CHUNKED),
    ],
    ids=["head", "line", "body", "chunks"],
)
def test_slow_senders_get_408_and_others_are_served_meanwhile(
    url: str, portrait_jpeg: bytes, sent: bytes
) -> None:
    with ExitStack() as stack:
        slow = begun(url, stack, sent)
        assert all(is_served(url, portrait_jpeg) for _ in range(3))
        for sock in slow:
            (answer,) = answers(sock)
            assert answer.status == 408
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert json.loads(answer.body)["status"] == 408
        assert is_served(url, portrait_jpeg)


def test_a_byte_now_and_then_buys_no_more_time(url: str, portrait_jpeg: bytes) -> None:
    with connect(url) as sock:
        sock.sendall(post(b"", CHUNKED))
        status = b""
        for _ in range(100):
            try:
                sock.sendall(b"1\r\nx\r\n")
                sock.settimeout(0.2)
                status = sock.recv(12)
                break
            except TimeoutError:
                continue
        assert status == b"HTTP/1.1 408"
    assert is_served(url, portrait_jpeg)


def test_a_large_picture_over_a_slow_connection_is_judged(url: str, portrait_jpeg: bytes) -> None:
    """At 200 kB/s, for longer than CLIENT_TIMEOUT; as 5 MB take longer than its default."""
    body = portrait_jpeg + bytes(900_000)
    with connect(url) as sock:
        sock.sendall(post(b"", f"Content-Length: {len(body)}"))
        for at in range(0, len(body), 50_000):
            sock.sendall(body[at : at + 50_000])
            time.sleep(0.25)
        (answer,) = islice(answers(sock), 1)
    assert answer.status == 200
    assert len(json.loads(answer.body)["faces"]) == 1


def test_a_client_that_sends_nothing_is_closed_without_an_answer(
    url: str, portrait_jpeg: bytes
) -> None:
    with ExitStack() as stack:
        slow = begun(url, stack, b"")
        assert is_served(url, portrait_jpeg)
        assert [sock.recv(1) for sock in slow] == [b""] * SLOW


def test_a_client_that_does_not_read_the_answers_is_closed(
    server: Server, portrait_jpeg: bytes
) -> None:
    url = server.url
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(url, receive_bytes=4096)) for _ in range(SLOW)]
        asked = 400  # of about 10 kB each: more than the kernel buffers
        for sock in slow:
            sock.sendall(get("/openapi.json") * asked)
        assert all(is_served(url, portrait_jpeg) for _ in range(3))
        ports = {sock.getsockname()[1] for sock in slow}
        deadline = time.monotonic() + TIMEOUT_S
        while ports & remote_ports(server):
            assert time.monotonic() < deadline, "some are still connected"
            time.sleep(0.1)
        for sock in slow:
            try:
                read = list(answers(sock))
            except OSError:
                continue
            assert len(read) < asked
        assert is_served(url, portrait_jpeg)


def test_a_client_that_leaves_halfway_leaves_nothing_behind(url: str, portrait_jpeg: bytes) -> None:
    with ExitStack() as stack:
        begun(url, stack, post(portrait_jpeg[:5000], f"Content-Length: {len(portrait_jpeg)}"))
    for _ in range(SLOW):  # and clients that leave before their answer
        with connect(url) as sock:
            sock.sendall(post(portrait_jpeg))
    deadline = time.monotonic() + TIMEOUT_S
    while not (served := is_served(url, portrait_jpeg)) and time.monotonic() < deadline:
        time.sleep(0.2)  # until their frames are done
    assert served


def test_more_connections_than_are_held_make_room_for_the_next(portrait_jpeg: bytes) -> None:
    with serving(CLIENT_TIMEOUT="600") as url, ExitStack() as stack:
        idle = []
        for _ in range(1200):
            idle.append(stack.enter_context(connect(url)))
            idle[-1].sendall(b"G")  # at once: a client that has sent nothing gets no answer
        assert is_served(url, portrait_jpeg)
        (answer,) = answers(idle[0])  # the oldest
        assert answer.status == 408


def test_bodies_of_the_slow_are_held_within_a_bound(portrait_jpeg: bytes) -> None:
    """The buffers hold 16 bodies of the largest size, and each body counts twice."""
    with serving(CLIENT_TIMEOUT="600", MAX_BODY_BYTES="1000000") as url, ExitStack() as stack:
        slow = [stack.enter_context(connect(url)) for _ in range(SLOW)]
        for sock in slow:
            sock.sendall(post(b"x" * 900_000, "Content-Length: 1000000"))
        kept = slow.copy()
        while len(kept) > 11:
            refused, _, _ = select.select(kept, [], [], TIMEOUT_S)
            assert refused, f"{len(kept)} are kept"
            for sock in refused:
                assert sock.recv(12) == b"HTTP/1.1 503"
                kept.remove(sock)
        assert is_served(url, portrait_jpeg)
        assert len(kept) > len(select.select(kept, [], [], 0)[0])  # not all are refused
        for sock in kept:
            sock.close()
        statuses = [503]
        while statuses[-1] == 503:  # until the service has noticed that they left
            large = requests.post(f"{url}/predict", b"x" * 900_000, headers=JPEG, timeout=TIMEOUT_S)
            statuses.append(large.status_code)
        assert statuses[-1] == 422


@pytest.mark.parametrize("framing", [CHUNKED, "Content-Length: 10"])
def test_nothing_behind_a_body_that_no_one_reads_is_answered(url: str, framing: str) -> None:
    smuggled = get("/healthz", framing) + b"3\r\nabcdef0\r\n\r\n" + get("/readyz")
    (answer,) = told(url, smuggled)
    assert answer.status == 200
    assert answer.headers["Connection"] == "close"
