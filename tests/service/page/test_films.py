"""Video files on the page: they play in the browser, and what plays is judged."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from bench import walk
from model.images import Image
from tests.service.page.conftest import Visit
from tests.service.page.seen import (
    ANSWERED,
    BY_STREAM,
    COUNTED_FRAMES,
    FACE,
    WAIT_MS,
    assert_box_on_face,
    choose,
    until,
)


@pytest.fixture(scope="module")
def video(portrait: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of the portrait, which keeps still, in a format that every Chromium plays."""
    frame = np.full((walk.HEIGHT, walk.WIDTH, 3), (90, 80, 70), np.uint8)
    frame[:, :480] = portrait[:480, :480]
    path = tmp_path_factory.mktemp("film") / "film.webm"
    walk.write_video(path, [frame] * 2 * walk.FPS)
    return path


def answers(page: Page) -> int:
    return int(page.get_attribute("#stage", "data-answers") or 0)


def test_video_is_judged_as_it_plays(visit: Visit, video: Path) -> None:
    page = visit(prepare=lambda page: page.add_init_script(COUNTED_FRAMES))
    page.set_input_files("#file", video)
    page.wait_for_selector(BY_STREAM)
    assert_box_on_face(page, "#video", FACE)
    expect(page.get_by_role("button", name="Play")).to_be_visible(timeout=WAIT_MS)  # at its end
    expect(page.locator("#time")).to_have_text("0:02 / 0:02")
    assert_box_on_face(page, "#video", FACE)  # a film that stands still keeps its box
    sent = page.evaluate("window.sent")
    assert 0 < max(sent) < video.stat().st_size / 2  # single frames leave the browser, no film

    page.get_by_role("button", name="Close").click()
    expect(page.locator("#invitation")).to_be_visible()
    expect(page.get_by_role("button", name="Open file")).to_be_focused()


def test_video_is_stopped_and_moved_with_the_keyboard(visit: Visit, video: Path) -> None:
    page = visit()
    page.set_input_files("#file", video)
    page.wait_for_selector(ANSWERED)
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.get_by_role("button", name="Play")).to_be_focused()
    page.wait_for_timeout(500)  # the last frames come back
    before = answers(page)
    page.wait_for_timeout(500)
    assert answers(page) == before
    slider = page.get_by_role("slider", name="Position")
    slider.press("Home")
    until(page, lambda: answers(page) > before)
    assert_box_on_face(page, "#video", FACE)
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^0:00 / 0:02$"))


@pytest.mark.parametrize(
    ("name", "mime"),
    [("holiday.mp4", "video/mp4"), ("holiday.avi", "video/x-msvideo"), ("holiday.MKV", "")],
)
def test_video_that_no_browser_plays_is_left_to_the_client(
    visit: Visit, name: str, mime: str
) -> None:
    page = visit()
    choose(page, b"no film", name, mime)
    words = (
        f"“{name}” is a video that this browser cannot play. Check it with the client: "
        "facemask-client --source FILE, or make client SOURCE=FILE"
    )
    expect(page.locator("#message.problem")).to_have_text(words)
    expect(page.locator("#invitation")).to_be_visible()
