"""Check that the container works with docker-compose.yml's restrictions and without a network.

    python -m bench.hardening.container

It uses an internal Docker network: this machine can reach the container, but the container can
reach no other machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import SkipTest

import requests
from rich.progress import track
from websockets.sync.client import connect

from bench.hardening.engine import docker, lacking, logs
from bench.hardening.load import FRAME, HEADERS
from bench.hardening.rows import Row, command

NAME = "the container: non-root user, read-only, no capabilities, no outgoing connections"
PROJECT = "maskconfined"
OVERRIDE = """\
services:
  mask:
    ports: !reset []
networks:
  default:
    internal: true
"""
PAGES = ("/", "/docs", "/openapi.json", "/model", "/healthz", "/readyz")
REACH = (
    "import socket\n"
    "try: socket.create_connection(('1.1.1.1', 443), 3); print('reached')\n"
    "except OSError as error: print(error.strerror or error)"
)


@contextmanager
def confined() -> Iterator[str]:
    """Start the container with compose, but on an internal network; yields its id."""
    environ = {"IMAGE": "facemask:test", "CPUS": "1", "COMPOSE_PROJECT_NAME": PROJECT}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as override:
        override.write(OVERRIDE)
        override.flush()
        compose = ("compose", "-f", "docker-compose.yml", "-f", override.name)
        try:
            docker(*compose, "up", "--build", "--detach", "--wait", "mask", environ=environ)
            yield docker(*compose, "ps", "--quiet", "mask", environ=environ).strip()
        finally:
            docker(*compose, "down", "--timeout", "30", environ=environ)


def inspected(container: str, template: str) -> str:
    """Return the output of docker inspect for a container, formatted by a template."""
    return docker("inspect", "--format", template, container).strip()


def statuses(container: str) -> list[dict[str, str]]:
    """Return /proc/PID/status of each process in the container."""
    text = docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/status", check=False)
    processes: list[dict[str, str]] = []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Name":
            processes.append({})
        processes[-1][name] = value.strip()
    return processes


def confinement(container: str) -> Row:
    """Check the privileges and limits of the container's processes."""
    processes = statuses(container)
    users = {int(each["Uid"].split()[0]) for each in processes}
    capabilities = {int(each[kind], 16) for each in processes for kind in ("CapEff", "CapBnd")}
    privileges = {each["NoNewPrivs"] for each in processes}
    written = docker(
        *("exec", container, "sh", "-c"),
        "for d in / /app /tmp /venv /home; do touch $d/f 2>/dev/null && echo $d; done; true",
    ).split()
    limits = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.ReadonlyRootfs}}"
    memory, pids, read_only = inspected(container, limits).split()
    return Row(
        NAME,
        "not root, no capabilities, no new privileges, nothing writable, memory and pids limited",
        f"users {users}, capabilities {capabilities}, no new privileges {privileges}, "
        f"writable {written or 'nothing'}, {int(memory) >> 20} MiB, {pids} processes",
        len(processes) >= 2
        and 0 not in users
        and capabilities == {0}
        and privileges == {"1"}
        and not written
        and read_only == "true"
        and int(memory) > 0
        and int(pids) > 0,
    )


def egress(container: str) -> Row:
    """Check that the container cannot reach a public address."""
    (network,) = inspected(
        container, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"
    ).split()
    internal = docker("network", "inspect", "--format", "{{.Internal}}", network).strip()
    said = docker("exec", container, "python3", "-c", REACH).strip()
    return Row(
        NAME,
        "no connections beyond this machine",
        f"internal network: {internal}; a public address: {said}",
        internal == "true" and said != "reached",
    )


def answers(url: str, frames: int) -> Iterator[Row]:
    """Request every page and endpoint of the service."""
    found = {path: requests.get(url + path, timeout=120).status_code for path in PAGES}
    wrong = {path: status for path, status in found.items() if status != 200}
    yield Row(
        NAME,
        "the page, /docs and the other paths answer with 200",
        f"{len(found) - len(wrong)} of {len(found)}" + (f", not: {wrong}" if wrong else ""),
        not wrong,
    )
    asks = track(range(frames), "frames")
    session = requests.Session()
    found_faces = [
        len(session.post(f"{url}/predict", FRAME, headers=HEADERS, timeout=60).json()["faces"])
        for _ in asks
    ]
    form = requests.post(f"{url}/predict?annotate=true", files={"image": FRAME}, timeout=60)
    with connect(
        url.replace("http", "ws") + "/stream", compression=None, open_timeout=120
    ) as stream:
        stream.send(FRAME)
        streamed = '"faces":[{' in str(stream.recv(timeout=60))
    yield Row(
        NAME,
        "/predict answers frames and forms, and /stream answers frames",
        f"{found_faces.count(1)} of {frames} frames, form {form.status_code}, stream {streamed}",
        found_faces == [1] * frames and form.headers["Content-Type"] == "image/jpeg" and streamed,
    )


def run(frames: int = 500) -> list[Row]:
    """Start the container, inspect it, and send it frames; skips if Docker is missing."""
    if reason := lacking():
        raise SkipTest(reason)
    with confined() as container:
        addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        url = f"http://{inspected(container, addresses)}:8000"
        rows = [confinement(container), egress(container), *answers(url, frames)]
        health = "{{.State.Health.Status}} {{.RestartCount}} {{.State.OOMKilled}}"
        state = inspected(container, health)
        said = logs(container)
    rows.append(
        Row(
            NAME,
            "healthy at the end, never restarted",
            f"health, restarts, out of memory: {state}",
            state == "healthy 0 false" and "Traceback" not in said,
        )
    )
    return rows


if __name__ == "__main__":
    command(run, __doc__, "--frames 100", frames="number of frames to send")
