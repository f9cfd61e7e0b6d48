"""The page of a service that wants an API key."""

import hashlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.conftest import serving
from tests.service.page.conftest import Visit
from tests.service.page.seen import ANSWERED, BY_REQUESTS, BY_STREAM, choose

KEY = "a-key-of-the-tests"
NO_TOKEN = "with/signs="  # not allowed in a subprotocol


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    digests = (hashlib.sha256(key.encode()).hexdigest() for key in (KEY, NO_TOKEN))
    with serving(API_KEYS=",".join(digests)) as url:
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


@pytest.mark.parametrize(("key", "answered"), [(KEY, BY_STREAM), (NO_TOKEN, BY_REQUESTS)])
def test_the_camera_is_watched_with_the_key(
    guarded: str, visit: Visit, filmed: tuple[str, ...], key: str, answered: str
) -> None:
    page = visit(*filmed, url=guarded, failures_expected=True)
    page.click("#camera")
    page.fill("#key", key)
    page.press("#key", "Enter")
    page.wait_for_selector(answered)
    expect(page.locator("#message")).to_have_text("")
