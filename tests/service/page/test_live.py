"""The stream and, where there is none, single requests: boxes stay on the faces all the time."""

import json
import os
import re
import signal
from pathlib import Path

from playwright.sync_api import Page, Route, WebSocket, WebSocketRoute, expect
from websockets.sync.client import connect

from bench import walk
from bench.page import MEDIUM, on_stage, overlap
from tests.conftest import serving
from tests.service.page.conftest import Visit
from tests.service.page.seen import (
    BY_REQUESTS,
    BY_STREAM,
    COUNTED_FRAMES,
    NO_CONNECTION,
    WAIT_MS,
    WATCHED_LOSSES,
    until,
)

STREAM = re.compile("/stream$")
# What is drawn and which frame is seen, of the same moment.
MOMENT = f"""() => [({walk.NUMBER})(), document.querySelector("#overlay").dataset.boxes]"""


def test_box_follows_somebody_who_walks(visit: Visit, walked: tuple[str, ...]) -> None:
    page = visit(*walked)
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    medium = page.locator("#video").evaluate(MEDIUM)
    overlaps = []
    for _ in range(20):
        page.wait_for_timeout(100)
        number, boxes = page.evaluate(MOMENT)
        seen = on_stage(medium, walk.face_in(number), mirrored=True)
        overlaps += [overlap(tuple(map(float, box.split())), seen) for box in boxes.split("; ")]
    # The box is of a moment ago; on a busy machine of a longer one.
    assert sorted(overlaps)[10] > 0.3, overlaps


def test_no_more_than_two_frames_are_in_flight(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, prepare=lambda page: page.add_init_script(COUNTED_FRAMES))
    page.click("#camera")
    several = re.compile(r"^[2-9]\d$")
    expect(page.locator("#stage")).to_have_attribute("data-answers", several, timeout=WAIT_MS)
    assert page.evaluate("window.sent.length") > 10
    assert 1 <= page.evaluate("window.mostInFlight") <= 2


def test_stream_that_says_nothing_gets_two_frames_and_is_given_up(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    taken: list[str | bytes] = []

    # An imitated service, or network, that takes frames and never answers.
    def take(message: str | bytes) -> None:
        taken.append(message)

    def swallow(socket: WebSocketRoute) -> None:
        socket.on_message(take)

    def prepare(page: Page) -> None:
        page.route_web_socket(STREAM, swallow)
        page.add_init_script(WATCHED_LOSSES)

    page = visit(*filmed, prepare=prepare)
    page.click("#camera")
    page.wait_for_selector(BY_REQUESTS)  # while the stream was being opened
    expect(page.locator("#faces li")).to_have_count(0, timeout=WAIT_MS)  # old boxes do not stay
    assert page.get_attribute("#overlay", "data-boxes") == ""
    until(page, lambda: NO_CONNECTION in page.evaluate("window.said"))
    assert len(taken) == 2
    expect(page.locator("#faces li")).to_have_count(1, timeout=WAIT_MS)


def test_without_a_stream_there_are_requests_until_there_is_one(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    with serving(MAX_STREAMS="1") as url:
        page = visit(*filmed, url=url, failures_expected=True)
        with connect(f"{url.replace('http', 'ws')}/stream"):  # somebody else has the only place
            page.click("#camera")
            several = re.compile(r"^([5-9]|\d\d+)$")
            expect(page.locator(BY_REQUESTS)).to_have_attribute(
                "data-answers", several, timeout=WAIT_MS
            )
            expect(page.locator("#faces li")).to_have_count(1)
            expect(page.locator("#message")).to_be_empty()
            expect(page.locator("#speed")).to_contain_text("single requests", timeout=WAIT_MS)
        page.wait_for_selector(BY_STREAM)
        expect(page.locator("#speed")).to_contain_text("· live", timeout=WAIT_MS)


def test_page_outlives_a_service_that_is_replaced(
    visit: Visit, filmed: tuple[str, ...], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    with serving(GUNICORN_CMD_ARGS=f"--pid {pid}") as url:
        page = visit(
            *filmed,
            url=url,
            prepare=lambda page: page.add_init_script(WATCHED_LOSSES),
            failures_expected=True,
        )
        sockets: list[WebSocket] = []

        def note_socket(socket: WebSocket) -> None:
            sockets.append(socket)

        page.on("websocket", note_socket)
        page.click("#camera")
        page.wait_for_selector(BY_STREAM)
        expect(page.locator("#alert")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator("#speed")).not_to_be_empty(timeout=WAIT_MS)
        # Gunicorn starts a new worker and ends the old one, which closes its streams.
        os.kill(int(pid.read_text()), signal.SIGHUP)
        until(page, lambda: len(sockets) > 1 and sockets[0].is_closed())
        assert page.evaluate("window.afterLoss[0]") == {
            "boxes": "",
            "people": 0,
            "speed": "",
            "alarmed": False,
            "message": NO_CONNECTION,
        }
        expect(page.locator(BY_STREAM)).to_be_attached(timeout=WAIT_MS)
        expect(page.locator("#message")).to_be_empty(timeout=WAIT_MS)
        expect(page.locator("#faces li")).to_have_count(1, timeout=WAIT_MS)
        page.click("#camera")


def test_page_waits_for_a_service_that_is_gone(visit: Visit, filmed: tuple[str, ...]) -> None:
    gone = False
    streams: list[WebSocketRoute] = []

    # The service stays up for the other tests: its absence is imitated.
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
    expect(message).to_have_text(NO_CONNECTION, timeout=WAIT_MS)
    expect(page.locator("#faces li")).to_have_count(0, timeout=WAIT_MS)
    assert page.get_attribute("#overlay", "data-boxes") == ""
    gone = False
    expect(message).to_be_empty(timeout=WAIT_MS)
    expect(page.locator("#faces li")).to_have_count(1, timeout=WAIT_MS)
    page.wait_for_selector(BY_STREAM)


def test_frame_that_the_stream_refuses_brings_its_words(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    frames = 0

    # The page sends no bad frames: the refusal of one is imitated, the rest is real.
    def refuse_one(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def answer(message: str | bytes) -> None:
            nonlocal frames
            frames += 1
            if 5 <= frames < 15:
                number = json.loads(message)["frame_id"]
                problem = {"status": 413, "detail": "Too many pixels.", "frame_id": number}
                socket.send(json.dumps(problem))
            else:
                socket.send(message)

        server.on_message(answer)

    page = visit(*filmed, prepare=lambda page: page.route_web_socket(STREAM, refuse_one))
    page.click("#camera")
    expect(page.locator("#message.problem")).to_have_text("Too many pixels.", timeout=WAIT_MS)
    expect(page.locator("#message")).to_be_empty(timeout=WAIT_MS)
    assert page.locator(BY_STREAM).count() == 1
