"""What a page of another site can do to the service, in a real Chromium."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, Page

from tests.conftest import TIMEOUT_S, serving
from tests.service.page.seen import WAIT_MS
from tests.service.test_metrics import samples_at

EVIL = "evil.example"
# The attacker's name resolves to this machine. Chromium's guard of local addresses, which other
# browsers lack, is off.
FLAGS = (
    f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
    "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
)
POST = """async ([url, bytes]) => {
    const form = new FormData();
    form.append("image", new Blob([new Uint8Array(bytes)], {type: "image/jpeg"}), "a.jpg");
    const answer = await fetch(url, {method: "POST", mode: "no-cors", body: form});
    return answer.type;
}"""
READ = "async (path) => (await fetch(path)).status"
STREAM = """(url) => new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
})"""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    """Serve an empty page that is not the service's."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def foreign(browser_with: Callable[..., Browser]) -> Iterator[Page]:
    context = browser_with(*FLAGS).new_context()
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


def predicted(url: str) -> dict[str, float]:
    """Return how many answers of /predict had which status."""
    return {
        dict(labels)["status"]: value
        for (name, labels), value in samples_at(url).items()
        if name == "facemask_requests_total" and dict(labels)["path"] == "/predict"
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", EVIL])
def test_a_foreign_page_can_post_no_picture(
    foreign: Page, service: str, foreign_port: int, host: str, portrait_jpeg: bytes
) -> None:
    before = predicted(service)
    foreign.goto(f"http://{host}:{foreign_port}/")
    kind = foreign.evaluate(POST, [f"{service}/predict", list(portrait_jpeg)])
    after = predicted(service)
    assert kind == "opaque"  # it was sent and answered
    assert after.get("200", 0) == before.get("200", 0)
    assert after["403"] == before.get("403", 0) + 1


def test_a_foreign_form_can_post_no_picture(foreign: Page, service: str, foreign_port: int) -> None:
    before = predicted(service)
    foreign.goto(f"http://{EVIL}:{foreign_port}/")
    foreign.set_content(
        f'<form method="post" enctype="multipart/form-data" action="{service}/predict">'
        '<input name="image"><button>Win a prize</button></form>'
    )
    with foreign.expect_navigation() as answer:
        foreign.click("button")
    assert answer.value.status == 403
    assert predicted(service)["403"] == before.get("403", 0) + 1


def test_a_foreign_page_can_open_no_stream(foreign: Page, service: str, foreign_port: int) -> None:
    foreign.goto(f"http://{EVIL}:{foreign_port}/")
    assert foreign.evaluate(STREAM, f"{service.replace('http', 'ws', 1)}/stream") == "refused"


def test_a_page_whose_name_was_rebound_reads_and_streams_nothing(
    foreign: Page, service: str, portrait_jpeg: bytes
) -> None:
    own = f"http://{EVIL}:{urlsplit(service).port}"
    # The page came from the attacker's server, before its name was rebound to this machine.
    foreign.route(f"{own}/", lambda route: route.fulfill(body="", content_type="text/html"))
    foreign.goto(f"{own}/")
    assert foreign.evaluate("location.origin") == own
    for path in ("/metrics", "/model", "/static/main.js"):
        assert foreign.evaluate(READ, path) == 421
    before = predicted(service)
    foreign.evaluate(POST, ["/predict", list(portrait_jpeg)])
    assert predicted(service).get("200", 0) == before.get("200", 0)
    assert foreign.evaluate(STREAM, f"{own.replace('http', 'ws', 1)}/stream") == "refused"


def test_the_own_page_posts_and_streams_under_each_of_its_addresses(
    foreign: Page, service: str, portrait_jpeg: bytes
) -> None:
    for host in ("127.0.0.1", "localhost"):
        own = f"http://{host}:{urlsplit(service).port}"
        before = predicted(service)
        foreign.goto(f"{own}/")
        foreign.evaluate(POST, ["/predict", list(portrait_jpeg)])
        assert predicted(service)["200"] == before.get("200", 0) + 1
        assert foreign.evaluate(STREAM, f"{own.replace('http', 'ws', 1)}/stream") == "open"
    assert requests.get(f"{service}/readyz", timeout=TIMEOUT_S).status_code == 200
