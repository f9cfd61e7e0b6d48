"""The service around /predict: other addresses, settings, start and overload."""

import os
import shutil
import socket
import sys
import threading
from pathlib import Path

import gevent
import numpy as np
import pytest
import requests

from bench.servers import running
from model.pipeline import Analysis, MaskPipeline
from service.app import create_app
from service.config import Config, ConfigError, cores
from service.inference import InferencePool
from tests.conftest import ROOT, TIMEOUT_S, encoded, serving


def test_health_readiness_and_model(server_url: str) -> None:
    assert requests.get(f"{server_url}/healthz", timeout=TIMEOUT_S).json() == {"status": "alive"}
    assert requests.get(f"{server_url}/readyz", timeout=TIMEOUT_S).json() == {
        "status": "ready",
        "warnings": [],
    }
    model = requests.get(f"{server_url}/model", timeout=TIMEOUT_S).json()
    assert model["name"] == "cascade"
    stages = [stage["name"] for stage in model["stages"]]
    assert stages == ["detector", "fast", "mobilenetv2-224"]
    assert model["stages"][-1]["decides_from"] == 0
    assert model["detectors"] == ["facemask"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/no", 404), ("GET", "/predict", 405)]
)
def test_wrong_addresses_get_problems(server_url: str, method: str, path: str, status: int) -> None:
    response = requests.request(method, server_url + path, timeout=TIMEOUT_S)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    if status == 405:
        assert "POST" in response.headers["Allow"]


def test_the_server_does_not_follow_paths_out_of_its_page(server_url: str) -> None:
    response = requests.get(f"{server_url}/static/..%2fapp.py", timeout=TIMEOUT_S)
    assert response.status_code == 404


@pytest.mark.parametrize("path", ["", "static/main.js", "docs", "model", "no"])
def test_browsers_are_told_to_run_nothing_but_the_services_own(server_url: str, path: str) -> None:
    headers = requests.get(f"{server_url}/{path}", timeout=TIMEOUT_S).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_settings_come_from_the_environment(portrait_jpeg: bytes) -> None:
    with serving(DETECTOR="haar", MAX_PIXELS="262144", INFERENCE_SLOTS="1") as url:
        headers = {"Content-Type": "image/jpeg"}
        answer = requests.post(f"{url}/predict", portrait_jpeg, headers=headers, timeout=TIMEOUT_S)
        assert answer.json()["model"]["detector"] == "haar"
        larger = encoded(np.zeros((513, 512, 3), np.uint8))
        answer = requests.post(f"{url}/predict", larger, headers=headers, timeout=TIMEOUT_S)
        assert answer.status_code == 413


def start_fails(folder: Path = ROOT, **environ: str) -> str:
    """Start the service, which must end by itself with an error; return what it wrote."""
    with running(folder=folder, wait=False, **environ) as server:
        assert server.process.wait(TIMEOUT_S) != 0
    assert "Traceback" not in server.said()
    return server.said()


def test_a_bad_setting_stops_the_start_and_is_named() -> None:
    said = start_fails(PORT="eighty", QUEUE_SIZE="-1")
    assert "PORT='eighty'" in said
    assert "QUEUE_SIZE='-1'" in said


@pytest.mark.parametrize("host", ["nonsense.invalid", "*", "::zz", "localhost:80", "203.0.113.1"])
def test_a_bad_host_stops_the_start_and_is_named_rather_than_the_port(host: str) -> None:
    said = start_fails(HOST=host)
    assert f"HOST={host}" in said
    assert "PORT=" not in said


def test_a_port_in_use_stops_the_start_and_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        said = start_fails(PORT=port)
        assert f"PORT={port}" in said
        said = start_fails(METRICS_PORT=port)
        assert f"METRICS_PORT={port}" in said


def test_a_bad_file_of_keys_stops_the_start_with_its_reason_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# ours\nnot a digest\n")
    for file, reason in ((keys, "in line 2"), (tmp_path / "none", "No such file")):
        said = start_fails(API_KEYS_FILE=str(file))
        assert f"API_KEYS_FILE={file}: " in said
        assert reason in said
        assert "not a digest" not in said


