"""Pictures on the page: from the file to the box on the face."""

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from tests.conftest import ROOT
from tests.service.page.conftest import Visit
from tests.service.page.seen import (
    ANSWERED,
    DESKTOP,
    FACE,
    PHONE,
    assert_box_on_face,
    choose,
    encoded,
)

A_PERSON = re.compile(r"^Person 1: (Mask \d\d %|No mask \d\d %|Uncertain)$")
HAND_OVER = """([type, name, mime, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: mime }));
  const options = { bubbles: true, cancelable: true };
  document.querySelector("#stage").dispatchEvent(type === "drop"
    ? new DragEvent("drop", { ...options, dataTransfer: data })
    : new ClipboardEvent("paste", { ...options, clipboardData: data }));
}"""


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_picture_shows_its_face(visit: Visit, portrait_jpeg: bytes, screen: dict) -> None:
    page = visit(**screen)
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#faces li")).to_have_text(A_PERSON)
    assert sorted(page.locator("#counts dd").all_text_contents()) == ["0", "0", "1"]
    assert_box_on_face(page, "#picture", FACE)
    expect(page.locator("#speed")).to_have_text(re.compile(r"^\d+ ms round trip$"))
    expect(page.locator("#announcement")).to_have_text(re.compile(r"^1 person: 1 "))


def test_people_are_counted_and_numbered_from_the_left(visit: Visit) -> None:
    page = visit()
    page.set_input_files("#file", ROOT / "docs" / "faces.jpg")
    page.wait_for_selector(ANSWERED)
    people = [re.compile(r"^Person 1: No mask \d\d %$"), re.compile(r"^Person 2: Mask \d\d %$")]
    expect(page.locator("#faces li")).to_have_text(people)
    assert page.locator("#counts dd").all_text_contents() == ["1", "1", "0"]
    words = "2 people: 1 with mask, 1 without."
    expect(page.locator("#announcement")).to_have_text(words)


def test_boxes_follow_a_resized_window(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    before = page.get_attribute("#overlay", "data-boxes")
    page.set_viewport_size({"width": 500, "height": 900})
    expect(page.locator("#overlay")).not_to_have_attribute("data-boxes", before or "")
    assert_box_on_face(page, "#picture", FACE)


def test_box_is_where_a_turned_picture_shows_the_face(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()
    wide = Image.open(io.BytesIO(portrait_jpeg)).crop((0, 0, 512, 400))
    for orientation, turn in (
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
    ):
        for image_format in ("JPEG", "PNG"):
            data = encoded(wide.transpose(turn), image_format, orientation)
            choose(page, data, mime=f"image/{image_format.lower()}")
            page.wait_for_selector(ANSWERED)
            assert_box_on_face(page, "#picture", FACE)


def test_other_pictures_are_sent_as_they_are_seen(visit: Visit, portrait_jpeg: bytes) -> None:
    portrait = Image.open(io.BytesIO(portrait_jpeg))
    page = visit()
    # Chromium ignores a WebP's EXIF orientation, so the page sends the bytes unturned too.
    for image_format, orientation in (("BMP", 1), ("WEBP", 3), ("WEBP", 1)):
        with page.expect_request("**/predict") as request:
            data = encoded(portrait, image_format, orientation)
            choose(page, data, mime=f"image/{image_format.lower()}")
        assert request.value.headers["content-type"] == "image/jpeg"
        page.wait_for_selector(ANSWERED)
        assert_box_on_face(page, "#picture", FACE)


def test_box_is_right_where_browser_and_service_disagree(
    visit: Visit, portrait_jpeg: bytes
) -> None:
    # Pillow reads an orientation in XMP, browsers do not, so the page must send it again.
    note = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a tiff:Orientation=\"6\"/></x:xmpmeta>"
    buffer = io.BytesIO()
    Image.open(io.BytesIO(portrait_jpeg)).crop((0, 0, 512, 400)).save(buffer, "JPEG", xmp=note)
    page = visit()
    choose(page, buffer.getvalue())
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#picture", FACE)


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_picture_comes_by_hand(visit: Visit, portrait_jpeg: bytes, how: str) -> None:
    page = visit()
    page.evaluate(HAND_OVER, [how, "portrait.jpg", "image/jpeg", list(portrait_jpeg)])
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#picture", FACE)


def test_text_is_refused_with_a_message(visit: Visit) -> None:
    page = visit()
    words = "“notes.txt” is not a picture or a video that this browser can read."
    choose(page, b"Dear diary", "notes.txt", "text/plain")
    expect(page.locator("#message.problem")).to_have_text(words)
    choose(page, b"Dear diary", "notes.jpg", "image/jpeg")
    expect(page.locator("#message.problem")).to_have_text(words.replace("txt", "jpg"))
    page.evaluate(HAND_OVER, ["drop", "notes.txt", "text/plain", list(b"Dear diary")])
    expect(page.locator("#message.problem")).to_have_text(words)
    expect(page.locator("#invitation")).to_be_visible()


def test_the_message_of_a_picture_that_the_service_refuses_is_shown(
    visit: Visit, portrait_jpeg: bytes
) -> None:
    page = visit(failures_expected=True)
    # Browsers show half a JPEG; the service takes only whole pictures.
    with page.expect_response("**/predict") as response:
        choose(page, portrait_jpeg[: len(portrait_jpeg) // 2])
    assert response.value.status == 422
    expect(page.locator("#message.problem")).to_have_text(response.value.json()["detail"])


def test_picture_without_a_face(visit: Visit) -> None:
    page = visit()
    choose(page, encoded(Image.new("RGB", (300, 200), "teal"), "PNG"), mime="image/png")
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#none")).to_have_text("No face found.")
    expect(page.locator("#announcement")).to_have_text("No face found.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {
                "content_type": "application/problem+json",
                "body": '{"title": "Service Unavailable", "detail": "Too many frames wait."}',
                "headers": {"Retry-After": "1"},
            },
            "Too many frames wait. Trying again…",
        ),
        # as from a load balancer whose targets are all starting
        (
            {"content_type": "text/html", "body": "<h1>503</h1>"},
            "The service is not ready. Trying again…",
        ),
    ],
    ids=["problem", "html"],
)
def test_picture_waits_for_a_busy_service(
    visit: Visit, portrait_jpeg: bytes, answer: dict, words: str
) -> None:
    page = visit(failures_expected=True)

    # A full queue cannot be forced reliably, so the first answer is imitated.
    def refuse(route: Route) -> None:
        route.fulfill(status=503, **answer)

    page.route("**/predict", refuse, times=1)
    choose(page, portrait_jpeg)
    expect(page.locator("#message.problem")).to_have_text(words)
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#message")).to_be_empty()
    assert_box_on_face(page, "#picture", FACE)
