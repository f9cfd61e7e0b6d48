"""Limits per client, and how clients are told apart, on the real service."""

from __future__ import annotations

import hashlib
import json
import time

import numpy as np
import pytest
import requests

from model.images import Image
from service.limits import network_of
from tests.conftest import TIMEOUT_S, encoded, open_stream, serving

SELDOM = "0.01"  # the least that may be set: one frame, and no other for 100 s


def send(url: str, body: bytes = b"no picture", **headers: str) -> requests.Response:
    """Send a body that is quickly refused with 422 if the limit lets it pass."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent["Content-Type"] = "image/jpeg"
    return requests.post(f"{url}/predict", body, headers=sent, timeout=TIMEOUT_S)


def statuses(url: str, *addresses: str) -> list[int]:
    return [send(url, X_Forwarded_For=address).status_code for address in addresses]


def test_a_burst_passes_and_more_gets_a_retry_after(portrait_jpeg: bytes) -> None:
    with serving(RATE_LIMIT="2") as url:
        assert [send(url).status_code for _ in range(4)] == [422] * 4
        refused = next(r for r in (send(url) for _ in range(100)) if r.status_code == 429)
        assert refused.status_code == 429
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "More than 2 frames per second" in refused.json()["detail"]
        assert requests.get(f"{url}/healthz", timeout=TIMEOUT_S).status_code == 200
        assert requests.get(f"{url}/model", timeout=TIMEOUT_S).status_code == 200
        time.sleep(int(refused.headers["Retry-After"]))
        assert send(url, portrait_jpeg).status_code == 200


def test_a_stream_lives_on_after_frames_too_many(portrait_jpeg: bytes) -> None:
    with serving(RATE_LIMIT="2") as url, open_stream(url) as one:
        answers = []
        for _ in range(100):
            one.send(b"no picture")
            answers.append(json.loads(one.recv(TIMEOUT_S)))
            if answers[-1]["status"] == 429:
                break
        assert [answer["status"] for answer in answers[:4]] == [422] * 4
        assert answers[-1]["status"] == 429
        assert answers[-1]["frame_id"] == len(answers) - 1
        time.sleep(1)
        one.send(portrait_jpeg)
        assert json.loads(one.recv(TIMEOUT_S))["faces"]


def test_without_a_limit_all_pass(server_url: str) -> None:
    assert {send(server_url).status_code for _ in range(50)} == {422}


def test_an_address_that_a_client_claims_is_ignored() -> None:
    with serving(RATE_LIMIT=SELDOM) as url:
        assert statuses(url, "203.0.113.1", "203.0.113.2") == [422, 429]


def test_behind_a_proxy_each_client_has_its_own_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(RATE_LIMIT=SELDOM, TRUSTED_PROXIES="1") as url:
        assert statuses(url, "203.0.113.1", "203.0.113.2", "203.0.113.1") == [422, 422, 429]
        assert statuses(url, "203.0.113.9, 203.0.113.1") == [429]  # the proxy added the last one
        same, other = ["2001:db8:0:1::1", "2001:db8:0:1::2"], "2001:db8:0:2::1"
        assert statuses(url, *same, other) == [422, 429, 422]
        # Some proxies add the client's port, which changes with each connection.
        assert statuses(url, "203.0.113.1:5678", "203.0.113.7:1", "203.0.113.7:2") == [
            *(429, 422, 429),
        ]
        assert statuses(url, "[2001:db8:0:1::3]:99", "[2001:db8:0:2::1]") == [429, 429]
    assert "remote=203.0.113.2" in capsys.readouterr().out


def test_the_limit_is_a_keys_where_there_are_keys() -> None:
    digests = ",".join(hashlib.sha256(key.encode()).hexdigest() for key in ("one", "two"))
    with serving(RATE_LIMIT=SELDOM, API_KEYS=digests) as url:
        sent = [send(url, X_API_Key=key).status_code for key in ("one", "two", "one", "three")]
        assert sent == [422, 422, 429, 401]


def test_an_address_that_cannot_be_read_is_still_one_client() -> None:
    assert [network_of(text) for text in (None, "", "unix:", "::ffff:203.0.113.1")] == [
        *("", "", "unix:"),
        "203.0.113.1",
    ]


def test_faces_above_the_limit_are_not_judged_but_counted(portrait: Image) -> None:
    crowd = encoded(np.hstack([portrait] * 3))
    with serving(MAX_FACES="2") as url, open_stream(url) as stream:
        answer = send(url, crowd).json()
        assert (len(answer["faces"]), answer["faces_left_out"]) == (2, 1)
        one = send(url, encoded(portrait)).json()
        assert (len(one["faces"]), one["faces_left_out"]) == (1, 0)
        for _ in range(3):  # also in frames where faces are tracked, not detected
            stream.send(crowd)
            answer = json.loads(stream.recv(TIMEOUT_S))
            assert (len(answer["faces"]), answer["faces_left_out"]) == (2, 1)
