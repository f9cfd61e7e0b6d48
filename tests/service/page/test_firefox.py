"""The page in Firefox: it judges a picture, watches a camera, and logs no error."""

import re
from functools import partial

import pytest
from playwright.sync_api import expect

from tests.conftest import ROOT
from tests.service.page import conftest
from tests.service.page.seen import ANSWERED, BY_STREAM, FACE, assert_box_on_face, choose


@pytest.fixture
def visit(visit: conftest.Visit) -> conftest.Visit:
    return partial(visit, engine="firefox")


def test_picture_shows_its_face(visit: conftest.Visit, portrait_jpeg: bytes) -> None:
    page = visit()
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#picture", FACE)


def test_labels_stand_beside_the_faces(visit: conftest.Visit) -> None:
    page = visit()
    page.set_input_files("#file", ROOT / "docs" / "faces.jpg")
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#faces li")).to_have_text([re.compile("No mask"), re.compile("Mask")])
    labels = (page.get_attribute("#overlay", "data-labels") or "").split("; ")
    assert [label.split()[5:7] for label in labels] == [["1", "No"], ["2", "Mask"]]


def test_camera_is_answered_by_stream(visit: conftest.Visit) -> None:
    page = visit()  # Firefox's imitated camera shows one colour after the other, and no face
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    several = re.compile(r"^\d{2,}$")
    expect(page.locator("#stage")).to_have_attribute("data-answers", several)
    expect(page.locator("#none")).to_have_text("No face found.")
    expect(page.locator("#speed")).to_contain_text("· live")
    page.click("#camera")
    expect(page.locator("#invitation")).to_be_visible()


def test_video_that_it_cannot_play_is_left_to_the_client(visit: conftest.Visit) -> None:
    page = visit()
    choose(page, b"no film", "holiday.avi", "video/x-msvideo")
    expect(page.locator("#message.problem")).to_contain_text("make client SOURCE=FILE")
