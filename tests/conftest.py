"""What several tests share: free pictures, the real service on a socket, the optional data."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright
from skimage.data import astronaut

from bench.hardening.server import wait_until_ready
from bench.page import CHROMIUM, FLAGS
from bench.servers import ROOT, free_port
from model.detectors.yunet import YuNet
from model.images import Box, Image
from model.training.drawing.synthesize import COLOURS, synthesize_mask

SHARED = ROOT.parent / "shared"
Serve = Callable[..., "contextmanager[str]"]
GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "docker/gunicorn.conf.py")


def encoded(image: Image, suffix: str = ".jpg") -> bytes:
    """Encode an RGB image as the suffix says."""
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.fixture(scope="session")
def portrait() -> Image:
    """NASA's portrait of Eileen Collins, public domain: one unmasked face in 512 x 512 pixels."""
    return np.array(astronaut())


@pytest.fixture(scope="session")
def strace() -> None:
    """Skip where the calls of a process cannot be traced."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    if subprocess.run(["strace", "-D", "-qq", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace here")


@pytest.fixture(scope="session")
def portrait_box() -> Box:
    """Where a person sees the portrait's face, from brow to chin."""
    return Box(x=178, y=70, width=92, height=108)


@pytest.fixture(scope="session")
def masked_portrait(portrait: Image) -> Image:
    """The same face wearing a mask that we draw."""
    return synthesize_mask(portrait, YuNet().detect(portrait, 0.6)[0], COLOURS["blue"])


@pytest.fixture(scope="session")
def portrait_jpeg(portrait: Image) -> bytes:
    return encoded(portrait)


@pytest.fixture(scope="session")
def masked_jpeg(masked_portrait: Image) -> bytes:
    return encoded(masked_portrait)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of public data and weights, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, public data and weights that are not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Start Playwright, of which a process may run only one."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser_with(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """Start a Chromium with the given flags, once for all tests that want the same."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    browsers: dict[tuple[str, ...], Browser] = {}

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
def serving(
    lines: list[str] | None = None,
    command: Sequence[str] = GUNICORN,
    address: str = "",
    **environ: str,
) -> Iterator[str]:
    """Run the service as `make serve` does and return its address once it is ready.

    address: where to ask for it, if not on 127.0.0.1. At the end, lines holds all that it said.
    """
    port = environ.get("PORT") or free_port()
    url = address or f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would fill up and block
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PORT": str(port), "HOST": "127.0.0.1"} | environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)
            log.seek(0)
            said = log.read().decode()
            print(said)
            if lines is not None:
                lines += said.splitlines()
    assert process.returncode == 0, "the service did not stop cleanly"
    assert "was sent SIG" not in said, "a worker crashed"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Return the address of the real service with its default settings."""
    with serving() as url:
        yield url
