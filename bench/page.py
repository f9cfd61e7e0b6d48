"""Measure the web page in Chromium with a fake camera: its speed, and whether boxes match faces.

    .venv/bin/python -m bench.page --seconds 20 --screenshots docs

In the camera's film a person moves around, comes nearer and puts a mask on and off, at 30 frames/s.
Each frame contains its number, which gives the true place of the face that the page shows.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from bench import walk
from bench.servers import running

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
IMITATED_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")

Rectangle = tuple[float, ...]  # left, top, width, height

SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1200, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 1},
}
SETTLE_MS = 3000
# The position of the video comes from the browser's bounding boxes, not from the page's own data.
MEDIUM = """medium => {
  const stage = document.querySelector("#overlay").getBoundingClientRect();
  const { left, top, width, height } = medium.getBoundingClientRect();
  return [left - stage.left, top - stage.top, width, height,
          medium.videoWidth || medium.naturalWidth, medium.videoHeight || medium.naturalHeight];
}"""
# For each frame the page renders: number of the camera's frame, the boxes, the answers so far.
WATCH = f"""async seconds => {{
  const number = {walk.NUMBER};
  const moments = [];
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {{
    await new Promise(requestAnimationFrame);
    const boxes = document.querySelector("#overlay").dataset.boxes;
    moments.push([number(), boxes, Number(document.querySelector("#stage").dataset.answers)]);
  }}
  return moments;
}}"""


def main() -> None:
    """Start the service, measure the page and report; --screenshots also saves pictures of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="duration for each screen size")
    parser.add_argument("--screenshots", type=Path, help="folder for page_*.png")
    arguments = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        running(LOG_LEVEL="warning") as service,
        sync_playwright() as playwright,
    ):
        camera = Path(folder) / "walk.mjpeg"
        walk.write_mjpeg(camera, walk.walk())
        flags = (*FLAGS, *IMITATED_CAMERA, f"--use-file-for-fake-video-capture={camera}")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        for name, screen in SCREENS.items():
            page = watched(browser, service.url, screen)
            report(name, page, arguments.seconds)
            if arguments.screenshots:
                page.screenshot(path=arguments.screenshots / f"page_{name}.png", full_page=True)
            page.context.close()
        browser.close()


def watched(browser: Browser, url: str, screen: dict[str, Any]) -> Page:
    """Open the page, start its camera, and wait until the stream runs."""
    page = browser.new_context(**screen).new_page()
    page.goto(url)
    page.click("#camera")
    page.wait_for_selector("#stage[data-link=stream]")
    page.wait_for_timeout(SETTLE_MS)
    return page


def report(name: str, page: Page, seconds: float) -> None:
    """Print the speed and how well box and face agree."""
    medium = page.locator("#video").evaluate(MEDIUM)
    moments = page.evaluate(WATCH, seconds)
    agreement = []
    for number, boxes, _ in moments:
        face = on_stage(medium, walk.face_in(number), mirrored=True)
        drawn = [tuple(map(float, box.split())) for box in boxes.split("; ") if box]
        agreement.append(max((overlap(box, face) for box in drawn), default=0.0))
    answered = (moments[-1][2] - moments[0][2]) / seconds
    share = np.mean(np.array(agreement) > 0.5)
    print(
        f"{name}: {answered:.1f} answered frames/s, on a page at {len(moments) / seconds:.0f};"
        f" IoU of box and face: median {np.median(agreement):.2f}, above .5 for {share:.0%} of the"
        f" time; the page says: {page.text_content('#speed')}"
    )


def overlap(a: Rectangle, b: Rectangle) -> float:
    """Return the intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def on_stage(medium: list[float], face: Rectangle, *, mirrored: bool) -> Rectangle:
    """Convert a face's box from the medium's pixels to the stage's; medium: result of MEDIUM."""
    left, top, width, height, pixel_width, pixel_height = medium
    x, y, face_width, face_height = face
    if mirrored:
        x = pixel_width - x - face_width
    scale = min(width / pixel_width, height / pixel_height)
    return (
        left + (width - pixel_width * scale) / 2 + x * scale,
        top + (height - pixel_height * scale) / 2 + y * scale,
        face_width * scale,
        face_height * scale,
    )


if __name__ == "__main__":
    main()
