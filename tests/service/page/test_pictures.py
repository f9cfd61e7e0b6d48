"""The page, in a real Chromium with an imitated camera, against the real service."""

import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, FileChooser, Page, Request, Route, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
ALLOWED = "--use-fake-ui-for-media-stream"
NO_CAMERA_ALLOWED = ("--use-fake-device-for-media-stream",)
TWO_CAMERAS = (ALLOWED, "--use-fake-device-for-media-stream=device-count=2")
INSECURE = ("--host-resolver-rules=MAP mask.test 127.0.0.1",)

DESKTOP = {"viewport": {"width": 1200, "height": 800}}
PHONE = {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 3, "is_mobile": True}
WAIT_MS = 30_000

# Where the face is in the portrait of 512 x 512 pixels, by eye: left, top, width, height.
FACE = (170, 60, 110, 140)
FILM_SIZE = (640, 480)
# The portrait fills the film's height and its left side, so that mirroring it makes a difference.
FACE_IN_FILM = tuple(v * 480 / 512 for v in FACE)
A_FACE = re.compile(r"^Face 1: (Mask \d\d %|No mask \d\d %|Uncertain)$")
ANSWERED = "#stage:not([data-answers='0'])"

# Its own bounding boxes, not those that the page says it has, tell where a medium is seen.
MEDIUM = """medium => {
  const stage = document.querySelector("#overlay").getBoundingClientRect();
  const { left, top, width, height } = medium.getBoundingClientRect();
  return [left - stage.left, top - stage.top, width, height,
          medium.videoWidth || medium.naturalWidth, medium.videoHeight || medium.naturalHeight];
}"""
# Whether the canvas is painted in the middle of a box's four sides, and in its centre.
PAINTED = """([left, top, width, height]) => {
  const overlay = document.querySelector("#overlay");
  const density = overlay.width / overlay.clientWidth;
  const copy = new OffscreenCanvas(overlay.width, overlay.height)
    .getContext("2d", { willReadFrequently: true });
  copy.drawImage(overlay, 0, 0);
  const painted = (x, y) => copy.getImageData(x * density, y * density, 1, 1).data[3] > 0;
  const [x, y] = [left + width / 2, top + height / 2];
  return [painted(left, y), painted(left + width, y), painted(x, top), painted(x, top + height),
          painted(x, y)];
}"""
# A phone with two cameras: which way the open one looks is said as phones say it.
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
HAND_OVER = """([type, name, mime, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type: mime }));
  const options = { bubbles: true, cancelable: true };
  document.querySelector("#stage").dispatchEvent(type === "drop"
    ? new DragEvent("drop", { ...options, dataTransfer: data })
    : new ClipboardEvent("paste", { ...options, clipboardData: data }));
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser_with() -> Iterator[Callable[..., Browser]]:
    """Start a Chromium with the given flags, once for all tests that want the same."""
    browsers: dict[tuple[str, ...], Browser] = {}
    with sync_playwright() as playwright:

        def browser_with(*flags: str) -> Browser:
            if flags not in browsers:
                browsers[flags] = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=[*FLAGS, *flags]
                )
            return browsers[flags]

        yield browser_with
        for browser in browsers.values():
            browser.close()


@pytest.fixture
def visit(server_url: str, browser_with: Callable[..., Browser]) -> Iterator[Visit]:
    """Open the page; at the end nothing was asked of others and nothing complained of."""
    pages: list[Page] = []
    foreign: list[str] = []
    complaints: list[str] = []

    def visit(
        *flags: str,
        host: str = "",
        script: str = "",
        failures_expected: bool = False,
        **options: object,
    ) -> Page:
        port = urlsplit(server_url).port
        url = f"http://{host}:{port}" if host else server_url
        page = browser_with(*flags).new_context(**(options or DESKTOP)).new_page()
        page.set_default_timeout(WAIT_MS)
        pages.append(page)

        def note_request(request: Request) -> None:
            if not request.url.startswith((f"{url}/", "blob:")):
                foreign.append(request.url)

        def note_complaint(kind: str, text: str) -> None:
            # Chromium itself reports every refused or failed request.
            expected = failures_expected and text.startswith("Failed to load resource")
            if kind in {"error", "warning"} and not expected:
                complaints.append(text)

        page.on("request", note_request)
        page.on("console", lambda message: note_complaint(message.type, message.text))
        page.on("pageerror", lambda error: note_complaint("error", str(error)))
        if script:
            page.add_init_script(script)
        page.goto(f"{url}/")
        return page

    yield visit
    for page in pages:
        page.context.close()
    assert foreign == []
    assert complaints == []


@pytest.fixture(scope="module")
def filmed(portrait_jpeg: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Flags for a camera before which the portrait hangs."""
    frame = Image.new("RGB", FILM_SIZE, (70, 80, 90))
    frame.paste(Image.open(io.BytesIO(portrait_jpeg)).resize((480, 480)))
    film = tmp_path_factory.mktemp("camera") / "film.mjpeg"
    film.write_bytes(encoded(frame, "JPEG") * 2)
    return (ALLOWED, *NO_CAMERA_ALLOWED, f"--use-file-for-fake-video-capture={film}")


