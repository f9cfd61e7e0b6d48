"""Fixtures and helpers that tests share: free pictures, the running service, optional data."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright
from skimage.data import astronaut
from websockets.sync.client import ClientConnection, connect

from bench.page import CHROMIUM, FLAGS
from bench.servers import ROOT, Server, running, stop
from model.detectors.yunet import YuNet
from model.images import Box, Image
from model.training.drawing.synthesize import COLOURS, synthesize_mask

SHARED = ROOT.parent / "shared"
TIMEOUT_S = 120  # of every wait in the tests: far more than a busy machine needs
Serve = Callable[..., "contextmanager[str]"]


def encoded(image: Image, suffix: str = ".jpg") -> bytes:
    """Encode an RGB image in the format of the suffix."""
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.fixture(scope="session")
def portrait() -> Image:
    """NASA's portrait of Eileen Collins, public domain: one unmasked face in 512 x 512 pixels."""
    return np.array(astronaut())


@pytest.fixture(scope="session")
def strace() -> None:
    """Skip where strace is missing or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    if subprocess.run(["strace", "-D", "-qq", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace here")


@pytest.fixture(scope="session")
def portrait_box() -> Box:
    """Return the box of the portrait's face as a person would draw it, from brow to chin."""
    return Box(x=178, y=70, width=92, height=108)


@pytest.fixture(scope="session")
def masked_portrait(portrait: Image) -> Image:
    """Return the same face wearing a drawn mask."""
    return synthesize_mask(portrait, YuNet().detect(portrait, 0.6)[0], COLOURS["blue"])


@pytest.fixture(scope="session")
def portrait_jpeg(portrait: Image) -> bytes:
    return encoded(portrait)


@pytest.fixture(scope="session")
def masked_jpeg(masked_portrait: Image) -> bytes:
    return encoded(masked_portrait)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of public data and weights; skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, public data and weights that are not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def browser_with() -> Iterator[Callable[..., Browser]]:
    """Yield a function that starts Chromium with flags; tests with the same flags share one."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
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


@contextmanager
def serving(lines: list[str] | None = None, **options: Any) -> Iterator[str]:
    """Run the service, yield its address, and check that it stops cleanly.

    lines: gets all that the service logged. options: as bench.servers.running takes them.
    """
    with running(**options) as server:
        try:
            yield server.url
        finally:
            stop(server.process)
            print(server.said())
            if lines is not None:
                lines += server.said().splitlines()
    assert_clean(server)


def assert_clean(server: Server) -> None:
    """Check that a service exited with 0 and that none of its workers crashed."""
    assert server.process.returncode == 0, "the service did not stop cleanly"
    assert "was sent SIG" not in server.said(), "a worker crashed"


def open_stream(url: str, query: str = "", **options: Any) -> ClientConnection:
    """Open /stream of a service; options: as websockets.sync.client.connect takes them."""
    patient: dict[str, Any] = {"open_timeout": TIMEOUT_S, "ping_timeout": TIMEOUT_S}
    address = f"{url.replace('http', 'ws', 1)}/stream{query}"
    return connect(address, **({"compression": None} | patient | options))


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Return the address of the real service with its default settings."""
    with serving() as url:
        yield url
