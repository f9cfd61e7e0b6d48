"""Real browsers with imitated cameras that visit the real service's page."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, expect

from bench import walk
from bench.films import HEIGHT, WIDTH
from bench.page import IMITATED_CAMERA
from tests.service.page.firefox import FIREFOX
from tests.service.page.seen import DESKTOP, WAIT_MS

Visit = Callable[..., Page]
expect.set_options(timeout=WAIT_MS)


@pytest.fixture
def visit(request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open the page; at the end, check for foreign requests, errors and warnings."""
    pages: list[Page] = []
    foreign: list[str] = []
    complaints: list[str] = []

    def visit(
        *flags: str,
        url: str = "",
        host: str = "",
        query: str = "",
        engine: str = "chromium",
        prepare: Callable[[Page], object] = lambda _: None,
        failures_expected: bool = False,
        **options: object,
    ) -> Page:
        url = url or request.getfixturevalue("server_url")
        if host:
            url = f"http://{host}:{urlsplit(url).port}"
        if engine == "firefox":
            browser = request.getfixturevalue("firefox")
        else:
            browser = request.getfixturevalue("browser_with")(*flags)
        page = browser.new_context(**(options or DESKTOP)).new_page()
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
        page.goto(f"{url}/{query}")
        return page

    yield visit
    for page in pages:
        page.context.close()
    assert foreign == []
    assert complaints == []


@pytest.fixture(scope="session")
def firefox(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start Firefox with an imitated camera, which it may use."""
    if FIREFOX is None:
        pytest.skip("needs Firefox: apt-get install firefox-esr")
    start = tmp_path_factory.mktemp("firefox") / "start"
    script = Path(__file__).with_name("firefox.py")
    start.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    start.chmod(0o755)
    browser = playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=start,
        firefox_user_prefs={
            "media.navigator.streams.fake": True,
            "media.navigator.permission.disabled": True,
        },
    )
    yield browser
    browser.close()


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
