"""API keys and other sites' pages, on the real service."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from service.config import Config, ConfigError
from service.keys import Keys
from tests.conftest import ROOT, TIMEOUT_S, open_stream, serving
from tests.service.test_metrics import samples_of

KEY, OTHER = "a-key-of-the-tests", "another_key"
SITE, NO_SITE = "https://shop.example", "https://elsewhere.example"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def status(url: str, **headers: str) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{url}/model", headers=sent, timeout=TIMEOUT_S).status_code


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    keys = f"{digest(KEY)}, {digest(OTHER).upper()}"
    with serving(API_KEYS=keys, CORS_ORIGINS=f"{SITE},http://localhost:3000") as url:
        yield url


def test_the_command_makes_a_key_that_its_digest_lets_in() -> None:
    command = [sys.executable, "-m", "service.keys"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    key, made = (line.split()[-1] for line in said.splitlines())
    assert digest(key) == made
    assert len(key) >= 43  # 256 bits
    assert (made,) == Config.from_environ({"API_KEYS": made}).API_KEYS


@pytest.mark.parametrize(("method", "path"), [("POST", "predict"), ("GET", "model")])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "guess"}, {"X-API-Key": digest(KEY)}])
def test_without_a_key_nothing_is_answered(
    guarded: str, portrait_jpeg: bytes, method: str, path: str, headers: dict[str, str]
) -> None:
    response = requests.request(
        method,
        f"{guarded}/{path}",
        data=portrait_jpeg if method == "POST" else None,
        headers={"Content-Type": "image/jpeg", **headers},
        timeout=TIMEOUT_S,
    )
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert "API key" in response.json()["detail"]
    assert ("X-API-Key" in response.json()["detail"]) is not headers


def test_a_key_lets_in_by_either_header(guarded: str, portrait_jpeg: bytes) -> None:
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {OTHER}"}):
        response = requests.post(
            f"{guarded}/predict",
            portrait_jpeg,
            headers={"Content-Type": "image/jpeg", **headers},
            timeout=TIMEOUT_S,
        )
        assert response.status_code == 200
    assert status(guarded, Authorization=f"Basic {KEY}") == 401


def test_wrong_keys_are_limited_and_good_ones_always_pass() -> None:
    with serving(API_KEYS=f"{digest(KEY)},{digest(OTHER)}") as url:
        assert status(url, X_API_Key=KEY) == 200
        # Ten pass at once, then one every six seconds, so on a slow machine a few more pass.
        guesses = [{"X-API-Key": f"guess-{number}"} for number in range(30)]
        answers = [requests.get(f"{url}/model", headers=h, timeout=TIMEOUT_S) for h in guesses]
        codes = [each.status_code for each in answers]
        assert codes[:10] == [401] * 10
        assert set(codes[10:]) <= {401, 429}
        last = answers[codes.index(429)]
        assert last.headers["Content-Type"] == "application/problem+json"
        assert 0 < int(last.headers["Retry-After"]) <= 60
        codes = []
        for _ in range(10):
            with pytest.raises(InvalidStatus) as failure:
                open_stream(url, subprotocols=[Subprotocol("key.guess")])
            codes.append(failure.value.response.status_code)
        assert 429 in codes
        assert status(url, X_API_Key=KEY) == 200
        assert status(url, Authorization=f"Bearer {OTHER}") == 200  # never seen before
        assert status(url) == 401  # a missing key is no guess


def test_a_foreign_page_cannot_use_up_the_wrong_keys_of_an_address(guarded: str) -> None:
    guess = [Subprotocol("key.guess")]
    for _ in range(11):
        with pytest.raises(InvalidStatus) as refused:
            open_stream(guarded, origin=Origin(NO_SITE), subprotocols=guess)
        assert refused.value.response.status_code == 403
    assert status(guarded, X_API_Key="a wrong one") == 401  # not 429


def test_health_and_the_page_need_no_key(guarded: str) -> None:
    for path in ("", "healthz", "readyz", "static/main.js"):
        assert requests.get(f"{guarded}/{path}", timeout=TIMEOUT_S).status_code == 200
    assert requests.get(f"{guarded}/no", timeout=TIMEOUT_S).status_code == 404


def test_a_stream_takes_the_key_as_header_or_as_subprotocol(
    guarded: str, portrait_jpeg: bytes
) -> None:
    with open_stream(guarded, additional_headers={"X-API-Key": KEY}) as connection:
        connection.send(portrait_jpeg)
        assert '"faces"' in str(connection.recv(TIMEOUT_S))
    offered = [Subprotocol("other"), Subprotocol(f"key.{KEY}")]
    with open_stream(guarded, subprotocols=offered) as connection:
        assert connection.subprotocol == f"key.{KEY}"
        connection.send(portrait_jpeg)
        assert '"faces"' in str(connection.recv(TIMEOUT_S))
    for protocol in ("key.guess", "key.", KEY):
        with pytest.raises(InvalidStatus) as refused:
            open_stream(guarded, subprotocols=[Subprotocol(protocol)])
        assert refused.value.response.status_code == 401


def test_a_service_without_keys_takes_any(server_url: str) -> None:
    assert status(server_url, X_API_Key="whatever") == 200
    with open_stream(server_url, subprotocols=[Subprotocol("key.x")]) as connection:
        assert connection.subprotocol == "key.x"  # else a browser would close the stream


def test_keys_change_without_a_restart(
    tmp_path: Path, portrait_jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# who asks\n\n{digest(KEY)}  # the door\n")
    with serving(API_KEYS_FILE=str(file), LOG_LEVEL="debug") as url:
        assert (status(url, X_API_Key=KEY), status(url, X_API_Key=OTHER)) == (200, 401)
        with open_stream(url, subprotocols=[Subprotocol(f"key.{KEY}")]) as connection:
            connection.send(portrait_jpeg)
            assert '"faces"' in str(connection.recv(TIMEOUT_S))
            file.write_text(f"no digest\n{digest(OTHER)}\n")
            assert (status(url, X_API_Key=KEY), status(url, X_API_Key=OTHER)) == (401, 200)
            connection.send(portrait_jpeg)
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(TIMEOUT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
        file.unlink()
        assert [status(url, X_API_Key=OTHER) for _ in range(3)] == [200] * 3
        file.write_text("")  # an empty file does not open the service to all
        assert (status(url, X_API_Key=OTHER), status(url)) == (401, 401)
    log = capsys.readouterr().out
    assert log.count("no SHA-256 digest (64 hex digits) in line 1.") == 1
    assert log.count("No such file") == 1
    assert not any(secret in log for secret in (KEY, OTHER, digest(KEY), digest(OTHER)))


def test_a_keys_file_that_cannot_be_read_is_reported_until_it_can(tmp_path: Path) -> None:
    def reported(url: str) -> tuple[int, list[str], float]:
        ready = requests.get(f"{url}/readyz", timeout=TIMEOUT_S)
        assert ready.json()["status"] == "ready"
        text = requests.get(f"{url}/metrics", headers={"X-API-Key": KEY}, timeout=TIMEOUT_S).text
        gauge = samples_of(text)["facemask_keys_file_unreadable", frozenset()]
        return ready.status_code, ready.json()["warnings"], gauge

    folder = tmp_path / "secret-place"
    folder.mkdir()
    file = folder / "keys"
    file.write_text(digest(KEY))
    with serving(API_KEYS_FILE=str(file)) as url:
        assert reported(url) == (200, [], 0)
        file.rename(folder / "elsewhere")
        code, (warning,), gauge = reported(url)
        assert (code, gauge) == (200, 1)
        assert "API_KEYS_FILE" in warning
        assert "secret-place" not in warning
        assert status(url, X_API_Key=KEY) == 200
        (folder / "elsewhere").rename(file)
        assert reported(url) == (200, [], 0)


def test_bad_keys_stop_the_start_and_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"API_KEYS=\.\.\..*service\.keys") as plain:
        Config.from_environ({"API_KEYS": f"{digest(KEY)},{OTHER}"})
    assert OTHER not in str(plain.value) + str(plain.value.__cause__)
    with pytest.raises(ConfigError, match="API_KEYS"):
        Config.from_environ({"API_KEYS": " , "})
    file = tmp_path / "keys"
    with pytest.raises(ConfigError, match=r"API_KEYS_FILE=.*No such file"):
        Keys(file=file)
    file.write_text(f"{digest(KEY)}\n{OTHER}\n")
    with pytest.raises(ConfigError, match="line 2") as bad:
        Keys(file=file)
    assert OTHER not in str(bad.value)


def preflight(url: str, origin: str) -> dict[str, str]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    response = requests.options(f"{url}/predict", headers=asked, timeout=TIMEOUT_S)
    assert response.status_code == 200
    return {k: v for k, v in response.headers.items() if k.startswith("Access-Control-")}


def test_only_the_exact_origins_of_other_sites_are_allowed(guarded: str, server_url: str) -> None:
    allowed = preflight(guarded, SITE)
    assert allowed["Access-Control-Allow-Origin"] == SITE
    assert "POST" in allowed["Access-Control-Allow-Methods"]
    assert allowed["Access-Control-Allow-Headers"] == "content-type, x-api-key"
    for origin in (NO_SITE, f"{SITE}.evil", f"{SITE}:8443", "null", SITE.replace(".", "x")):
        assert preflight(guarded, origin) == {}
    assert preflight(server_url, SITE) == {}
    for key, expected in ((KEY, 200), ("guess", 401)):  # the page can read the refusal as well
        headers = {"Origin": SITE, "X-API-Key": key}
        response = requests.get(f"{guarded}/model", headers=headers, timeout=TIMEOUT_S)
        assert response.status_code == expected
        assert response.headers["Access-Control-Allow-Origin"] == SITE
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_the_stream_opens_to_the_same_sites(guarded: str) -> None:
    with open_stream(guarded, origin=Origin(SITE), additional_headers={"X-API-Key": KEY}):
        pass
    with pytest.raises(InvalidStatus) as refused:
        open_stream(guarded, origin=Origin(NO_SITE), additional_headers={"X-API-Key": KEY})
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", ["*", "null", "shop.example", f"{SITE}/", f"{SITE}/page", ","])
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(ConfigError, match="CORS_ORIGINS"):
        Config.from_environ({"CORS_ORIGINS": origin})
