"""/openapi.json and the real service's answers agree."""

import base64
import copy
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
import numpy as np
import pytest
import requests
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from model.pipeline import Analysis, MaskPipeline
from service.app import create_app
from service.config import Config
from service.inference import InferencePool
from tests.conftest import ROOT, TIMEOUT_S, encoded, open_stream, serving

Document = dict[str, Any]
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def document(server_url: str) -> Document:
    return requests.get(f"{server_url}/openapi.json", timeout=TIMEOUT_S).json()


@pytest.fixture(scope="module")
def pool() -> InferencePool:
    return InferencePool(MaskPipeline.load, slots=1, queue_size=0)


def check_schema(document: Document, schema: Document, value: object) -> None:
    """Validate a value, and check that it has no undocumented field."""
    components = copy.deepcopy(document["components"])
    for model in components["schemas"].values():
        model["additionalProperties"] = False
    Draft202012Validator(schema | {"components": components}).validate(value)


def check_answer(
    document: Document, method: str, path: str, response: requests.Response | TestResponse
) -> None:
    described = document["paths"][path][method.lower()]["responses"][str(response.status_code)]
    for name, header in described["headers"].items():
        Draft202012Validator(header["schema"]).validate(
            int(response.headers[name]) if name == "Retry-After" else response.headers[name]
        )
    kind = response.headers["Content-Type"].split(";")[0]
    contents = described["content"]
    schema = contents.get("*/*", contents.get(kind))
    assert schema is not None, f"{kind} is not among {list(contents)}"
    if "json" in kind and path != "/openapi.json":
        check_schema(document, schema["schema"], json.loads(response.text))
    if response.status_code >= 400:
        assert kind == "application/problem+json"


def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert document["info"]["version"] == project["version"]


def test_every_address_is_in_it_and_no_other(pool: InferencePool) -> None:
    for config in (Config(), Config(METRICS_PORT=9100)):
        app = create_app(config, pool)
        served = {
            (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
            for rule in app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        if config.METRICS_PORT:
            served.remove(("/metrics", "get"))  # it is on another port
        document = app.test_client().get("/openapi.json").get_json()
        described = {(path, method) for path, each in document["paths"].items() for method in each}
        assert described == served


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/model", "/metrics", "/openapi.json", "/docs"]
)
def test_addresses_that_are_read(server_url: str, document: Document, path: str) -> None:
    response = requests.get(server_url + path, timeout=TIMEOUT_S)
    assert response.status_code == 200
    check_answer(document, "GET", path, response)


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("docs.js", {}, 200),
        ("docs.js", {"Range": "bytes=0-9"}, 206),
        ("docs.js", {"Range": "bytes=9999999-"}, 416),
        ("no.js", {}, 404),
    ],
)
def test_files_of_the_pages(
    server_url: str, document: Document, name: str, headers: dict[str, str], status: int
) -> None:
    response = requests.get(f"{server_url}/static/{name}", headers=headers, timeout=TIMEOUT_S)
    assert response.status_code == status
    check_answer(document, "GET", "/static/{filename}", response)


def test_every_way_to_send_a_picture(
    server_url: str, document: Document, portrait_jpeg: bytes
) -> None:
    url = f"{server_url}/predict"
    described = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    text = {"image": base64.b64encode(portrait_jpeg).decode()}
    check_schema(document, described["application/json"]["schema"], text)
    for response in (
        requests.post(url, portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S),
        requests.post(url, json=text, timeout=TIMEOUT_S),
        requests.post(url, files={"image": portrait_jpeg}, timeout=TIMEOUT_S),
        requests.post(url, data=text, timeout=TIMEOUT_S),
        requests.post(f"{url}?annotate=true", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S),
        requests.put(url, portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S),
    ):
        assert response.status_code == 200
        assert response.request.headers["Content-Type"].split(";")[0] in described
        check_answer(document, str(response.request.method), "/predict", response)


@pytest.mark.parametrize(
    ("query", "kind", "body", "status"),
    [
        ("?min_confidence=2", "image/jpeg", b"", 400),
        ("?detector=none", "image/jpeg", b"", 400),
        ("?unknown=1", "image/jpeg", b"", 400),
        ("", "application/json", b"{}", 400),
        ("", "multipart/form-data; boundary=x", b"--x--", 400),
        ("", "image/jpeg", b"x" * 10_000_001, 413),
        ("", "text/plain", b"x", 422),
        ("", "image/jpeg", b"no picture", 422),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_refusals_of_pictures(
    server_url: str,
    document: Document,
    method: str,
    query: str,
    kind: str,
    body: bytes,
    status: int,
) -> None:
    url, headers = f"{server_url}/predict{query}", {"Content-Type": kind}
    response = requests.request(method, url, data=body, headers=headers, timeout=TIMEOUT_S)
    assert response.status_code == status
    check_answer(document, method, "/predict", response)


def test_a_refusal_of_a_compressed_body(
    server_url: str, document: Document, portrait_jpeg: bytes
) -> None:
    headers = {"Content-Encoding": "gzip"}
    response = requests.post(
        f"{server_url}/predict", portrait_jpeg, headers=headers, timeout=TIMEOUT_S
    )
    assert response.status_code == 415
    check_answer(document, "POST", "/predict", response)


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 426),
        ("?min_confidence=x", {}, 400),
        (
            "",
            {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
                "Origin": "http://other.example",
            },
            403,
        ),
    ],
)
def test_refusals_of_streams(
    server_url: str, document: Document, query: str, headers: dict[str, str], status: int
) -> None:
    response = requests.get(f"{server_url}/stream{query}", headers=headers, timeout=TIMEOUT_S)
    assert response.status_code == status
    check_answer(document, "GET", "/stream", response)


