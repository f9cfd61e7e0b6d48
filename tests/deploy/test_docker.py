"""A real push and real rolling updates: the real image, engine and registry; AWS is a stand-in."""

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.handlers import BUILTIN_HANDLERS
from docker.api import APIClient
from docker.client import DockerClient, from_env
from docker.errors import DockerException

from bench.servers import free_port
from deploy import image
from deploy.__main__ import main
from deploy.config import Config
from tests.client.stand_in import run as run_client
from tests.conftest import ROOT
from tests.deploy import fargate
from tests.deploy.conftest import Cloud, Done, account, over_http

Command = Callable[..., Done]
BASE_IMAGE = os.environ.get("BASE_IMAGE", "python:3.12-slim-bookworm")
HEADERS = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def engine() -> DockerClient:
    if not shutil.which("docker"):
        pytest.skip("needs Docker")
    try:
        client = from_env(timeout=120)
        client.ping()
    except DockerException:
        pytest.skip("needs a running Docker engine")
    try:
        client.images.get(BASE_IMAGE)
    except DockerException:
        try:
            client.images.pull(BASE_IMAGE)
        except DockerException:
            pytest.skip(f"the base image {BASE_IMAGE} cannot be pulled; set BASE_IMAGE to another")
    return client


@dataclass(frozen=True)
class Stage:
    """What the tests of this file share: account, agent, registry, and the images' names."""

    cloud: Cloud
    docker: DockerClient
    agent: fargate.Fargate
    good: str


