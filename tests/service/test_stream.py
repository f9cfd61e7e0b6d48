"""WS /stream on the real service, by a real WebSocket client."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from service.schemas import StreamAnswer
from tests.conftest import ROOT, TIMEOUT_S, encoded, open_stream, serving


def answer(connection: ClientConnection) -> dict[str, Any]:
    return json.loads(connection.recv(TIMEOUT_S))


def test_every_frame_gets_its_answer_and_a_person_keeps_its_id(
    server_url: str, portrait_jpeg: bytes
) -> None:
    with open_stream(server_url) as connection:
        answers = []
        for _ in range(8):
            connection.send(portrait_jpeg)
            answers.append(answer(connection))
    plain = requests.post(
        f"{server_url}/predict",
        portrait_jpeg,
        headers={"Content-Type": "image/jpeg"},
        timeout=TIMEOUT_S,
    ).json()
    for number, body in enumerate(answers):
        StreamAnswer.model_validate(body)
        assert set(body) == set(plain) | {"frame_id", "dropped"}
        assert body["model"] == plain["model"]
        assert (body["frame_id"], body["dropped"]) == (number, 0)
        (face,) = body["faces"]
        assert set(face) == set(plain["faces"][0]) | {"track_id", "age", "state"}
        assert face["box"] == pytest.approx(
            plain["faces"][0]["box"], abs=12
        )  # looks are of several sizes
        assert (face["id"], face["track_id"]) == (0, 0)
    assert len({body["request_id"] for body in answers}) == 8
    ages = [body["faces"][0]["age"] for body in answers]
    assert ages[0] == 0
    assert ages == sorted(ages)
    assert answers[0]["faces"][0]["label"] == "uncertain"  # one look is no evidence yet
    assert answers[0]["faces"][0]["state"] == "tentative"
    assert answers[0]["summary"] == {"mask": 0, "no_mask": 0, "uncertain": 0}
    assert answers[-1]["faces"][0]["state"] == "confirmed"
    assert answers[-1]["faces"][0]["label"] == "no_mask"
    assert answers[-1]["summary"] == {"mask": 0, "no_mask": 1, "uncertain": 0}


def test_an_unusable_frame_is_refused_and_the_stream_lives_on(portrait_jpeg: bytes) -> None:
    with serving(MAX_PIXELS="262144") as url, open_stream(url) as connection:
        for number, (message, status) in enumerate(
            [
                (b"no picture", 422),
                (b"", 422),
                (portrait_jpeg[: len(portrait_jpeg) // 2], 422),
                (encoded(np.zeros((513, 512, 3), np.uint8)), 413),
                ("a text", 422),
            ]
        ):
            connection.send(message)
            problem = answer(connection)
            assert (problem["status"], problem["frame_id"]) == (status, number)
            assert {"type", "title", "detail", "request_id"} <= problem.keys()
        connection.send(portrait_jpeg)
        assert len(answer(connection)["faces"]) == 1


def test_the_newest_frame_wins(server_url: str, portrait_jpeg: bytes) -> None:
    with open_stream(server_url) as connection:
        for _ in range(60):
            connection.send(portrait_jpeg)
        answers = []
        while not answers or answers[-1]["frame_id"] < 59:
            answers.append(answer(connection))
    ids = [body["frame_id"] for body in answers]
    assert ids == sorted(set(ids))
    assert len(ids) < 60
    assert answers[-1]["dropped"] == 60 - len(ids)


def test_a_message_in_pieces_is_one_frame(server_url: str, portrait_jpeg: bytes) -> None:
    with open_stream(server_url) as connection:
        connection.send(portrait_jpeg[n : n + 9000] for n in range(0, len(portrait_jpeg), 9000))
        assert len(answer(connection)["faces"]) == 1


EMPTY_MASK = b"\x80" + bytes(4)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(b"\x02" + EMPTY_MASK + (b"\x00" + EMPTY_MASK) * 1_000_000, id="empty pieces"),
        pytest.param((b"\x89" + EMPTY_MASK) * 1_000_000, id="pings"),
        pytest.param((b"\x82" + EMPTY_MASK) * 1_000_000, id="empty messages"),
    ],
)
def test_a_flood_of_small_frames_is_closed(portrait_jpeg: bytes, flood: bytes) -> None:
    """The byte limit does not count them, and each costs time."""
    with serving() as url, open_stream(url) as connection:

        def resident() -> int:
            text = requests.get(f"{url}/metrics", timeout=TIMEOUT_S).text
            (found,) = re.findall(r"^process_resident_memory_bytes (.+)", text, re.MULTILINE)
            return int(float(found))

        connection.send(portrait_jpeg)
        assert answer(connection)["faces"]
        before = resident()
        with suppress(OSError):  # the service may close it halfway
            connection.socket.sendall(flood)
        with pytest.raises(ConnectionClosed) as closed:
            deque(iter(lambda: connection.recv(TIMEOUT_S), None))
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
        assert resident() - before < 5_000_000


def test_an_ignored_zone_leaves_a_person_out(server_url: str) -> None:
    faces = (ROOT / "docs" / "faces.jpg").read_bytes()
    with open_stream(server_url, "?ignore=0,0,0.5,1&smallest_face=40") as connection:
        for _ in range(6):
            connection.send(faces)
            body = answer(connection)
            assert [face["box"]["x"] > 340 for face in body["faces"]] == [True]
            assert body["faces_left_out"] == 1
    assert body["summary"] == {"mask": 1, "no_mask": 0, "uncertain": 0}


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("?detector=none", {}, 400),
        ("?min_confidence=2", {}, 400),
        ("?annotate=true", {}, 400),
        ("?ignore=everything", {}, 400),
        ("", {"Origin": "https://elsewhere.example"}, 403),
    ],
)
def test_refusals_are_problems_before_the_upgrade(
    server_url: str, query: str, headers: dict[str, str], status: int
) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        open_stream(server_url, query, additional_headers=headers),
    ):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(response.body)["status"] == status


def test_the_services_own_page_may_open_a_stream(portrait_jpeg: bytes) -> None:
    with (
        serving(DETECTORS="haar") as url,
        open_stream(url, "?detector=haar", origin=url) as connection,
    ):
        connection.send(portrait_jpeg)
        assert answer(connection)["model"]["detector"] == "haar"


def test_a_plain_request_says_that_a_websocket_is_wanted(server_url: str) -> None:
    response = requests.get(f"{server_url}/stream", timeout=TIMEOUT_S)
    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert "WebSocket client" in response.json()["detail"]


def until_there_is_room(open_one: Callable[[], ClientConnection]) -> ClientConnection:
    """Open a stream as soon as another one's place is free."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            return open_one()
        except InvalidStatus:
            time.sleep(0.1)
    raise AssertionError("the place was not given back")