def test_refusals_for_want_of_room_or_length_and_failures(
    pool: InferencePool, document: Document, portrait_jpeg: bytes
) -> None:
    client = create_app(Config(MAX_STREAMS=0), pool).test_client()
    picture = {"data": portrait_jpeg, "content_type": "image/jpeg"}
    let_go = threading.Event()
    frame = gevent.spawn(pool.run, lambda _: let_go.wait(TIMEOUT_S), 1)
    while not pool.busy:  # the only slot
        gevent.sleep(0.01)
    full = client.post("/predict", **picture)  # type: ignore[arg-type]
    let_go.set()
    frame.join()
    no_length = client.post("/predict", content_type="image/jpeg")
    no_stream = client.get("/stream")

    class Broken(MaskPipeline):
        def analyse(self, *_: object, **__: object) -> Analysis:  # type: ignore[override]
            raise RuntimeError

    broken = create_app(Config(), InferencePool(Broken.load, slots=1, queue_size=0)).test_client()
    failed = broken.post("/predict", **picture)  # type: ignore[arg-type]
    for path, method, response, status in (
        ("/predict", "POST", full, 503),
        ("/predict", "POST", no_length, 411),
        ("/stream", "GET", no_stream, 503),
        ("/predict", "POST", failed, 500),
    ):
        assert response.status_code == status
        check_answer(document, method, path, response)


def test_refusals_before_there_is_a_request(server_url: str, document: Document) -> None:
    long = requests.get(f"{server_url}/healthz?{'x' * 5000}", timeout=TIMEOUT_S)
    large = requests.get(
        f"{server_url}/healthz", headers={"X-Large": "x" * 9000}, timeout=TIMEOUT_S
    )
    assert (long.status_code, large.status_code) == (414, 431)
    for response in (long, large):
        check_answer(document, "GET", "/healthz", response)
        assert "xxx" not in response.text
    address = urlsplit(server_url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sender:
        sender.sendall(b"no request\r\n\r\n")
        answer = b"".join(iter(lambda: sender.recv(65536), b""))
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    check_schema(document, {"$ref": "#/components/schemas/Problem"}, json.loads(body))


def test_messages_of_a_stream(server_url: str, document: Document, portrait_jpeg: bytes) -> None:
    messages = document["paths"]["/stream"]["get"]["x-messages"]
    with open_stream(server_url) as stream:
        for frame in (portrait_jpeg, b"no picture", encoded(np.zeros((64, 64, 3), np.uint8))):
            stream.send(frame)
            check_schema(document, messages, json.loads(stream.recv(TIMEOUT_S)))


def attack(url: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run schemathesis with all checks, on input that the document allows and forbids."""
    config = ROOT / "tests/service/schemathesis.toml"
    common = ["--max-examples=10", "--seed=1", "--phases=coverage,fuzzing", "--no-shrink"]
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run"),
            *(f"{url}/openapi.json", "--checks=all", "--warnings=off", "--no-color"),
            *(*common, *options),
        ],
        cwd=folder,  # it leaves files in its working folder
        env=os.environ | {"PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_document_keeps_its_word_when_attacked(server_url: str, tmp_path: Path) -> None:
    run = attack(server_url, tmp_path)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "Tested: 10" in run.stdout  # everything but the document itself


def test_it_keeps_its_word_too_where_keys_are_asked_for(tmp_path: Path) -> None:
    """Schemathesis then also sends requests without a key and with a wrong one."""
    with serving(API_KEYS=hashlib.sha256(b"a key").hexdigest()) as url:
        run = attack(url, tmp_path, "--header=X-API-Key: a key")
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "Tested: 10" in run.stdout


def test_keys_and_a_rate_are_in_the_document_where_they_are_set(
    pool: InferencePool, portrait_jpeg: bytes
) -> None:
    digest = hashlib.sha256(b"a key").hexdigest()
    client = create_app(
        Config.from_environ({"API_KEYS": digest, "RATE_LIMIT": "1"}), pool
    ).test_client()
    document = client.get("/openapi.json").json
    assert document is not None
    validate(document)
    with client.get("/docs") as page:
        assert page.status_code == 200
    for path in ("/model", "/metrics", "/stream"):
        check_answer(document, "GET", path, client.get(path))
        assert client.get(path).status_code == 401
    statuses = []
    for key in ("another", "a key", "a key", "a key"):
        headers = JPEG | {"X-API-Key": key}
        answered = client.post("/predict", data=portrait_jpeg, headers=headers)
        check_answer(document, "POST", "/predict", answered)
        statuses.append(answered.status_code)
    assert statuses == [401, 200, 200, 429]
