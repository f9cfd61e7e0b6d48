"""Caddy in front of the service, as compose's profile https runs it, with a real certificate."""

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from websockets.sync.client import connect

from bench.servers import ROOT, free_port
from tests.conftest import TIMEOUT_S, serving

ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return Caddy's address and the certificate of its authority."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("needs Caddy: apt-get install caddy")
    home, port = tmp_path_factory.mktemp("caddy"), free_port()
    root = home / "caddy/pki/authorities/local/root.crt"
    with serving(TRUSTED_PROXIES="1") as url:
        own = {"LAN_ADDRESS": ADDRESS, "LISTEN_PORT": str(port), "XDG_DATA_HOME": str(home)}
        own |= {"XDG_CONFIG_HOME": str(home), "UPSTREAM": url.removeprefix("http://")}
        process = subprocess.Popen(
            [caddy, "run", "--config", "docker/https/Caddyfile", "--adapter", "caddyfile"],
            cwd=ROOT,
            env=os.environ | own,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = f"https://{ADDRESS}:{port}"
            deadline = time.monotonic() + TIMEOUT_S
            while not answers(address, root):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield address, root
        finally:
            process.terminate()
            process.wait(timeout=TIMEOUT_S)


def answers(address: str, root: Path) -> bool:
    try:
        return (
            root.exists() and requests.get(f"{address}/readyz", verify=root, timeout=TIMEOUT_S).ok
        )
    except requests.ConnectionError:
        return False


def test_the_page_and_pictures_pass(https: tuple[str, Path], portrait_jpeg: bytes) -> None:
    address, root = https
    assert "<h1>Mask check</h1>" in requests.get(address, verify=root, timeout=TIMEOUT_S).text
    for origin, status in ((address, 200), ("https://elsewhere.example", 403)):
        headers = {"Content-Type": "image/jpeg", "Origin": origin}
        answer = requests.post(
            f"{address}/predict", portrait_jpeg, headers=headers, verify=root, timeout=TIMEOUT_S
        )
        assert answer.status_code == status


def test_a_stream_passes(https: tuple[str, Path], portrait_jpeg: bytes) -> None:
    address, root = https
    trusted = ssl.create_default_context(cafile=str(root))
    with connect(
        f"{address.replace('http', 'ws', 1)}/stream", ssl=trusted, origin=address, compression=None
    ) as stream:
        stream.send(portrait_jpeg)
        assert '"frame_id":0' in str(stream.recv(30))


def test_the_certificate_is_of_its_own_authority(https: tuple[str, Path]) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(https[0], timeout=TIMEOUT_S)
