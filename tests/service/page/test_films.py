"""Video files on the page: the browser plays them and their frames are judged."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from bench import walk
from model.images import Image
from tests.service.page.conftest import Visit
from tests.service.page.seen import (
    ANSWERED,
    BY_STREAM,
    COUNTED_FRAMES,
    FACE,
    answers,
    assert_box_on_face,
    choose,
    until,
)

# A film of two seconds lasts for ten, so that it is stopped before its end on a busy machine.
SLOWLY = "addEventListener('play', (event) => (event.target.playbackRate = 0.2), true);"


@pytest.fixture(scope="module")
def video(portrait: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of the still portrait, in a format that every Chromium plays."""
    frame = np.full((walk.HEIGHT, walk.WIDTH, 3), (90, 80, 70), np.uint8)
    frame[:, :480] = portrait[:480, :480]
    path = tmp_path_factory.mktemp("film") / "film.webm"
    walk.write_video(path, [frame] * 2 * walk.FPS)
    return path


def test_video_is_judged_as_it_plays(visit: Visit, video: Path) -> None:
    page = visit(prepare=lambda page: page.add_init_script(COUNTED_FRAMES))
    page.set_input_files("#file", video)
    page.wait_for_selector(BY_STREAM)
    assert_box_on_face(page, "#video", FACE)
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # at the end of the film
    expect(page.locator("#time")).to_have_text("0:02 / 0:02")
    assert_box_on_face(page, "#video", FACE)  # a paused film keeps its box
    sent = page.evaluate("window.sent")
    assert 0 < max(sent) < video.stat().st_size / 2  # frames leave the browser, not the film

    page.get_by_role("button", name="Close").click()
    expect(page.locator("#invitation")).to_be_visible()
    expect(page.get_by_role("button", name="Open file")).to_be_focused()


def test_video_is_stopped_and_moved_with_the_keyboard(visit: Visit, video: Path) -> None:
    page = visit(prepare=lambda page: page.add_init_script(SLOWLY + COUNTED_FRAMES))
    page.set_input_files("#file", video)
    page.wait_for_selector(ANSWERED)
    until(page, lambda: page.evaluate("document.querySelector('#video').currentTime") > 0.3)
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.get_by_role("button", name="Play")).to_be_focused()
    sent: list[int] = []

    def nothing_is_sent_for_a_second() -> bool:
        page.wait_for_timeout(1000)
        sent.append(page.evaluate("window.sent.length"))
        return sent[-2:] == sent[-1:] * 2

    until(page, nothing_is_sent_for_a_second)
    assert not page.evaluate("document.querySelector('#video').ended")
    before = answers(page)
    slider = page.get_by_role("slider", name="Position")
    slider.press("Home")
    until(page, lambda: answers(page) > before)
    assert_box_on_face(page, "#video", FACE)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^0:00 / 0:02$"))


def test_broken_video_is_refused_with_a_message(visit: Visit) -> None:
    page = visit()
    choose(page, b"no film", "holiday.mp4", "video/mp4")
    words = "“holiday.mp4” is not a video that this browser can play."
    expect(page.locator("#message.problem")).to_have_text(words)
    expect(page.locator("#invitation")).to_be_visible()