@pytest.fixture(scope="module")
def stage(engine: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set up a clone of the last commit, an account, a registry and the agent."""
    clone = tmp_path_factory.mktemp("stage") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (clone / "deploy.toml").unlink(missing_ok=True)
    agent = fargate.Fargate(engine)
    folder = tmp_path_factory.mktemp("registry")
    with account(clone) as cloud, fargate.registry(folder) as host:
        cloud.ecs.agent = agent
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.deploy.engine.DNS_NAME", agent.front.address)
            yield Stage(cloud, engine, agent, image.tag_of_checkout(Config()))
        agent.close()
        agent.front.close()
    for made in engine.images.list():
        for tag in made.tags:
            if tag.startswith(("facemask-stand-in:", f"{host}/")):
                engine.images.remove(tag)


@pytest.fixture(scope="module")
def said(stage: Stage) -> str:
    """Return the output of the first `up`, which builds, pushes and runs the real image."""
    assert stage.agent.running == {}
    words = io.StringIO()
    with redirect_stderr(words):
        assert main(["up", "--yes", "--https", "none"]) == 0, words.getvalue()
    return words.getvalue()


@pytest.fixture(scope="module")
def address(stage: Stage, said: str) -> str:
    """Return the address of the service that `up` started."""
    assert said
    return f"http://{stage.agent.front.address}"


def label(stage: Stage, tag: str, *lines: str) -> str:
    """Derive another image from the good one; return its local name."""
    uri = stage.cloud.client("ecr").describe_repositories()["repositories"][0]["repositoryUri"]
    return fargate.derived(stage.docker, f"{uri}:{stage.good}", f"facemask-stand-in:{tag}", *lines)


@pytest.fixture
def asking(address: str, masked_jpeg: bytes) -> Iterator[list[Any]]:
    """Send requests all the time; yield the list of status codes."""
    codes: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = requests.post(
                    f"{address}/predict", masked_jpeg, headers=HEADERS, timeout=60
                )
                codes.append(answer.status_code)
            except requests.RequestException as error:
                codes.append(repr(error))
            time.sleep(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    yield codes
    stop.set()
    thread.join()


def test_up_pushes_the_checkout_and_runs_it_by_digest(
    stage: Stage, said: str, address: str
) -> None:
    assert said.count("pushing layer") > 3
    assert stage.good.split("-")[1] == "x86_64"
    assert fargate.PASSWORD not in said
    found = stage.cloud.client("ecs").describe_task_definition(taskDefinition="facemask")
    runs = found["taskDefinition"]["containerDefinitions"][0]["image"]
    pushed = stage.cloud.client("ecr").describe_images(repositoryName="facemask")["imageDetails"]
    assert [item["imageTags"] for item in pushed] == [[stage.good]]
    assert runs.endswith(f"@{pushed[0]['imageDigest']}")
    assert requests.get(f"{address}/readyz", timeout=60).status_code == 200


def test_curl_and_the_client_get_the_same_answers_as_from_localhost(
    address: str,
    command: Command,
    server_url: str,
    masked_jpeg: bytes,
    tmp_path: Path,
) -> None:
    status = command("status", "--json")
    assert status.code == 0, status.err
    url = json.loads(status.out)["url"]
    assert url == address
    (tmp_path / "face.jpg").write_bytes(masked_jpeg)
    answers = []
    for where in (url, server_url):
        curl = subprocess.run(
            [
                *("curl", "--silent", "--fail", "-H", "Content-Type: image/jpeg"),
                *("--data-binary", f"@{tmp_path / 'face.jpg'}", f"{where}/predict"),
            ],
            capture_output=True,
            check=True,
        )
        lines = tmp_path / "verdicts.jsonl"
        done = run_client(
            *("--url", where, "--source", str(tmp_path / "face.jpg"), "--no-window"),
            *("--answers", str(lines)),
        )
        assert done.returncode == 0, done.stderr
        answers.append(
            (
                json.loads(curl.stdout)["faces"],
                json.loads(lines.read_text().splitlines()[0])["answer"]["faces"],
            )
        )
    assert answers[0] == answers[1]
    assert [face["label"] for face in answers[0][0]] == ["mask"]


def test_a_good_image_replaces_the_old_one_without_a_gap(
    stage: Stage, command: Command, asking: list[Any]
) -> None:
    before = next(iter(stage.agent.running.values())).id
    assert command("push", "--image", label(stage, "good", "LABEL test=good")).code == 0
    done = command("up", "--yes", "--https", "none", "--image", "good")
    assert done.code == 0, done.err
    assert "Steady: revision 2" in done.out
    assert next(iter(stage.agent.running.values())).id != before
    assert len(asking) > 5
    assert set(asking) == {200}


def test_a_crashing_image_is_rolled_back_and_the_exit_code_is_2(
    stage: Stage, command: Command, asking: list[Any]
) -> None:
    running = next(iter(stage.agent.running.values())).id
    crash = 'CMD ["python3", "-c", "import sys; sys.exit(\'the model is not what its card says\')"]'
    assert command("push", "--image", label(stage, "crash", crash)).code == 0
    done = command("up", "--yes", "--https", "none", "--image", "crash")
    assert done.code == 2, done.err
    assert "failed and was rolled back to the previous state" in done.err
    assert "the model is not what its card says" in done.err
    assert "exit code 1" in done.err
    assert next(iter(stage.agent.running.values())).id == running
    assert set(asking) == {200}
    assert "the model is not what its card says" in command("logs", "--previous").out
    assert json.loads(command("status", "--json").out)["steady"]


def test_a_task_knows_its_memory_and_its_slots(stage: Stage, address: str) -> None:
    """As on Fargate, the service sees the container's memory limit and no CPU limit."""
    assert address
    (task,) = stage.agent.running.values()
    ask = (
        "import os; from service import config, memory; "
        "print(memory.available(), config.Config.from_environ(os.environ).INFERENCE_SLOTS, "
        "config.cores() == os.cpu_count())"
    )
    code, said = task.exec_run(["python3", "-c", ask])
    assert code == 0, said
    assert said.decode().split() == [str(2048 * 1024**2), "1", "True"]


def test_a_push_is_known_by_what_the_registry_holds(
    stage: Stage, address: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's containerd image store, the default of new engines, reports no digest at the end."""
    assert address
    push = APIClient.push

    def without_digest(*arguments: Any, **more: Any) -> Iterator[Any]:
        return (event for event in push(*arguments, **more) if "aux" not in event)

    monkeypatch.setattr(APIClient, "push", without_digest)
    done = command("push", "--image", label(stage, "quiet", "LABEL test=quiet"))
    assert done.code == 0, done.err
    assert re.search(r"quiet is sha256:[0-9a-f]{64}", done.out)


def test_run_local_runs_the_registered_task(stage: Stage, address: str, masked_jpeg: bytes) -> None:
    del address
    port = free_port()
    with over_http() as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy", "run-local", "--port", str(port), "--revision", "1"],
            env=os.environ | {"AWS_ENDPOINT_URL": url, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        line = process.stderr.readline()
        assert f"is ready on http://localhost:{port}" in line
        answer = requests.post(
            f"http://127.0.0.1:{port}/predict", masked_jpeg, headers=HEADERS, timeout=60
        )
        assert [face["label"] for face in answer.json()["faces"]] == ["mask"]
        count = len(stage.docker.containers.list())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(stage.docker.containers.list()) == count - 1


def test_a_wrong_password_is_reported(stage: Stage, address: str, command: Command) -> None:
    del address
    local = label(stage, "wrong", "LABEL test=wrong")

    def spoil(parsed: dict[str, Any], **_: object) -> None:
        parsed["authorizationData"][0]["authorizationToken"] = base64.b64encode(
            b"AWS:guessed-wrong"
        ).decode()

    handler = ("after-call.ecr.GetAuthorizationToken", spoil)
    BUILTIN_HANDLERS.append(handler)
    try:
        done = command("push", "--image", local)
    finally:
        BUILTIN_HANDLERS.remove(handler)
    assert done.code == 1
    assert "The registry refused the image" in done.err
    assert "guessed-wrong" not in done.out + done.err


def test_an_image_of_another_architecture_is_refused(
    stage: Stage, address: str, command: Command
) -> None:
    del address
    local = label(stage, "arch", "LABEL test=arch")
    done = command("push", "--image", local, "--architecture", "arm64")
    assert done.code == 1
    assert "The image is for linux/amd64, but the tasks are arm64" in done.err


@pytest.mark.usefixtures("address")
def test_an_uncommitted_change_is_refused(command: Command) -> None:
    Path("service/app.py").write_text("changed\n")
    try:
        done = command("plan")
    finally:
        subprocess.run(["git", "checkout", "--quiet", "service/app.py"], check=True)
    assert done.code == 1
    assert "Files are not committed" in done.err
    assert "service/app.py" in done.err


def test_down_stops_the_container(stage: Stage, address: str, command: Command) -> None:
    assert requests.get(f"{address}/healthz", timeout=60).status_code == 200
    done = command("down", "--yes")
    assert done.code == 0, done.err
    assert stage.agent.running == {}
