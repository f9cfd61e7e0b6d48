"""The image is built, started by compose, queried and stopped, with the real Docker."""

import re
from collections.abc import Iterator

import pytest
import requests

from bench.hardening.engine import docker, lacking
from bench.servers import free_port

IMAGE = "facemask:test"


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    if reason := lacking():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def container() -> Iterator[tuple[str, str]]:
    """Return the container's id and the service's address."""
    port = str(free_port())
    environ = {
        "PORT": port,
        "IMAGE": IMAGE,
        "CPUS": "1",
        "COMPOSE_PROJECT_NAME": "masktest",
    }
    try:
        docker("compose", "up", "--build", "--detach", "--wait", environ=environ)
        yield (
            docker("compose", "ps", "--quiet", environ=environ).strip(),
            f"http://127.0.0.1:{port}",
        )
    finally:
        docker("compose", "down", "--timeout", "30", environ=environ)
    assert not docker("ps", "--all", "--quiet", "--filter", "name=masktest")


def inside(container: str, *command: str) -> str:
    return docker("exec", container, *command, check=False).strip()


def files(*condition: str) -> list[str]:
    """Find files in the image, as root, who may read all folders."""
    as_root = ("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "find")
    return sorted(docker(*as_root, IMAGE, "/", "-xdev", *condition).split())


def test_the_container_is_healthy_and_answers(
    container: tuple[str, str], masked_jpeg: bytes
) -> None:
    name, url = container
    assert docker("inspect", "--format", "{{.State.Health.Status}}", name).strip() == "healthy"
    headers = {"Content-Type": "image/jpeg"}
    answer = requests.post(f"{url}/predict", masked_jpeg, headers=headers, timeout=60)
    assert [face["label"] for face in answer.json()["faces"]] == ["mask"]
    form = requests.post(f"{url}/predict", files={"image": masked_jpeg}, timeout=60)
    assert form.json()["faces"] == answer.json()["faces"]


def test_only_this_machine_reaches_it_and_only_containers_read_metrics(
    container: tuple[str, str],
) -> None:
    name, url = container
    assert docker("port", name).split() == ["8000/tcp", "->", url.removeprefix("http://")]
    assert requests.get(f"{url}/metrics", timeout=60).status_code == 404
    code = "from urllib.request import urlopen; print(urlopen('http://mask:9100/metrics').status)"
    assert inside(name, "python3", "-c", code) == "200"


def test_it_runs_as_an_ordinary_user_on_a_read_only_root(container: tuple[str, str]) -> None:
    name, _ = container
    assert inside(name, "id", "-u") == "10001"
    assert inside(name, "sh", "-c", "touch /app/file || echo refused") == "refused"
    capabilities = inside(name, "grep", "CapEff", "/proc/1/status").split()[1]
    assert int(capabilities, 16) == 0


def test_it_holds_neither_tensorflow_nor_training_nor_pip(container: tuple[str, str]) -> None:
    name, _ = container
    assert "RIGHT" in inside(name, "python3", "-c", "import model.pipeline; print('RIGHT')")
    for module in ("tensorflow", "model.training", "boto3", "pip"):
        assert not inside(name, "python3", "-c", f"import {module}; print('WRONG')")


@pytest.mark.usefixtures("container")
def test_no_file_of_it_gives_another_users_rights() -> None:
    weights = [
        "/app/model/weights/fast/mask_detector.onnx",
        "/app/model/weights/mask_detector.onnx",
    ]
    # Finding the weights shows that the search works.
    assert files("-type", "f", "(", "-perm", "/6000", "-o", "-name", "mask*.onnx", ")") == weights


def test_sh_is_the_only_shell_and_nothing_installs_programs(container: tuple[str, str]) -> None:
    name, _ = container
    programs = ("sh", "bash", "rbash", "zsh", "apt", "apt-get", "dpkg", "perl", "pip", "pip3")
    code = f"import shutil; print(*filter(shutil.which, {programs}))"
    assert inside(name, "python3", "-c", code) == "sh"
    assert inside(name, "readlink", "-f", "/bin/sh").endswith("/dash")
    assert files("-type", "d", "(", "-name", "pip", "-o", "-name", "ensurepip", ")") == []


def test_its_memory_reaches_no_disk(container: tuple[str, str]) -> None:
    name, _ = container
    assert re.search(r"Max core file size +0 +0 ", inside(name, "cat", "/proc/1/limits"))
    limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"  # memory and swap together
    memory, with_swap = docker("inspect", "--format", limits, name).split()
    assert int(memory) == int(with_swap) > 0


def test_it_starts_no_more_slots_than_its_cpus(container: tuple[str, str]) -> None:
    name, _ = container
    code = "from service.config import cores; print(cores())"
    assert inside(name, "python3", "-c", code) == "1"
