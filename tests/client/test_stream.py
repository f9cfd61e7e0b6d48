"""Failures of the client's stream, with the real service or a scripted one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from bench.servers import free_port
from client.api import Refused, Unreachable, as_jpeg
from client.api import Service as Client
from client.stream import Stream
from tests.client.stand_in import FACE, TIMEOUT_S, film, lines_of, picture, run, start, wait_for
from tests.client.stand_in import Service as StandIn
from tests.conftest import serving

JPEG = as_jpeg(picture(1), 90)


def answer(frame: int, *track_ids: int) -> str:
    """Answer a frame as the service would."""
    faces = [FACE | {"track_id": number, "age": 0.1} for number in track_ids]
    return json.dumps({"request_id": "1", "faces": faces, "frame_id": frame, "dropped": 0})


@contextmanager
def told(
    *handlers: Callable[[ServerConnection], None], timeout_s: float = TIMEOUT_S
) -> Iterator[tuple[Stream, list[str]]]:
    """Serve each connection with the next handler; yield a stream to it, and the stream's notes."""
    turns = iter(handlers)
    notes: list[str] = []

    def take_turns(connection: ServerConnection) -> None:
        next(turns)(connection)

    with serve(take_turns, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        stream = Stream(Client(url, timeout_s, headers={"X-API-Key": "sesame"}), notes.append)
        yield stream, notes
        stream.close()
        server.shutdown()
        thread.join()


def test_a_stream_that_goes_away_is_opened_again_and_numbers_on() -> None:
    keys = []

    def one_frame(connection: ServerConnection) -> None:
        keys.append(connection.request.headers["X-API-Key"])
        connection.recv()
        connection.send(answer(0, 0, 3))
        connection.recv()
        connection.close(1001, "the service stops")

    with told(one_frame, one_frame) as (stream, notes):
        assert [face.track_id for face in stream.ask(JPEG).faces] == [0, 3]
        with pytest.raises(Unreachable, match="the service stops"):
            stream.ask(JPEG)
        assert [face.track_id for face in stream.ask(JPEG).faces] == [4, 7]
    assert keys == ["sesame", "sesame"]
    assert notes == []


def test_a_stream_closed_for_idling_is_opened_again_unnoticed() -> None:
    def idle(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(answer(0))
        connection.close(1008, "no frame for 60 s")

    with told(idle, idle) as (stream, _):
        assert stream.ask(JPEG).faces == ()
        assert stream.ask(JPEG).faces == ()


def test_problems_and_silence_are_told_apart() -> None:
    def unwell(connection: ServerConnection) -> None:
        for frame, status in enumerate((422, 503)):
            connection.recv()
            problem = {"title": "No", "status": status, "detail": "so.", "frame_id": frame}
            connection.send(json.dumps(problem))

    def silent(connection: ServerConnection) -> None:
        connection.recv()
        with suppress(ConnectionClosed):
            connection.recv()

    with told(unwell) as (stream, _):
        with pytest.raises(Refused, match="422 No: so"):
            stream.ask(JPEG)
        with pytest.raises(Unreachable, match="503 No: so"):
            stream.ask(JPEG)
    silence = pytest.raises(Unreachable, match="no answer within 2 s")
    with told(silent, timeout_s=2) as (stream, _), silence:
        stream.ask(JPEG)


def test_an_answer_to_another_frame_is_not_taken_for_this_ones() -> None:
    def late(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(answer(7, 1))
        connection.send(answer(0, 2))

    with told(late) as (stream, _):
        assert [face.track_id for face in stream.ask(JPEG).faces] == [2]


def test_a_tentative_face_becomes_no_person(tmp_path: Path) -> None:
    jsonl, answers = tmp_path / "events.jsonl", tmp_path / "answers.jsonl"

    def unsure(connection: ServerConnection) -> None:
        for frame in range(12):
            connection.recv()
            body = json.loads(answer(frame, 0, 1))
            body["faces"][0] |= {"state": "confirmed"}
            body["faces"][1] |= {"state": "tentative", "label": "no_mask"}
            connection.send(json.dumps(body))

    with serve(unsure, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = run(
            *("--url", f"http://127.0.0.1:{server.socket.getsockname()[1]}", "--no-window"),
            *("--source", str(film(tmp_path / "film.mp4", frames=12, fps=12))),
            *("--jsonl", str(jsonl), "--answers", str(answers)),
        )
        server.shutdown()
        thread.join()
    assert done.returncode == 0, done.stderr
    assert "faces: mask 12, no_mask 0, uncertain 0" in done.stdout
    events = [(event["event"], event["label"]) for event in lines_of(jsonl)]
    assert events == [("first_seen", "mask"), ("last_seen", "mask")]
    assert len(lines_of(answers)[0]["answer"]["faces"]) == 2


def test_a_frame_too_large_for_the_service_is_refused_and_the_next_is_not() -> None:
    with serving(MAX_BODY_BYTES="20000") as url:
        stream = Stream(Client(url), print)
        with pytest.raises(Refused, match="more bytes"):
            stream.ask(JPEG + b"\0" * 20000)
        assert len(stream.ask(as_jpeg(picture(1), 50)).faces) == 1
        stream.close()


def test_without_a_place_for_a_stream_frames_go_one_by_one(tmp_path: Path) -> None:
    source, jsonl = film(tmp_path / "film.mp4", frames=12, fps=12), tmp_path / "events.jsonl"
    with serving(MAX_STREAMS="0") as url:
        done = run("--url", url, "--source", str(source), "--no-window", "--jsonl", str(jsonl))
    assert done.returncode == 0, done.stderr
    assert "12 frames answered, 0 refused" in done.stdout
    assert done.stderr.count("503 Service Unavailable: Too many streams are open") == 1
    events = [(event["event"], event["track_id"]) for event in lines_of(jsonl)]
    assert events == [("first_seen", 0), ("no_mask_confirmed", 0), ("last_seen", 0)]


def test_the_key_goes_to_predict_too_and_is_never_shown(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", frames=2, fps=12)
    service = StandIn()
    with service.serving() as port:
        done = run(
            *("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window"),
            FACEMASK_API_KEY="open-sesame",
        )
    assert done.returncode == 0, done.stderr
    assert service.keys == ["open-sesame"] * 2
    assert "sesame" not in done.stdout + done.stderr


def test_a_film_survives_a_restart_of_the_service(tmp_path: Path) -> None:
    source, answers = film(tmp_path / "film.mp4", frames=150, fps=12), tmp_path / "answers"
    port = str(free_port())
    arguments = ("--url", f"http://127.0.0.1:{port}", "--source", str(source), "--no-window")
    with serving(PORT=port):
        client = start(*arguments, "--answers", str(answers))
        wait_for(lambda: len(lines_of(answers)) >= 5, "five answers")
    assert client.poll() is None
    with serving(PORT=port):
        _, err = client.communicate(timeout=TIMEOUT_S)
    assert client.returncode == 0, err
    assert "the stream was closed: the service is stopping" in err
    assert "answers again" in err
    assert [line["frame"] for line in lines_of(answers)] == list(range(150))