def encoded(picture: Image.Image, image_format: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, image_format, exif=exif)
    return buffer.getvalue()


def choose(page: Page, data: bytes, name: str = "portrait.jpg", mime: str = "image/jpeg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": data})


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def assert_box_on_face(
    page: Page, medium: str, face: tuple[float, ...], *, mirrored: bool = False
) -> None:
    """The one box is drawn where a person in front of the screen sees the face."""
    left, top, width, height, pixel_width, pixel_height = page.locator(medium).evaluate(MEDIUM)
    x, y, face_width, face_height = face
    if mirrored:
        x = pixel_width - x - face_width
    scale = min(width / pixel_width, height / pixel_height)
    seen = (
        left + (width - pixel_width * scale) / 2 + x * scale,
        top + (height - pixel_height * scale) / 2 + y * scale,
        face_width * scale,
        face_height * scale,
    )
    boxes = page.get_attribute("#overlay", "data-boxes") or ""
    drawn = tuple(float(v) for v in boxes.split())
    assert overlap(drawn, seen) > 0.5, (drawn, seen)
    assert page.evaluate(PAINTED, drawn) == [True, True, True, True, False]


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_picture_shows_its_face(visit: Visit, portrait_jpeg: bytes, screen: dict) -> None:
    page = visit(**screen)
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#faces li")).to_have_text(A_FACE)
    assert sorted(page.locator("#counts dd").all_text_contents()) == ["0", "0", "1"]
    assert_box_on_face(page, "#picture", FACE)
    expect(page.locator("#speed")).to_have_text(re.compile(r"^\d+ ms round trip$"))
    expect(page.locator("#announcement")).to_have_text(re.compile(r"^1 face: 1 "), timeout=WAIT_MS)


def test_boxes_follow_a_resized_window(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()
    choose(page, portrait_jpeg)
    page.wait_for_selector(ANSWERED)
    before = page.get_attribute("#overlay", "data-boxes")
    page.set_viewport_size({"width": 500, "height": 900})
    expect(page.locator("#overlay")).not_to_have_attribute("data-boxes", before or "")
    assert_box_on_face(page, "#picture", FACE)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90)],
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_box_is_where_a_turned_picture_shows_the_face(
    visit: Visit,
    portrait_jpeg: bytes,
    image_format: str,
    orientation: int,
    turned: Image.Transpose,
) -> None:
    portrait = Image.open(io.BytesIO(portrait_jpeg)).crop((0, 0, 512, 400)).transpose(turned)
    page = visit()
    choose(page, encoded(portrait, image_format, orientation), mime=f"image/{image_format.lower()}")
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#picture", FACE)


@pytest.mark.parametrize(("image_format", "orientation"), [("BMP", 1), ("WEBP", 3), ("WEBP", 1)])
def test_other_pictures_are_sent_as_they_are_seen(
    visit: Visit, portrait_jpeg: bytes, image_format: str, orientation: int
) -> None:
    portrait = Image.open(io.BytesIO(portrait_jpeg))
    page = visit()
    with page.expect_request("**/predict") as request:
        data = encoded(portrait, image_format, orientation)
        choose(page, data, mime=f"image/{image_format.lower()}")
    assert request.value.headers["content-type"] == "image/jpeg"
    page.wait_for_selector(ANSWERED)
    # Chromium shows a WebP unturned whatever its EXIF says, and so do the bytes that are sent.
    assert_box_on_face(page, "#picture", FACE)


