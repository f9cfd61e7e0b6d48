from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

from bench.servers import free_port
from client.answers import Box
from client.api import Refused, Unreachable, as_jpeg
from client.api import Service as Client
from client.web import retry_after
from tests.client.stand_in import TIMEOUT_S, Service, picture, problem


def test_an_answer_is_typed():
    with Service().serving() as port:
        verdicts = Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S).predict(
            as_jpeg(picture(1), 90)
        )
    assert verdicts.request_id == "request-0"
    assert verdicts.round_trip_ms > 0
    (face,) = verdicts.faces
    assert face.box == Box(120, 60, 80, 100)
    assert (face.label, face.detection_confidence) == ("mask", 0.98)
    assert face.probabilities == {"mask": 0.97, "no_mask": 0.03}
    assert verdicts.answer["model"]["name"] == "stand-in"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_unreachable(status: int):
    service = Service()
    service.failures[0] = problem(status, "Busy", "Later.", Retry_After="7")
    with service.serving() as port, pytest.raises(Unreachable, match=f"{status} Busy") as caught:
        Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S).predict(as_jpeg(picture(1), 90))
    assert caught.value.retry_after_s == 7


def test_no_server_is_unreachable():
    with pytest.raises(Unreachable, match="refused") as caught:
        Client(f"http://127.0.0.1:{free_port()}").predict(as_jpeg(picture(1), 90))
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (problem(413, "Content Too Large", "Send less."), "413 Content Too Large: Send less."),
        (problem(500, "Internal Server Error", "Sorry."), "500 Internal Server Error: Sorry."),
        ((404, {}, b"<html>"), "404 Not Found: sent by .*may not be a mask service"),
        (
            (301, {"Location": "https://masks/predict"}, b""),
            "it redirects to https://masks/predict",
        ),
    ],
)
def test_what_would_fare_the_same_again_is_refused(
    failure: tuple[int, dict[str, str], bytes], said: str
):
    service = Service()
    service.failures[0] = failure
    with service.serving() as port, pytest.raises(Refused, match=said):
        Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S).predict(as_jpeg(picture(1), 90))


def test_a_frame_no_jpeg_can_hold_is_refused():
    with pytest.raises(Refused, match="70000 x 1 pixels"):
        as_jpeg(np.zeros((1, 70000, 3), np.uint8), 90)


def test_retry_after_is_seconds_or_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert retry_after("3") == 3
    assert retry_after(soon) == 300  # no server can make the client wait for an hour
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None
