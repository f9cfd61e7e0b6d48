"""A screen at a door: the camera starts by itself, and the verdict is large."""

from playwright.sync_api import Page, expect

from tests.service.page.conftest import Visit
from tests.service.page.seen import ANSWERED, BY_STREAM, until
from tests.service.page.test_camera import IMITATED_SCREEN

KIOSK = "?autostart=1&fullscreen=1"
# A camera that is plugged in only after the page has asked for it twice.
LATE_CAMERA = """
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.tries = 0;
  navigator.mediaDevices.getUserMedia = async (wish) => {
    window.tries += 1;
    if (window.tries < 3) throw new DOMException("None", "NotFoundError");
    return open(wish);
  };
"""


def test_kiosk_shows_the_camera_and_a_large_verdict_only(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    page = visit(*filmed, query=KIOSK, prepare=lambda page: page.add_init_script(IMITATED_SCREEN))
    page.wait_for_selector(BY_STREAM)
    verdict = page.locator("#verdict")
    expect(verdict).to_have_text("Please put on a mask")
    assert page.evaluate("window.screenStaysOn") is True
    for hidden in ("header", "#controls", "#panels", "footer", "#alert"):
        expect(page.locator(hidden)).to_be_hidden()
    stage, seen = page.locator("#stage").bounding_box(), page.viewport_size
    assert stage is not None
    assert seen is not None
    assert (stage["width"], stage["height"]) == (seen["width"], seen["height"])
    assert page.evaluate("parseFloat(getComputedStyle(verdict).fontSize)") > 40
    page.click("#stage")  # browsers give the whole screen only then
    until(page, lambda: page.evaluate("document.fullscreenElement !== null"))


def test_kiosk_waits_for_its_camera(visit: Visit, filmed: tuple[str, ...]) -> None:
    page: Page = visit(
        *filmed,
        query="?autostart=1",
        prepare=lambda page: page.add_init_script(LATE_CAMERA),
    )
    expect(page.locator("#message.problem")).to_contain_text("No camera was found.")
    page.wait_for_selector(ANSWERED)
    assert page.evaluate("window.tries") == 3
    expect(page.locator("#message")).to_be_empty()
    expect(page.locator("#controls")).to_be_visible()


def test_page_without_the_parameters_waits_for_a_click(
    visit: Visit, filmed: tuple[str, ...]
) -> None:
    page = visit(*filmed)
    expect(page.locator("#invitation")).to_be_visible()
    expect(page.locator("#verdict")).to_be_hidden()