def test_more_streams_than_allowed_are_refused_until_one_ends(portrait_jpeg: bytes) -> None:
    with serving(MAX_STREAMS="2") as url, open_stream(url) as one:
        leaver = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        leaving = open_stream(url, sock=leaver, legacy=True)
        with pytest.raises(InvalidStatus) as refused, open_stream(url):
            pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        leaver.shutdown(socket.SHUT_RDWR)  # without closing, as when a network fails
        leaving.close()
        with until_there_is_room(lambda: open_stream(url)) as other:
            other.send(portrait_jpeg)
            assert answer(other)["faces"]
        one.send(portrait_jpeg)
        assert answer(one)["faces"]


def test_one_client_may_leave_streams_for_others(portrait_jpeg: bytes) -> None:
    with serving(MAX_STREAMS_PER_CLIENT="1", TRUSTED_PROXIES="1") as url:

        def of(client: str) -> ClientConnection:
            return open_stream(url, additional_headers={"X-Forwarded-For": client})

        with of("192.0.2.1"):
            with pytest.raises(InvalidStatus) as refused, of("192.0.2.1"):
                pass
            assert refused.value.response.status_code == 503
            assert b"the limit per client" in refused.value.response.body
            with of("192.0.2.2") as other:
                other.send(portrait_jpeg)
                assert answer(other)["faces"]
        with until_there_is_room(lambda: of("192.0.2.1")) as again:
            again.send(portrait_jpeg)
            assert answer(again)["faces"]


def test_a_stream_without_frames_and_one_too_large_are_closed(portrait_jpeg: bytes) -> None:
    with serving(STREAM_IDLE_TIMEOUT="3", MAX_BODY_BYTES="100000") as url:
        with open_stream(url) as connection:
            connection.send(portrait_jpeg)
            assert answer(connection)["faces"]
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(TIMEOUT_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "no frame for 3 s")
        with open_stream(url) as connection:
            connection.send(bytes(100_001))
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(TIMEOUT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_the_stop_of_the_service_closes_streams_with_1001(portrait_jpeg: bytes) -> None:
    with ExitStack() as clients:
        with serving(GRACEFUL_TIMEOUT="300") as url:  # the test kills it after a minute
            opened = [clients.enter_context(open_stream(url)) for _ in range(3)]
            for connection in opened:
                connection.send(portrait_jpeg)
                assert answer(connection)["faces"]
        for connection in opened:
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(TIMEOUT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001


def test_streams_and_requests_share_the_slots(server_url: str, portrait_jpeg: bytes) -> None:
    """Streams without pauses leave room for requests, and vice versa."""
    stop = threading.Event()
    counts = [0, 0, 0]

    def keep_sending(number: int) -> None:
        with open_stream(server_url) as connection:
            while not stop.is_set():
                connection.send(portrait_jpeg)
                answer(connection)
                counts[number] += 1

    threads = [threading.Thread(target=keep_sending, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for number in range(200):
        response = requests.post(
            f"{server_url}/predict",
            portrait_jpeg,
            headers={"Content-Type": "image/jpeg"},
            timeout=TIMEOUT_S,
        )
        assert response.status_code == 200
        if number >= 9 and min(counts) >= 5:
            break
    stop.set()
    for thread in threads:
        thread.join()
    assert min(counts) >= 5


def test_a_frame_of_too_many_megapixels_is_refused(server_url: str) -> None:
    with open_stream(server_url) as connection:
        connection.send(encoded(np.zeros((3600, 3600, 3), np.uint8)))
        problem = answer(connection)
    assert problem["status"] == 413
    assert "12.5 megapixels" in problem["detail"]
