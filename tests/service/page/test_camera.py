"""The camera on the page: the choice, the view, and messages where it does not start."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.service.page.conftest import IMITATED_CAMERA, Visit
from tests.service.page.seen import (
    ANSWERED,
    BY_STREAM,
    DESKTOP,
    FACE,
    PHONE,
    assert_box_on_face,
)

# The portrait fills the height of the still film.
FACE_IN_FILM = tuple(v * 480 / 512 for v in FACE)
A_PERSON = re.compile(r"^Person \d+: (Mask \d\d %|No mask \d\d %|Uncertain)$")
ALLOWED, A_CAMERA = IMITATED_CAMERA
TWO_CAMERAS = (ALLOWED, f"{A_CAMERA}=device-count=2")
INSECURE = ("--host-resolver-rules=MAP 192.168.7.7 127.0.0.1",)

# A phone with two cameras, which reports where the open one faces as phones do.
IMITATED_PHONE = """
  const media = navigator.mediaDevices;
  const open = media.getUserMedia.bind(media);
  let facing;
  media.getUserMedia = (wish) => {
    facing = wish.video.facingMode.ideal;
    return open({ video: true });
  };
  media.enumerateDevices = async () =>
    ["front", "back"].map((label) => ({ kind: "videoinput", label, deviceId: label }));
  const settings = MediaStreamTrack.prototype.getSettings;
  MediaStreamTrack.prototype.getSettings = function () {
    return { ...settings.call(this), facingMode: facing };
  };
"""
BUSY_CAMERA = """
  navigator.mediaDevices.getUserMedia = async () => {
    throw new DOMException("Could not start video source", "NotReadableError");
  };
"""
# A test machine has no screen to keep on.
IMITATED_SCREEN = """
  navigator.wakeLock.request = async () => {
    window.screenStaysOn = true;
    return { release: () => (window.screenStaysOn = false) };
  };
"""
TRACK = "document.querySelector('#video').srcObject?.getTracks()[0]"


def scripted(script: str):
    return lambda page: page.add_init_script(script)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_camera_shows_boxes_over_the_video(
    visit: Visit, filmed: tuple[str, ...], screen: dict
) -> None:
    page = visit(*filmed, **screen)
    page.get_by_role("button", name="Start camera").press("Enter")
    page.wait_for_selector(BY_STREAM)
    expect(page.locator("#faces li")).to_have_text(A_PERSON)
    assert_box_on_face(page, "#video", FACE_IN_FILM, mirrored=True)
    speed = re.compile(r"^[\d.]+ frames/s · \d+ ms round trip · live$")
    expect(page.locator("#speed")).to_have_text(speed)

    page.evaluate(f"window.track = {TRACK}")
    page.get_by_role("button", name="Stop camera").click()
    assert page.evaluate("window.track.readyState") == "ended"
    expect(page.locator("#faces li")).to_have_count(0)
    assert page.get_attribute("#overlay", "data-boxes") == ""


def test_large_frames_are_sent_small(visit: Visit) -> None:
    page = visit(*TWO_CAMERAS)
    sizes = []

    def note_size(message: str | bytes) -> None:
        sizes.append(re.search(r'"image":\{"width":(\d+),"height":(\d+)\}', str(message)).groups())

    page.on("websocket", lambda socket: socket.on("framereceived", note_size))
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    assert page.evaluate("document.querySelector('#video').videoWidth") == 1280
    assert sizes[0] == ("640", "360")


def test_one_of_several_cameras_is_chosen(visit: Visit) -> None:
    page = visit(*TWO_CAMERAS)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    choice = page.get_by_label("Camera", exact=True)
    for name in ("fake_device_1", "fake_device_0"):
        choice.select_option(label=name)
        expect(page.locator("#stage")).to_have_attribute("data-answers", "0")
        page.wait_for_selector(ANSWERED)
        assert page.evaluate(f"{TRACK}.label") == name
        expect(choice.locator("option:checked")).to_have_text(name)
    expect(page.locator("#flip")).to_be_hidden()


def test_back_camera_of_a_phone_is_not_mirrored(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, prepare=scripted(IMITATED_PHONE), **PHONE)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#video", FACE_IN_FILM, mirrored=True)
    page.get_by_role("button", name="Switch camera").click()
    page.wait_for_selector("#video:not(.mirrored)")
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#video", FACE_IN_FILM, mirrored=False)


def test_screen_stays_on_as_long_as_the_camera_is(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, prepare=scripted(IMITATED_SCREEN))
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    assert page.evaluate("window.screenStaysOn") is True
    page.click("#camera")
    assert page.evaluate("window.screenStaysOn") is False


def test_a_hidden_page_does_not_film(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    page.evaluate(f"window.track = {TRACK}")
    # A headless page is never hidden, so the browser's event is imitated.
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert page.evaluate("window.track.readyState") == "ended"
    expect(page.locator("#message")).to_contain_text("stopped while the page was hidden")


@pytest.mark.parametrize(
    ("flags", "options", "words"),
    [
        ((A_CAMERA,), {}, "The camera is not allowed."),
        ((ALLOWED,), {}, "No camera was found."),
        (TWO_CAMERAS, {"prepare": scripted(BUSY_CAMERA)}, "The camera is busy."),
        (INSECURE, {"host": "192.168.7.7"}, "only on pages opened over https or on localhost"),
    ],
    ids=["denied", "missing", "busy", "insecure"],
)
def test_camera_that_does_not_start_says_why(
    visit: Visit, flags: tuple[str, ...], options: dict, words: str
) -> None:
    page: Page = visit(*flags, **options)
    page.click("#camera")
    expect(page.locator("#message.problem")).to_contain_text(words)
    expect(page.locator("#camera")).to_have_text("Start camera")
