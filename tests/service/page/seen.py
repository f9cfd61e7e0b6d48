"""Helpers: what a person sees on the page, and files to open in it."""

import io
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import Page, expect

from bench import films
from bench.page import MEDIUM, Rectangle, on_stage, overlap

DESKTOP = {"viewport": {"width": 1200, "height": 800}}
PHONE = {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 3, "is_mobile": True}
WAIT_MS = 120_000
ANSWERED = "#stage:not([data-answers='0'])"
BY_STREAM = "#stage[data-link='stream']:not([data-answers='0'])"
BY_REQUESTS = "#stage[data-link='requests']:not([data-answers='0'])"

# Where a person sees the face in the portrait: left, top, width, height.
FACE = (films.FACE.x, films.FACE.y, films.FACE.width, films.FACE.height)

# The only box, and whether the canvas is painted in the middle of its sides, and in its centre.
# In one step: the next answer may move the box.
DRAWN = """() => {
  const overlay = document.querySelector("#overlay");
  const box = overlay.dataset.boxes.split(" ").map(Number);
  const [left, top, width, height] = box;
  const density = overlay.width / overlay.clientWidth;
  const copy = new OffscreenCanvas(overlay.width, overlay.height)
    .getContext("2d", { willReadFrequently: true });
  copy.drawImage(overlay, 0, 0);
  const painted = (x, y) => copy.getImageData(x * density, y * density, 1, 1).data[3] > 0;
  const [x, y] = [left + width / 2, top + height / 2];
  return { box, painted: [painted(left, y), painted(left + width, y), painted(x, top),
                          painted(x, top + height), painted(x, y)] };
}"""

# Counts sent frames, which Playwright cannot see as Blobs: their sizes and the most unanswered.
COUNTED_FRAMES = """
  window.sent = [];
  window.mostInFlight = 0;
  let answered = 0;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (!this.isCounted) {
      this.isCounted = true;
      const before = window.sent.length;
      this.addEventListener("message", (event) => {
        answered = before + JSON.parse(event.data).frame_id + 1;
      });
    }
    window.sent.push(data.size);
    window.mostInFlight = Math.max(window.mostInFlight, window.sent.length - answered);
    return send.call(this, data);
  };
"""

# All that the page says, and what it shows right after its stream was closed.
WATCHED_LOSSES = """
  window.said = [];
  window.afterLoss = [];
  addEventListener("DOMContentLoaded", () => {
    const message = document.querySelector("#message");
    new MutationObserver(() => window.said.push(message.textContent))
      .observe(message, { childList: true });
  });
  const byId = (id) => document.getElementById(id);
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    if (!this.isWatched) {
      this.isWatched = true;
      this.addEventListener("close", () => window.afterLoss.push({
        boxes: byId("overlay").dataset.boxes,
        people: byId("faces").children.length,
        speed: byId("speed").textContent,
        alarmed: !byId("alert").hidden,
        message: byId("message").textContent,
      }));
    }
    return send.call(this, data);
  };
"""
NO_CONNECTION = "No connection to the service. Trying again\N{HORIZONTAL ELLIPSIS}"


def encoded(picture: Image.Image, image_format: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, image_format, exif=exif)
    return buffer.getvalue()


def choose(page: Page, data: bytes, name: str = "portrait.jpg", mime: str = "image/jpeg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": mime, "buffer": data})


def assert_box_on_face(page: Page, medium: str, face: Rectangle, *, mirrored: bool = False) -> None:
    """Check that the only box is drawn over the still face as it appears on screen."""
    # Until the person is sure, the line of its box is too thin to be met by whole pixels.
    expect(page.locator("#faces li")).to_have_count(1, timeout=WAIT_MS)
    seen = on_stage(page.locator(medium).evaluate(MEDIUM), face, mirrored=mirrored)
    drawn = page.evaluate(DRAWN)
    assert overlap(tuple(drawn["box"]), seen) > 0.5, (drawn, seen)
    assert drawn["painted"] == [True, True, True, True, False]


def answers(page: Page) -> int:
    """Return how many answers the page has shown since the medium was opened."""
    return int(page.get_attribute("#stage", "data-answers") or 0)


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for a condition. Playwright's own way needs eval, which the page forbids."""
    for _ in range(WAIT_MS // 100):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("waited in vain")
