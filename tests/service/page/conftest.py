"""A real Chromium with imitated cameras that visits the real service's page."""

import io
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from bench import walk
from bench.films import HEIGHT, WIDTH
from bench.page import IMITATED_CAMERA
from tests.service.page.seen import DESKTOP, WAIT_MS

Visit = Callable[..., Page]
expect.set_options(timeout=WAIT_MS)


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser_with: Callable[..., Browser]) -> Iterator[Visit]:
    """Open the page; at the end, check for foreign requests, errors and warnings."""
    pages: list[Page] = []
    foreign: list[str] = []
    complaints: list[str] = []

    def visit(
        *flags: str,
        url: str = "",
        host: str = "",
        prepare: Callable[[Page], object] = lambda _: None,
        failures_expected: bool = False,
        **options: object,
    ) -> Page:
        url = url or request.getfixturevalue("server_url")
        if host:
            url = f"http://{host}:{urlsplit(url).port}"
        page = browser_with(*flags).new_context(**(options or DESKTOP)).new_page()
        page.set_default_timeout(WAIT_MS)
        pages.append(page)

        def note_address(address: str) -> None:
            own = (f"{url}/", f"{url.replace('http', 'ws', 1)}/", "blob:")
            if not address.startswith(own):
                foreign.append(address)

        def note_complaint(kind: str, text: str) -> None:
            # Chromium itself reports every refused or failed request and connection.
            expected = failures_expected and text.startswith(("Failed to load", "WebSocket"))
            if kind in {"error", "warning"} and not expected:
                complaints.append(text)

        page.on("request", lambda request: note_address(request.url))
        page.on("websocket", lambda socket: note_address(socket.url))
        page.on("console", lambda message: note_complaint(message.type, message.text))
        page.on("pageerror", lambda error: note_complaint("error", str(error)))
        prepare(page)
        page.goto(f"{url}/")
        return page

    yield visit
    for page in pages:
        page.context.close()
    assert foreign == []
    assert complaints == []


@pytest.fixture(scope="session")
def filmed(portrait_jpeg: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return flags for a camera that films the portrait."""
    frame = Image.new("RGB", (WIDTH, HEIGHT), (90, 80, 70))
    # On the left side, so that mirroring shows.
    frame.paste(Image.open(io.BytesIO(portrait_jpeg)).resize((HEIGHT, HEIGHT)))
    path = tmp_path_factory.mktemp("camera") / "still.mjpeg"
    walk.write_mjpeg(path, [np.array(frame)] * 2)
    return (*IMITATED_CAMERA, f"--use-file-for-fake-video-capture={path}")


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return flags for a camera that films a walking person with and without a mask."""
    path = tmp_path_factory.mktemp("camera") / "walk.mjpeg"
    walk.write_mjpeg(path, walk.walk())
    return (*IMITATED_CAMERA, f"--use-file-for-fake-video-capture={path}")