def test_damaged_weights_stop_the_start_with_the_reason_alone(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in ("model", "service", "docker"):
        ignored = shutil.ignore_patterns("__pycache__", "training")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for weights in (copy / "model/weights").rglob("*.onnx"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    said = start_fails(copy)
    assert "sha256" in said.lower()


def test_a_default_detector_that_is_not_installed_stops_the_start() -> None:
    if (ROOT / "model/weights/detectors").exists():
        pytest.skip("detector 'ssd' is installed here")
    said = start_fails(DETECTOR="ssd")
    assert "Detector 'ssd' (DETECTOR, DETECTORS) cannot be used: The weights" in said
    assert "Run 'make detectors'" in said


def test_empty_variables_mean_the_defaults() -> None:
    assert Config.from_environ({"PORT": "", "DETECTOR": ""}) == Config()
    with pytest.raises(ConfigError, match="MIN_CONFIDENCE='2'"):
        Config.from_environ({"MIN_CONFIDENCE": "2"})


def test_every_setting_is_explained_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    table = (ROOT / "docs/settings.md").read_text()
    for name, field in Config.model_fields.items():
        default = "" if field.default_factory or field.default in (None, ()) else field.default
        assert f"\n{name}={default}\n" in example
        assert f"| `{name}` |" in table


def test_a_containers_cpu_limit_is_respected(tmp_path: Path) -> None:
    everything = cores(tmp_path / "nowhere")
    for limit, expected in (("max 100000", everything), ("100000 100000", 1), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(limit + "\n")
        assert cores(tmp_path) == expected


def test_an_unforeseen_failure_shows_nothing_of_the_inside(portrait_jpeg: bytes) -> None:
    class Broken(MaskPipeline):
        def analyse(self, *_: object, **__: object) -> Analysis:  # type: ignore[override]
            raise RuntimeError("secret of the inside")

    pool = InferencePool(Broken.load, slots=1, queue_size=0)
    client = create_app(Config(), pool).test_client()
    for _ in range(3):  # a failed frame gives its slot back
        response = client.post("/predict", data=portrait_jpeg, content_type="image/jpeg")
        assert response.status_code == 500
        assert "secret" not in response.text
        assert response.headers["X-Request-ID"] in response.text


def test_a_full_queue_answers_503_at_once_and_recovers(portrait_jpeg: bytes) -> None:
    """The pipeline waits for an event, because a real one does not take a set time."""
    entered: list[int] = []
    release = threading.Event()

    class Held(MaskPipeline):
        def analyse(self, *args: object, **kwargs: object) -> Analysis:  # type: ignore[override]
            entered.append(1)
            release.wait(TIMEOUT_S)
            return super().analyse(*args, **kwargs)  # type: ignore[arg-type]

    pool = InferencePool(Held.load, slots=2, queue_size=0)
    app = create_app(Config(), pool)

    def send() -> int:
        answer = app.test_client().post("/predict", data=portrait_jpeg, content_type="image/jpeg")
        return answer.status_code

    accepted = [gevent.spawn(send) for _ in range(2)]
    while len(entered) < 2:
        gevent.sleep(0.01)
    refused = app.test_client().post("/predict", data=portrait_jpeg, content_type="image/jpeg")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert app.test_client().get("/healthz").status_code == 200
    release.set()
    gevent.joinall(accepted)
    assert [each.value for each in accepted] == [200, 200]
    assert send() == 200


def test_a_large_upload_is_kept_in_memory() -> None:
    """Python's audit hook reports every opened file; none is written during a large upload."""
    pool = InferencePool(MaskPipeline.load, slots=1, queue_size=0)
    random = np.random.default_rng(0)
    large = encoded(random.integers(0, 256, (1000, 1000, 3), dtype=np.uint8), ".png")
    form = requests.Request("POST", "http://service/", files={"image": large}).prepare()
    client = create_app(Config(), pool).test_client()
    written: list[object] = []
    watching = True

    def watch(event: str, args: tuple[object, ...]) -> None:
        flags = args[2] if watching and event == "open" else 0
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
            written.append(args[0])

    sys.addaudithook(watch)  # cannot be removed again, hence `watching`
    response = client.post("/predict", data=form.body, content_type=form.headers["Content-Type"])
    watching = False
    assert response.status_code == 200
    assert written == []
