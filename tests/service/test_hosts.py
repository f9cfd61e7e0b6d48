"""Which host names the service answers to, and which pages may use it, on the real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from websockets.exceptions import InvalidStatus

from bench.hardening.wire import answers, post
from bench.hardening.wire import connect as connection
from bench.servers import free_port
from service.config import Config, ConfigError
from tests.conftest import TIMEOUT_S, open_stream, serving

PATHS = ("/", "/model", "/metrics", "/healthz", "/readyz", "/static/main.js", "/no")
SITE = "https://shop.example"
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


@pytest.fixture(scope="module")
def named() -> Iterator[str]:
    """Run a service with two host names that one other site's pages may use."""
    with serving(ALLOWED_HOSTS="Mask.example, .shop.example", CORS_ORIGINS=SITE) as url:
        yield url


def status(url: str, host: str, path: str = "/model") -> int:
    return requests.get(url + path, headers={"Host": host}, timeout=TIMEOUT_S).status_code


def first_status(url: str, request: bytes) -> int:
    with connection(url) as sock:
        sock.sendall(request)
        return next(answers(sock)).status


@pytest.mark.parametrize("path", PATHS)
def test_a_host_name_that_is_not_allowed_is_refused_before_anything_else(
    server_url: str, path: str
) -> None:
    """A page may point its own name at this machine (DNS rebinding); the Host header shows it."""
    response = requests.get(
        server_url + path, headers={"Host": "evil.example:8000"}, timeout=TIMEOUT_S
    )
    assert response.status_code == 421
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "evil.example" in response.json()["detail"]
    assert "ALLOWED_HOSTS" in response.json()["detail"]


def test_a_stream_and_a_picture_under_a_host_name_that_is_not_allowed(
    server_url: str, portrait_jpeg: bytes
) -> None:
    rebound = "Host: evil.example", "Origin: http://evil.example"
    handshake = "\r\n".join(["GET /stream HTTP/1.1", *rebound, *HANDSHAKE, "", ""]).encode()
    assert first_status(server_url, handshake) == 421
    picture = post(portrait_jpeg).replace(b"Host: localhost", "\r\n".join(rebound).encode())
    assert first_status(server_url, picture) == 421
    assert first_status(server_url, picture.replace(b"POST ", b"PUT ", 1)) == 421


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:1", "192.0.2.7", "[::1]:8000", "[::1]"],
)
def test_localhost_and_ip_addresses_are_always_allowed(server_url: str, host: str) -> None:
    assert status(server_url, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        *("localhost.evil.example", "evil@127.0.0.1", "127.0.0.1.evil.example", "127.1"),
        *("0x7f000001", "::1", "[::1", "localhost,evil", "localhost:x", "127.0.0.1/"),
    ],
)
def test_what_only_looks_like_them_is_not(server_url: str, host: str) -> None:
    assert status(server_url, host) == 421


def test_a_request_without_a_host_is_not_from_a_browser(server_url: str) -> None:
    """As in HAProxy's health checks, in HTTP/1.0."""
    assert first_status(server_url, b"GET /readyz HTTP/1.0\r\n\r\n") == 200


def test_the_named_hosts_are_allowed_and_no_others(named: str) -> None:
    for host in ("mask.example", "MASK.example:8000", "a.shop.example", "shop.example"):
        assert status(named, host) == 200
    for host in ("a.mask.example", "xshop.example", "evil.example"):
        assert status(named, host) == 421


def test_an_asterisk_switches_the_check_off() -> None:
    with serving(ALLOWED_HOSTS="*") as url:
        assert status(url, "evil.example") == 200


def test_a_name_in_host_is_allowed() -> None:
    assert "mask.lan" in Config(HOST="mask.lan").hosts


@pytest.mark.parametrize(
    "host", ["http://mask.example", "mask.example:8000", "a b", "*.a", ",", "/"]
)
def test_what_is_no_host_stops_the_start(host: str) -> None:
    with pytest.raises(ConfigError, match="ALLOWED_HOSTS"):
        Config.from_environ({"ALLOWED_HOSTS": host})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{SITE}.evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:1", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_neither_post_nor_stream(
    named: str, portrait_jpeg: bytes, headers: dict[str, str]
) -> None:
    """CORS does not stop a form from being sent, so the same rule applies to it."""
    form = {"image": portrait_jpeg}
    for method in ("POST", "PUT"):
        response = requests.request(
            method, f"{named}/predict", files=form, headers=headers, timeout=TIMEOUT_S
        )
        assert response.status_code == 403
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "CORS_ORIGINS" in response.json()["detail"]
    with pytest.raises(InvalidStatus) as refused:
        open_stream(named, additional_headers=headers)
    assert refused.value.response.status_code == 403
    assert "CORS_ORIGINS" in json.loads(refused.value.response.body)["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "{own}", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "{own}"},
        {"Origin": SITE, "Sec-Fetch-Site": "cross-site"},
        {"Origin": SITE},
        # Behind a proxy that speaks https, and behind one that sends another Host.
        {"Host": "mask.example", "Origin": "https://mask.example"},
        {"Origin": "https://mask.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_programs_the_own_page_and_named_sites_may_use_it(
    named: str, portrait_jpeg: bytes, headers: dict[str, str]
) -> None:
    headers = {name: value.format(own=named) for name, value in headers.items()}
    form = {"image": portrait_jpeg}
    for method in ("POST", "PUT"):
        response = requests.request(
            method, f"{named}/predict", files=form, headers=headers, timeout=TIMEOUT_S
        )
        assert response.status_code == 200
    lines = [
        f"{name}: {value}" for name, value in ({"Host": urlsplit(named).netloc} | headers).items()
    ]
    handshake = "\r\n".join(["GET /stream HTTP/1.1", *lines, *HANDSHAKE, "", ""]).encode()
    assert first_status(named, handshake) == 101


def test_a_link_on_another_site_opens_the_page(named: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert requests.get(f"{named}/", headers=headers, timeout=TIMEOUT_S).status_code == 200


@pytest.mark.parametrize("host", ["::", "::1", "[::1]"])
def test_it_listens_on_ipv6(host: str, portrait_jpeg: bytes) -> None:
    port, metrics = free_port(), free_port()
    own = f"http://[::1]:{port}"
    with serving(url=own, HOST=host, PORT=str(port), METRICS_PORT=str(metrics)):
        form = {"image": portrait_jpeg}
        headers = {"Origin": own}
        answer = requests.post(f"{own}/predict", files=form, headers=headers, timeout=TIMEOUT_S)
        assert answer.status_code == 200
        apart = requests.get(f"http://[::1]:{metrics}/metrics", timeout=TIMEOUT_S)
        assert apart.status_code == 200
        if host == "::":  # IPv4 too
            assert status(f"http://127.0.0.1:{port}", "127.0.0.1") == 200
