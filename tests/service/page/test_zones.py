"""Areas of the picture in which faces are ignored, and the smallest face."""

import pytest
from playwright.sync_api import Page, expect

from bench.page import MEDIUM, Rectangle, on_stage
from tests.conftest import ROOT
from tests.service.page.conftest import Visit
from tests.service.page.seen import ANSWERED, BY_STREAM
from tests.service.page.test_camera import FACE_IN_FILM

LEFT_FACE = (120, 58, 89, 106)


def draw_over(page: Page, medium: str, face: Rectangle, *, mirrored: bool = False) -> None:
    """Draw an area over a face, as a person does who sees it on the page."""
    page.get_by_role("button", name="Ignore an area").click()
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    seen = on_stage(page.locator(medium).evaluate(MEDIUM), face, mirrored=mirrored)
    left, top, width, height = seen
    page.mouse.move(stage["x"] + left, stage["y"] + top)
    page.mouse.down()
    page.mouse.move(stage["x"] + left + width, stage["y"] + top + height)
    page.mouse.up()


def test_area_over_a_picture_is_remembered_until_it_is_removed(visit: Visit) -> None:
    page = visit()
    people = page.locator("#faces li")
    expect(page.get_by_role("button", name="Ignore an area")).to_be_disabled()
    page.set_input_files("#file", ROOT / "docs" / "faces.jpg")
    expect(people).to_have_count(2)
    draw_over(page, "#picture", LEFT_FACE)
    expect(people).to_have_count(1)
    expect(people).to_contain_text("Mask")
    expect(page.locator("#left-out")).to_have_text("Faces left out: 1.")

    page.reload()
    page.set_input_files("#file", ROOT / "docs" / "faces.jpg")
    expect(people).to_have_count(1)
    page.get_by_role("button", name="Remove area 1").click()
    expect(people).to_have_count(2)
    expect(page.get_by_role("list", name="Ignored areas").get_by_role("listitem")).to_have_count(0)


def test_a_click_is_no_area_and_escape_cancels(visit: Visit) -> None:
    page = visit()
    page.set_input_files("#file", ROOT / "docs" / "faces.jpg")
    page.wait_for_selector(ANSWERED)
    button = page.get_by_role("button", name="Ignore an area")
    button.click()
    page.keyboard.press("Escape")
    expect(button).to_have_attribute("aria-pressed", "false")
    draw_over(page, "#picture", (*LEFT_FACE[:2], 1, 1))
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("list", name="Ignored areas").get_by_role("listitem")).to_have_count(0)


@pytest.mark.parametrize("how", ["area", "smallest"])
def test_the_stream_of_a_camera_leaves_faces_out(
    visit: Visit, filmed: tuple[str, ...], how: str
) -> None:
    page = visit(*filmed)
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    expect(page.locator("#faces li")).to_have_count(1)
    if how == "area":
        draw_over(page, "#video", FACE_IN_FILM, mirrored=True)
    else:
        page.get_by_label("Smallest face").fill("300")
        page.keyboard.press("Enter")
    expect(page.locator("#faces li")).to_have_count(0)
    expect(page.locator("#left-out")).to_have_text("Faces left out: 1.")
    page.wait_for_selector(BY_STREAM)
    expect(page.locator("#none")).to_be_visible()
