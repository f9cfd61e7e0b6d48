"""Streams, and single requests where there is no stream: boxes stay on the faces."""

import json
import os
import re
import signal
from pathlib import Path

from playwright.sync_api import Page, Route, WebSocket, WebSocketRoute, expect

from bench import walk
from bench.page import MEDIUM, on_stage, overlap
from tests.conftest import open_stream, serving
from tests.service.page.conftest import Visit
from tests.service.page.seen import (
    BY_REQUESTS,
    BY_STREAM,
    COUNTED_FRAMES,
    until,
)

STREAM = re.compile("/stream$")
# The visible frame's number and the drawn boxes, at the same moment.
MOMENT = f"""() => [({walk.NUMBER})(), document.querySelector("#overlay").dataset.boxes]"""


def test_box_follows_a_walking_person(visit: Visit, walked: tuple[str, ...]) -> None:
    page = visit(*walked)
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    medium = page.locator("#video").evaluate(MEDIUM)
    moments = []
    for _ in range(20):
        page.wait_for_timeout(200)
        moments.append(page.evaluate(MOMENT))

    def typical_overlap(frames_ago: int) -> float:
        overlaps = []
        for number, boxes in moments:
            seen = on_stage(medium, walk.face_in(number - frames_ago), mirrored=True)
            drawn = (tuple(map(float, box.split())) for box in boxes.split("; ") if box)
            overlaps.append(max((overlap(box, seen) for box in drawn), default=0))
        return sorted(overlaps)[len(overlaps) // 2]

    # The box lags behind the face, by a second or more on a busy machine. A box that never moves
    # overlaps the face, which returns every four seconds, by less than this at any lag.
    assert max(map(typical_overlap, range(2 * walk.FPS))) > 0.45, moments


def test_no_more_than_two_frames_are_in_flight(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, prepare=lambda page: page.add_init_script(COUNTED_FRAMES))
    page.click("#camera")
    several = re.compile(r"^[2-9]\d$")
    expect(page.locator("#stage")).to_have_attribute("data-answers", several)
    assert page.evaluate("window.sent.length") > 10
    assert 1 <= page.evaluate("window.mostInFlight") <= 2


def test_a_silent_stream_gets_two_frames_and_is_given_up(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    taken: list[str | bytes] = []

    # An imitated service, or network, that takes frames and never answers.
    def take(message: str | bytes) -> None:
        taken.append(message)

    def swallow(socket: WebSocketRoute) -> None:
        socket.on_message(take)

    page = visit(*filmed, prepare=lambda page: page.route_web_socket(STREAM, swallow))
    page.click("#camera")
    page.wait_for_selector(BY_REQUESTS)  # until the stream was open
    expect(page.locator("#faces li")).to_have_count(0)  # old boxes do not stay
    assert page.get_attribute("#overlay", "data-boxes") == ""
    assert len(taken) == 2
    expect(page.locator("#faces li")).to_have_count(1)


def test_without_a_stream_there_are_requests_until_there_is_one(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    with serving(MAX_STREAMS="1") as url:
        page = visit(*filmed, url=url, failures_expected=True)
        with open_stream(url):  # another client has the only place
            page.click("#camera")
            several = re.compile(r"^([5-9]|\d\d+)$")
            expect(page.locator(BY_REQUESTS)).to_have_attribute("data-answers", several)
            expect(page.locator("#faces li")).to_have_count(1)
            expect(page.locator("#message")).to_be_empty()
            expect(page.locator("#speed")).to_contain_text("single requests")
        page.wait_for_selector(BY_STREAM)
        expect(page.locator("#speed")).to_contain_text("· live")


def test_page_outlives_a_service_that_is_replaced(
    visit: Visit, filmed: tuple[str, ...], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    with serving(GUNICORN_CMD_ARGS=f"--pid {pid}") as url:
        page = visit(*filmed, url=url, failures_expected=True)
        sockets: list[WebSocket] = []

        def note_socket(socket: WebSocket) -> None:
            sockets.append(socket)

        page.on("websocket", note_socket)
        page.click("#camera")
        page.wait_for_selector(BY_STREAM)
        # Gunicorn starts a new worker and ends the old one, which closes its streams.
        os.kill(int(pid.read_text()), signal.SIGHUP)
        until(page, lambda: len(sockets) > 1 and sockets[0].is_closed())
        expect(page.locator(BY_STREAM)).to_be_attached()
        expect(page.locator("#message")).to_be_empty()
        expect(page.locator("#faces li")).to_have_count(1)
        page.click("#camera")


def test_page_waits_for_a_service_that_is_gone(visit: Visit, filmed: tuple[str, ...]) -> None:
    gone = False
    streams: list[WebSocketRoute] = []

    # Other tests need the service, so its absence is imitated.
    def pass_or_close(socket: WebSocketRoute) -> None:
        if gone:
            socket.close(code=1001)
        else:
            socket.connect_to_server()
            streams.append(socket)

    def pass_or_abort(route: Route) -> None:
        if gone:
            route.abort("connectionrefused")
        else:
            route.continue_()

    def prepare(page: Page) -> None:
        page.route_web_socket(STREAM, pass_or_close)
        page.route("**/predict", pass_or_abort)

    page = visit(*filmed, prepare=prepare, failures_expected=True)
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    gone = True
    streams[0].close(code=1001)
    message = page.locator("#message")
    expect(message).to_have_text("The service cannot be reached. Trying again…")
    expect(page.locator("#faces li")).to_have_count(0)
    assert page.get_attribute("#overlay", "data-boxes") == ""
    gone = False
    expect(message).to_be_empty()
    expect(page.locator("#faces li")).to_have_count(1)
    page.wait_for_selector(BY_STREAM)


def test_the_message_of_a_frame_that_the_stream_refuses_is_shown(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    frames, refusing = 0, True

    # The page sends no bad frames, so the refusals are imitated. The rest is real.
    def refuse_one(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def answer(message: str | bytes) -> None:
            nonlocal frames
            frames += 1
            if refusing and frames >= 5:
                number = json.loads(message)["frame_id"]
                problem = {"status": 413, "detail": "Too many pixels.", "frame_id": number}
                socket.send(json.dumps(problem))
            else:
                socket.send(message)

        server.on_message(answer)

    page = visit(*filmed, prepare=lambda page: page.route_web_socket(STREAM, refuse_one))
    page.click("#camera")
    expect(page.locator("#message.problem")).to_have_text("Too many pixels.")
    refusing = False
    expect(page.locator("#message")).to_be_empty()
    assert page.locator(BY_STREAM).count() == 1
