"""The page in Chromium before an imitated camera: how fast it is, and is the box on the face.

    .venv/bin/python -m bench.page --seconds 20 --screenshots docs

Somebody walks before the camera, comes nearer and puts a mask on and off, at 30 frames/s. Each
frame carries its number, so that at any moment it is known where the face is that the page shows.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from skimage.data import astronaut

from model.faces import YuNet
from model.training.overlay import COLOURS, draw_mask
from tests.conftest import serving
from tests.service.page import film
from tests.service.page.conftest import CHROMIUM, FLAGS, IMITATED_CAMERA
from tests.service.page.seen import BY_STREAM, DESKTOP, MEDIUM, on_stage, overlap

SCREENS = {
    "desktop": DESKTOP,
    "phone": {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 1},
}
SETTLE_MS = 3000
# Every shown frame of the page: the number of the camera's frame, the boxes, the answers so far.
WATCH = f"""async seconds => {{
  const number = {film.NUMBER};
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
    """Serve, watch and report; with --screenshots save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="to watch each screen")
    parser.add_argument("--screenshots", type=Path, help="folder for page_*.png")
    arguments = parser.parse_args()
    portrait = np.array(astronaut())
    masked = draw_mask(portrait, YuNet().detect(portrait, 0.6)[0], COLOURS["blue"])
    with TemporaryDirectory() as folder, serving() as url, sync_playwright() as playwright:
        camera = Path(folder) / "walk.mjpeg"
        film.write_mjpeg(camera, film.frames(portrait, masked))
        flags = (*FLAGS, *IMITATED_CAMERA, f"--use-file-for-fake-video-capture={camera}")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        for name, screen in SCREENS.items():
            page = watched(browser, url, screen)
            report(name, page, arguments.seconds)
            if arguments.screenshots:
                page.screenshot(path=arguments.screenshots / f"page_{name}.png", full_page=True)
            page.context.close()
        browser.close()


def watched(browser: Browser, url: str, screen: dict[str, object]) -> Page:
    """Open the page and its camera, and wait until the stream runs."""
    page = browser.new_context(**screen).new_page()
    page.goto(url)
    page.click("#camera")
    page.wait_for_selector(BY_STREAM)
    page.wait_for_timeout(SETTLE_MS)
    return page


def report(name: str, page: Page, seconds: float) -> None:
    """Print the speed and how far box and face agree."""
    medium = page.locator("#video").evaluate(MEDIUM)
    moments = page.evaluate(WATCH, seconds)
    agreement = []
    for number, boxes, _ in moments:
        face = on_stage(medium, film.face_in(number), mirrored=True)
        drawn = [tuple(map(float, box.split())) for box in boxes.split("; ") if box]
        agreement.append(max((overlap(box, face) for box in drawn), default=0.0))
    answered = (moments[-1][2] - moments[0][2]) / seconds
    share = np.mean(np.array(agreement) > 0.5)
    print(
        f"{name}: {answered:.1f} answered frames/s, on a page at {len(moments) / seconds:.0f};"
        f" IoU of box and face: median {np.median(agreement):.2f}, above .5 for {share:.0%} of the"
        f" time; the page says: {page.text_content('#speed')}"
    )


if __name__ == "__main__":
    main()
