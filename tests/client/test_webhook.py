"""The webhook posts each confirmed no-mask event, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client import arguments
from client.answers import Box
from client.tracks import Event
from client.webhook import MOST_WAITING, Webhook
from tests.client.stand_in import FACE, TIMEOUT_S, Quiet, Service, film, run, serving

SECRET = "our-secret"
EVENT = Event(
    *("no_mask_confirmed", "0", 7, datetime(2026, 1, 2, tzinfo=UTC), 3, None, "no_mask"),
    *(None, 0.01, Box(1, 2, 3, 4)),
)


class Receiver:
    """A webhook's receiver; statuses: of its first answers, the others are 200."""

    def __init__(self, *statuses: int) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses = list(statuses)
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def listening(self) -> Iterator[str]:
        receiver = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((dict(self.headers), body))
                receiver.gate.wait(TIMEOUT_S)
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        with serving(Handler) as port:
            yield f"http://127.0.0.1:{port}/hook"


def test_a_confirmed_no_mask_is_posted_once_and_signed(tmp_path: Path) -> None:
    bare = FACE | {"label": "no_mask", "probabilities": {"mask": 0.02, "no_mask": 0.98}}
    service, receiver = Service(), Receiver()
    service.faces = [bare]
    source = film(tmp_path / "film.mp4", frames=12, fps=12)
    with service.serving() as port, receiver.listening() as hook:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            *("--webhook", hook),
            FACEMASK_WEBHOOK_SECRET=SECRET,
        )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    ((headers, body),) = receiver.received
    event = json.loads(body)
    assert event["event"] == "no_mask_confirmed"
    assert event["frame"] == 4  # the fifth such answer in a row
    assert event["label"] == "no_mask"
    signed = headers["X-Timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Signature-256"] == f"sha256={expected}"
    assert abs(int(headers["X-Timestamp"]) - time.time()) < 60


def test_what_fails_is_tried_again_as_the_same_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.webhook.FLUSH_S", TIMEOUT_S)
    receiver = Receiver(503, 500)
    with receiver.listening() as hook:
        webhook = Webhook(hook, SECRET, print)
        webhook.put(EVENT)
        webhook.close()
    ids = [headers["X-Event-ID"] for headers, _ in receiver.received]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert webhook.dropped == 0


def test_what_is_refused_is_not_tried_again_and_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client.webhook.FLUSH_S", TIMEOUT_S)
    receiver, notes = Receiver(404), []
    with receiver.listening() as hook:
        webhook = Webhook(hook, SECRET, notes.append)
        webhook.put(EVENT)
        webhook.close()
    assert len(receiver.received) == 1
    assert notes == ["The webhook did not accept an event (status 404); 1 lost so far."]


def test_a_dead_receiver_holds_nothing_up() -> None:
    receiver, notes = Receiver(), []
    receiver.gate.clear()
    with receiver.listening() as hook:
        webhook = Webhook(hook, SECRET, notes.append)
        for _ in range(MOST_WAITING + 10):
            webhook.put(EVENT)
        assert webhook.dropped >= 9  # one event is being posted
        receiver.gate.set()
        webhook.close()
    assert "too many wait already" in notes[0]


def test_a_webhook_without_a_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FACEMASK_WEBHOOK_SECRET", raising=False)
    with pytest.raises(SystemExit):
        arguments.parse(["--webhook", "http://127.0.0.1/"])
    assert "set FACEMASK_WEBHOOK_SECRET" in capsys.readouterr().err