def test_box_is_right_where_browser_and_service_disagree(
    visit: Visit, portrait_jpeg: bytes
) -> None:
    # Browsers do not look for an orientation in XMP, Pillow does: the page has to ask again.
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


def test_text_is_refused_in_words(visit: Visit) -> None:
    page = visit()
    words = "“notes.txt” is not a picture that this browser can read."
    choose(page, b"Dear diary", "notes.txt", "text/plain")
    expect(page.locator("#message.problem")).to_have_text(words)
    choose(page, b"Dear diary", "notes.jpg", "image/jpeg")
    expect(page.locator("#message.problem")).to_have_text(words.replace("txt", "jpg"))
    page.evaluate(HAND_OVER, ["drop", "notes.txt", "text/plain", list(b"Dear diary")])
    expect(page.locator("#message.problem")).to_have_text(words)
    expect(page.locator("#invitation")).to_be_visible()


def test_picture_that_the_service_refuses_brings_its_words(
    visit: Visit, portrait_jpeg: bytes
) -> None:
    page = visit(failures_expected=True)
    # Half a JPEG: browsers show the half, the service takes whole pictures only.
    with page.expect_response("**/predict") as response:
        choose(page, portrait_jpeg[: len(portrait_jpeg) // 2])
    assert response.value.status == 422
    expect(page.locator("#message.problem")).to_have_text(response.value.json()["detail"])


def test_picture_without_a_face(visit: Visit) -> None:
    page = visit()
    choose(page, encoded(Image.new("RGB", (300, 200), "teal"), "PNG"), mime="image/png")
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#none")).to_have_text("No face found.")
    expect(page.locator("#announcement")).to_have_text("No face found.", timeout=WAIT_MS)


@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_camera_shows_boxes_over_the_video(
    visit: Visit, filmed: tuple[str, ...], screen: dict
) -> None:
    page = visit(*filmed, **screen)
    in_flight: set[Request] = set()
    most_in_flight = 0

    def note_begin(request: Request) -> None:
        nonlocal most_in_flight
        if request.url.endswith("/predict"):
            in_flight.add(request)
            most_in_flight = max(most_in_flight, len(in_flight))

    def note_end(request: Request) -> None:
        in_flight.discard(request)

    page.on("request", note_begin)
    page.on("requestfinished", note_end)
    page.get_by_role("button", name="Start camera").press("Enter")
    several = re.compile(r"^([89]|\d\d+)$")
    expect(page.locator("#stage")).to_have_attribute("data-answers", several, timeout=WAIT_MS)
    expect(page.locator("#faces li")).to_have_text(A_FACE)
    assert_box_on_face(page, "#video", FACE_IN_FILM, mirrored=True)
    speed = re.compile(r"^[\d.]+ frames/s · \d+ ms round trip$")
    expect(page.locator("#speed")).to_have_text(speed, timeout=WAIT_MS)
    assert most_in_flight == 1

    page.evaluate("window.track = document.querySelector('#video').srcObject.getTracks()[0]")
    page.get_by_role("button", name="Stop camera").click()
    assert page.evaluate("window.track.readyState") == "ended"
    expect(page.locator("#faces li")).to_have_count(0)
    assert page.get_attribute("#overlay", "data-boxes") == ""


def test_large_frames_are_sent_small(visit: Visit) -> None:
    page = visit(*TWO_CAMERAS)
    with page.expect_response("**/predict") as response:
        page.click("#camera")
    assert page.evaluate("document.querySelector('#video').videoWidth") == 1280
    assert response.value.request.headers["content-type"] == "image/jpeg"
    assert response.value.json()["image"] == {"width": 640, "height": 360}


def test_one_of_several_cameras_is_chosen(visit: Visit) -> None:
    page = visit(*TWO_CAMERAS)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    label = "document.querySelector('#video').srcObject?.getTracks()[0].label"
    choice = page.get_by_label("Camera", exact=True)
    for name in ("fake_device_1", "fake_device_0"):
        choice.select_option(label=name)
        expect(page.locator("#stage")).to_have_attribute("data-answers", "0", timeout=WAIT_MS)
        page.wait_for_selector(ANSWERED)
        assert page.evaluate(label) == name
        expect(choice.locator("option:checked")).to_have_text(name)
    expect(page.locator("#flip")).to_be_hidden()


def test_back_camera_of_a_phone_is_not_mirrored(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, script=IMITATED_PHONE, **PHONE)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#video", FACE_IN_FILM, mirrored=True)
    page.get_by_role("button", name="Switch camera").click()
    page.wait_for_selector("#video:not(.mirrored)")
    page.wait_for_selector(ANSWERED)
    assert_box_on_face(page, "#video", FACE_IN_FILM, mirrored=False)


def test_hidden_page_films_nobody(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    page.evaluate("window.track = document.querySelector('#video').srcObject.getTracks()[0]")
    # A headless page is never hidden; what a browser does then is imitated.
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert page.evaluate("window.track.readyState") == "ended"
    expect(page.locator("#message")).to_contain_text("stopped while the page was out of sight")


@pytest.mark.parametrize(
    ("flags", "options", "words"),
    [
        (NO_CAMERA_ALLOWED, {}, "The camera is not allowed."),
        ((ALLOWED,), {}, "No camera was found."),
        (TWO_CAMERAS, {"script": BUSY_CAMERA}, "The camera is busy."),
        (INSECURE, {"host": "mask.test"}, "only to pages opened over https or on localhost"),
    ],
    ids=["denied", "missing", "busy", "insecure"],
)
def test_camera_that_does_not_start_says_why(
    visit: Visit, flags: tuple[str, ...], options: dict, words: str
) -> None:
    page = visit(*flags, **options)
    page.click("#camera")
    expect(page.locator("#message.problem")).to_contain_text(words)
    expect(page.locator("#camera")).to_have_text("Start camera")


def test_camera_survives_a_service_that_is_gone(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, failures_expected=True)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    # The service stays up for the other tests: its absence is imitated.
    page.route("**/predict", lambda route: route.abort("connectionrefused"))
    message = page.locator("#message")
    expect(message).to_have_text("The service cannot be reached. Trying again…", timeout=WAIT_MS)
    expect(page.locator("#faces li")).to_have_count(0, timeout=WAIT_MS)
    assert page.get_attribute("#overlay", "data-boxes") == ""
    page.unroute("**/predict")
    expect(message).to_be_empty(timeout=WAIT_MS)
    expect(page.locator("#faces li")).to_have_count(1, timeout=WAIT_MS)


def test_old_boxes_do_not_stay_over_the_video(visit: Visit, filmed: tuple[str, ...]) -> None:
    page = visit(*filmed, failures_expected=True)
    page.click("#camera")
    page.wait_for_selector(ANSWERED)
    held: list[Route] = []  # an imitated service that takes a frame and says nothing

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/predict", hold)
    expect(page.locator("#faces li")).to_have_count(0, timeout=WAIT_MS)
    assert page.get_attribute("#overlay", "data-boxes") == ""
    assert len(held) == 1
    held.pop().abort()


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
        # as of a load balancer whose targets are all starting
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

    # To make the real queue full takes luck: the first answer is imitated.
    def refuse(route: Route) -> None:
        route.fulfill(status=503, **answer)

    page.route("**/predict", refuse, times=1)
    choose(page, portrait_jpeg)
    expect(page.locator("#message.problem")).to_have_text(words)
    page.wait_for_selector(ANSWERED)
    expect(page.locator("#message")).to_be_empty()
    assert_box_on_face(page, "#picture", FACE)


def test_keyboard_reaches_everything(visit: Visit, portrait_jpeg: bytes) -> None:
    page = visit()

    def answer_chooser(chooser: FileChooser) -> None:
        chooser.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": portrait_jpeg})

    page.on("filechooser", answer_chooser)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start camera")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose picture")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector(ANSWERED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_phone_by_day_and_night(
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
