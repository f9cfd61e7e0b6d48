"""The values of /metrics after known events."""

import json
import re
import threading
import time
from collections import Counter
from typing import Any

import gevent
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench.servers import free_port
from model.pipeline import MaskPipeline
from service.app import create_app
from service.config import Config, ConfigError
from service.inference import InferencePool
from tests.conftest import ROOT, TIMEOUT_S, open_stream, serving

JPEG = {"Content-Type": "image/jpeg"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def samples_at(url: str) -> Samples:
    return samples_of(requests.get(f"{url}/metrics", timeout=TIMEOUT_S).text)


def value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples[f"facemask_{name}", frozenset(labels.items())]


def test_requests_faces_and_stages_are_counted(portrait_jpeg: bytes) -> None:
    with serving() as url:
        for number in range(3):
            requests.post(f"{url}/predict", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S)
            requests.post(f"{url}/predict", b"no picture", headers=JPEG, timeout=TIMEOUT_S)
            requests.get(f"{url}/no/such/address/{number}", timeout=TIMEOUT_S)
        samples = samples_at(url)
        model = requests.get(f"{url}/model", timeout=TIMEOUT_S).json()
    assert value(samples, "requests_total", path="/predict", status="200") == 3
    assert value(samples, "requests_total", path="/predict", status="422") == 3
    assert value(samples, "requests_total", path="none", status="404") == 3  # one label for all
    assert value(samples, "faces_total", label="no_mask") == 3
    assert value(samples, "faces_total", label="mask") == 0
    stages = {}
    for stage in ("decode", "detect", "classify", "whole"):
        assert value(samples, "stage_seconds_count", stage=stage) == 3
        stages[stage] = value(samples, "stage_seconds_sum", stage=stage)
    assert 0 < stages["decode"] + stages["detect"] + stages["classify"] <= stages["whole"]
    assert value(samples, "model_info", name=model["name"], version=model["version"]) == 1
    assert samples["process_resident_memory_bytes", frozenset()] > 0


def test_streams_their_frames_and_the_dropped_are_counted(portrait_jpeg: bytes) -> None:
    with serving() as url:
        with open_stream(url) as stream:
            for _ in range(20):  # at once, so that new frames replace waiting ones
                stream.send(portrait_jpeg)
            answers = [json.loads(stream.recv(TIMEOUT_S))]
            while answers[-1]["frame_id"] < 19:
                answers.append(json.loads(stream.recv(TIMEOUT_S)))
            for _ in range(4):
                stream.send(portrait_jpeg)
                answers.append(json.loads(stream.recv(TIMEOUT_S)))
            open_ = samples_at(url)
        for _ in range(100):
            closed = samples_at(url)
            if not value(closed, "open_streams"):
                break
            time.sleep(0.1)
    assert value(open_, "open_streams") == 1
    assert value(closed, "open_streams") == 0
    assert value(closed, "stream_frames_total") == 24
    assert value(closed, "stream_frames_dropped_total") == 24 - len(answers)
    told = [face for answer in answers for face in answer["faces"]]
    confirmed = Counter(face["label"] for face in told if face["state"] == "confirmed")
    assert 0 < confirmed.total() < len(told)
    for label in ("mask", "no_mask", "uncertain"):
        assert value(closed, "faces_total", label=label) == confirmed[label]
    assert value(closed, "requests_total", path="/stream", status="101") == 1


def test_slots_queue_and_refusals_are_shown(portrait_jpeg: bytes) -> None:
    pool = InferencePool(MaskPipeline.load, slots=1, queue_size=1)
    client = create_app(Config(MAX_STREAMS=0), pool).test_client()

    def sampled() -> Samples:
        return samples_of(client.get("/metrics").text)

    let_go = threading.Event()
    frames = [gevent.spawn(pool.run, lambda _: let_go.wait(TIMEOUT_S), 1) for _ in range(2)]
    while not pool.waiting:
        gevent.sleep(0.01)
    full = sampled()
    refused = client.post("/predict", data=portrait_jpeg, content_type="image/jpeg")
    let_go.set()
    gevent.joinall(frames)
    assert refused.status_code == client.get("/stream").status_code == 503
    assert (value(full, "slots"), value(full, "busy_slots"), value(full, "queue_length")) == (
        *(1, 1, 1),
    )
    idle = sampled()
    assert (value(idle, "busy_slots"), value(idle, "queue_length")) == (0, 0)
    assert value(idle, "refused_total", reason="queue") == 1
    assert value(idle, "refused_total", reason="streams") == 1


def test_metrics_can_be_kept_on_another_port(portrait_jpeg: bytes) -> None:
    port = free_port()
    with serving(METRICS_PORT=str(port)) as url:
        apart = f"http://127.0.0.1:{port}"
        requests.post(f"{url}/predict", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S)
        assert value(samples_at(apart), "faces_total", label="no_mask") == 1
        spoofed = {"Host": f"127.0.0.1:{port}"}
        for response in (
            requests.get(f"{url}/metrics", timeout=TIMEOUT_S),
            requests.get(f"{url}/metrics", headers=spoofed, timeout=TIMEOUT_S),
            requests.get(f"{apart}/readyz", timeout=TIMEOUT_S),
            requests.post(f"{apart}/predict", portrait_jpeg, headers=JPEG, timeout=TIMEOUT_S),
        ):
            assert response.status_code == 404
            assert response.headers["Content-Type"] == "application/problem+json"
        assert (
            "/metrics" not in requests.get(f"{url}/openapi.json", timeout=TIMEOUT_S).json()["paths"]
        )


def test_the_other_port_is_another() -> None:
    with pytest.raises(ConfigError, match="METRICS_PORT='8000'"):
        Config.from_environ({"METRICS_PORT": "8000"})


def expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_every_metric_of_the_dashboard_exists(server_url: str) -> None:
    """Grafana itself is not run; the dashboard's queries are checked against the metrics."""
    folder = ROOT / "docker/observability"
    dashboard = json.loads((folder / "dashboard.json").read_text())
    shown = expressions(dashboard["panels"])
    known = {name for name, _ in samples_at(server_url)}
    asked = {name for text in shown for name in re.findall(r"\b(?:facemask|process)_\w+", text)}
    assert asked <= known
    ours = {name for name in known if name.startswith("facemask_")}
    assert ours - asked <= {"facemask_stage_seconds_created"}
    source = yaml.safe_load((folder / "datasource.yml").read_text())["datasources"][0]
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


def test_compose_passes_every_setting_on_and_mounts_what_is_there() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    own = {"HOST", "PORT"}  # set by the image
    environment = dict(each.partition("=")[::2] for each in services["mask"]["environment"])
    further = {name for name in environment if name.startswith("OTEL_")}  # read by OpenTelemetry
    assert (
        environment.keys() - further == {n for n in Config.model_fields if n[:5] != "OTEL_"} - own
    )
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in further
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["observability"]
        for volume in services[name]["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file()
    scraped = yaml.safe_load((ROOT / "docker/observability/prometheus.yml").read_text())
    key = scraped["scrape_configs"][0]["authorization"]["credentials_file"]
    assert f"${{METRICS_KEY_FILE:-/dev/null}}:{key}:ro" in services["prometheus"]["volumes"]
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert port == environment["METRICS_PORT"]
    assert host in environment["ALLOWED_HOSTS"].split(",")


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker/proxy/compose.yml"])
def test_compose_publishes_to_this_machine_alone_unless_told_otherwise(file: str) -> None:
    published = re.findall(r'^ +- "(.+:\d+)"$', (ROOT / file).read_text(), re.MULTILINE)
    assert published
    for port in published:
        assert port.startswith(("127.0.0.1:", "${HOST:-127.0.0.1}:", "${LAN_ADDRESS:-127.0.0.1}:"))
        assert not port.endswith(":9100")  # /metrics is published nowhere
