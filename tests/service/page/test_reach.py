"""Access to the page: by keyboard, on a small phone, in light and dark."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import FileChooser, expect

from tests.service.page.conftest import Visit
from tests.service.page.seen import ANSWERED, PHONE


def test_keyboard_reaches_everything(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()

    def answer_chooser(chooser: FileChooser) -> None:
        chooser.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": portrait_jpeg})

    page.on("filechooser", answer_chooser)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start camera")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Open file")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector(ANSWERED)
    for role, name in [
        ("button", "Save picture"),
        ("button", "Close"),
        ("switch", "Blur faces"),
        ("switch", "Alert on screen"),
        ("switch", "Alert by sound"),
    ]:
        page.keyboard.press("Tab")
        expect(page.get_by_role(role, name=name)).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_phone_in_light_and_dark(
    visit: Visit, filmed: tuple[str, ...], tmp_path: Path, scheme: str
) -> None:
    page = visit(*filmed, color_scheme=scheme, **PHONE)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    width, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width == seen == 320
    page.screenshot(path=tmp_path / "phone.png")
    with Image.open(tmp_path / "phone.png") as screenshot:
        brightness = screenshot.convert("L").getpixel((5, 5))
    assert brightness > 200 if scheme == "light" else brightness < 50
