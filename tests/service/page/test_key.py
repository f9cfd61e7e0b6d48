"""The page of a service that wants an API key."""

import hashlib
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.conftest import serving
from tests.service.page.conftest import Visit
from tests.service.page.seen import ANSWERED, WAIT_MS, choose

KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with serving(API_KEYS=hashlib.sha256(KEY.encode()).hexdigest()) as url:
        yield url


def test_the_page_asks_for_the_key_and_remembers_it(
    guarded: str,
    visit: Visit,
    portrait_jpeg: bytes,
) -> None:
    page = visit(url=guarded, failures_expected=True)
    field = page.locator("#key")
    expect(field).to_be_hidden()
    choose(page, portrait_jpeg)
    expect(field).to_be_visible()
    field.fill("guess")
    field.press("Enter")
    expect(page.locator("#key-label")).to_contain_text("does not know")
    field.fill(KEY)
    field.press("Enter")
    page.wait_for_selector(ANSWERED)
    expect(field).to_be_hidden()
    page.reload()
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    expect(field).to_be_hidden()


def test_the_pages_camera_streams_with_the_key(
    guarded: str,
    visit: Visit,
    filmed: tuple[str, ...],
) -> None:
    page = visit(*filmed, url=guarded, failures_expected=True)
    accepted: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", accepted.append))
    page.click("#camera")
    page.fill("#key", KEY)
    page.press("#key", "Enter")
    page.wait_for_selector(ANSWERED)
    deadline = time.monotonic() + WAIT_MS / 1000
    while not accepted and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert accepted
