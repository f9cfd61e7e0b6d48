"""Alerts, the compliance line, blurred faces and saved pictures."""

import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from bench.page import overlap
from tests.service.page.conftest import Visit
from tests.service.page.seen import (
    ANSWERED,
    BY_STREAM,
    FACE,
    answers,
    choose,
    encoded,
    until,
)

# Counts the tones that would sound.
COUNTED_SOUNDS = """
  window.tones = 0;
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...when) {
    window.tones += 1;
    return start.apply(this, when);
  };
"""
UNKNOWN = "\N{EN DASH}"
RECORD = """async ([source, answers]) => {
  const compliance = await import("/static/compliance.js");
  compliance.begin(source);
  for (const [seconds, mask, no_mask] of answers) {
    compliance.record({ mask, no_mask, uncertain: 1 }, 1000 * seconds);
  }
  return document.querySelector("#line").getAttribute("d");
}"""


def saved(page: Page) -> Image.Image:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert re.fullmatch(r"mask-check-[\dT-]+\.jpg", download.value.suggested_filename)
    return Image.open(io.BytesIO(download.value.path().read_bytes()))


def saved_face(page: Page) -> np.ndarray:
    """Return the inner part of the saved face, which no box crosses."""
    picture = np.array(saved(page).convert("RGB"))
    left, top, width, height = (int(v * picture.shape[0] / 512) for v in FACE)
    return picture[top + 25 : top + height - 25, left + 25 : left + width - 25]


def seen_stage(page: Page) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("RGB"))


def contrast(picture: np.ndarray) -> float:
    """Return how much colours differ inside the stage's rounded edge."""
    return float(picture[20:-20, 20:-20].std(axis=(0, 1)).max())


def detail(picture: np.ndarray) -> float:
    """Return how much fine detail a picture has."""
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def test_a_person_without_a_mask_raises_an_alert(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, prepare=lambda page: page.add_init_script(COUNTED_SOUNDS))
    sound = page.get_by_role("switch", name="Alert by sound")
    expect(sound).not_to_be_checked()
    page.click("#camera")
    expect(page.get_by_role("alert")).to_have_text("1 person without a mask")
    assert page.evaluate("window.tones") == 0

    page.get_by_role("switch", name="Alert on screen").press("Space")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.wait_for_selector(BY_STREAM)
    expect(page.get_by_role("alert")).to_be_hidden()

    sound.press("Space")
    assert page.evaluate("window.tones") == 2  # a sample of the sound
    page.get_by_role("button", name="Stop camera").click()
    page.get_by_role("button", name="Start camera").click()
    until(page, lambda: page.evaluate("window.tones") == 4)  # one alert for a person who stays
    before = answers(page)
    until(page, lambda: answers(page) >= before + 5)
    assert page.evaluate("window.tones") == 4

    page.reload()
    expect(page.get_by_role("switch", name="Alert by sound")).to_be_checked()
    expect(page.get_by_role("switch", name="Alert on screen")).not_to_be_checked()


def test_mask_put_on_and_taken_off_is_counted(visit: Visit, walked: tuple[str, ...]) -> None:
    page = visit(*walked)
    page.click("#camera")
    for label in ("mask", "no_mask"):
        count = page.locator(f"#counts [data-label={label}] dd")
        expect(count).to_have_text("1")
        expect(page.get_by_role("alert")).to_have_count(int(label == "no_mask"))
    expect(page.locator("#share")).to_have_text(re.compile(r"^[1-9]\d %$"))
    line = page.get_by_role("img", name=re.compile(r"^With a mask: \d\d % over the last 5 minutes"))
    expect(line.locator("#line")).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+h.01L"))


# Answers as (second, people with masks, people without), then the share and the line.
HISTORIES = [
    ([], UNKNOWN, ""),
    ([(0, 0, 0)], UNKNOWN, ""),  # no judged person adds no point to the line
    ([(0, 1, 0), (1, 0, 1)], "50 %", "M300.0 50.0h.01"),
    # intervals have equal weight, whatever their number of answers
    ([(0, 1, 0), (1, 1, 0), (2, 1, 0), (5, 0, 1)], "50 %", "M294.9 4.0h.01L300.0 96.0"),
    ([(0, 3, 0), (5, 0, 0), (10, 3, 1)], "86 %", "M289.8 4.0h.01M300.0 27.0h.01"),
    ([(0, 0, 9), (299, 1, 0)], "10 %", "M0.0 96.0h.01M300.0 4.0h.01"),
    ([(0, 0, 9), (300, 1, 0)], "100 %", "M300.0 4.0h.01"),  # older than five minutes
]


def test_compliance_line(visit: Visit) -> None:
    page = visit()
    for number, (history, share, line) in enumerate(HISTORIES):
        assert page.evaluate(RECORD, [str(number), history]) == line
        expect(page.locator("#share")).to_have_text(share)


def test_saved_picture_has_its_size_and_its_box(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()
    expect(page.get_by_role("button", name="Save picture")).to_be_disabled()
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    picture = np.array(saved(page).convert("RGB"))
    original = np.array(Image.open(io.BytesIO(portrait_jpeg)))
    assert picture.shape == original.shape
    changed = np.abs(picture.astype(int) - original).max(axis=2) > 60
    rows, columns = np.nonzero(changed[FACE[1] :])  # below the label
    box = (columns.min(), rows.min() + FACE[1], np.ptp(columns), np.ptp(rows))
    assert overlap(box, FACE) > 0.5


def test_saved_frame_of_the_camera_is_not_mirrored(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed)
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    frame = np.array(saved(page).convert("RGB"))
    assert frame.shape == (480, 640, 3)
    assert frame[:, 500:].std() < 10 < frame[:, :480].std()


@pytest.mark.parametrize("source", ["picture", "camera"])
def test_blurred_faces_are_neither_seen_nor_saved(
    visit: Visit, filmed: tuple[str, ...], portrait_jpeg: bytes, source: str
) -> None:
    page = visit(*filmed)
    if source == "picture":
        choose(page, portrait_jpeg)
    else:
        page.click("#camera")
    page.wait_for_selector(ANSWERED)

    def shown() -> float:
        box = page.get_attribute("#overlay", "data-boxes").split()
        left, top, width, height = (int(float(v)) for v in box)
        return detail(seen_stage(page)[top + 8 : top + height - 8, left + 8 : left + width - 8])

    sharp, saved_sharp = shown(), detail(saved_face(page))

    page.get_by_role("switch", name="Blur faces").check()
    assert shown() < sharp / 10
    assert detail(saved_face(page)) < saved_sharp / 10


def test_no_picture_is_shown_before_the_faces_are_known(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/predict", hold)
    page.get_by_role("switch", name="Blur faces").check()
    choose(page, encoded(Image.open(io.BytesIO(portrait_jpeg)), "PNG"), mime="image/png")
    expect(page.locator("#message")).to_have_text("Looking…")
    assert contrast(seen_stage(page)) == 0
    held[0].continue_()
    page.wait_for_selector(ANSWERED)
    assert contrast(seen_stage(page)) > 10
