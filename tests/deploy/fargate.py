"""Stand-ins in local Docker for Fargate, the load balancer and ECR's registry, for the tests.

The agent runs the registered task definition with the options of `run-local`: one task, whatever
the service's desired count, and asks it for readiness as the load balancer would. It knows no IAM,
no security groups and no zones. The registry is a real one with ECR's user and moto's password.
"""

import io
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.handlers import BUILTIN_HANDLERS
from docker.client import DockerClient

from bench.servers import free_port
from deploy import local
from deploy.config import Config
from tests.deploy import ecs
from tests.deploy.conftest import BLOBS

ACCOUNT = "123456789012"
PASSWORD = f"{ACCOUNT}-auth-token"  # the password that moto issues
TRIES = 3  # crashed tasks until the circuit breaker trips, the least in ECS


class Front:
    """The load balancer: a local TCP port that forwards to the task that is ready."""

    def __init__(self) -> None:
        self.backend: int | None = None
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self.lead, args=(client,), daemon=True).start()

    def lead(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.backend is None:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 503 No task\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self.backend)) as task:
                back = threading.Thread(target=pump, args=(task, client), daemon=True)
                back.start()
                pump(client, task)
                back.join()

    def close(self) -> None:
        self.socket.close()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class Fargate:
    """An agent that carries out deployments in local Docker."""

    def __init__(self, client: DockerClient) -> None:
        self.docker, self.front = client, Front()
        self.running: dict[str, Any] = {}

    def deploy(self, service: ecs.Record, deployment: ecs.Record) -> None:
        threading.Thread(target=self.roll, args=(service, deployment), daemon=True).start()

    def roll(self, service: ecs.Record, deployment: ecs.Record) -> None:
        definition = boto3.client("ecs").describe_task_definition(
            taskDefinition=deployment["taskDefinition"]
        )["taskDefinition"]
        options = local.container_options(Config(), definition, {})
        for _ in range(TRIES):
            container = self.docker.containers.run(
                **options,
                detach=True,
                ports={"8000/tcp": ("127.0.0.1", None)},
            )
            port = self.ready(container)
            if port:
                self.switch(service, deployment, container, port)
                return
            self.bury(service, deployment, container)
        with ecs.STATE.lock:
            ecs.fail(service, deployment)

    def ready(self, container: Any) -> int | None:
        """Return the task's port once it is ready; None if it stops first."""
        for _ in range(1200):
            container.reload()
            if container.status == "exited":
                return None
            bound = container.ports.get("8000/tcp")
            if bound:
                port = int(bound[0]["HostPort"])
                with suppress(requests.RequestException):
                    url = f"http://127.0.0.1:{port}/readyz"
                    if requests.get(url, timeout=10).status_code == 200:
                        return port
            time.sleep(0.1)
        return None

    def switch(
        self, service: ecs.Record, deployment: ecs.Record, container: Any, port: int
    ) -> None:
        """Send new connections to the new task, then stop the old one with a SIGTERM."""
        self.front.backend = port
        for old in self.running.values():
            old.stop(timeout=30)
            old.remove()
        self.running = {deployment["id"]: container}
        with ecs.STATE.lock:
            ecs.complete(service, deployment, service["desiredCount"])

    def bury(self, service: ecs.Record, deployment: ecs.Record, container: Any) -> None:
        """Keep a stopped task's exit code and log, as ECS and CloudWatch do."""
        code = container.wait()["StatusCode"]
        lines = container.logs().decode().splitlines()
        container.remove()
        with ecs.STATE.lock:
            arn = ecs.crash(service, deployment, "Essential container in task exited", code)
        group, stream = "/ecs/facemask", f"facemask/facemask/{arn.split('/')[-1]}"
        logs = boto3.client("logs")
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        logs.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[
                {"timestamp": int(time.time() * 1000), "message": line or " "} for line in lines
            ],
        )

    def delete(self, service: ecs.Record) -> None:
        self.close()
        service["status"] = "INACTIVE"

    def close(self) -> None:
        for container in self.running.values():
            container.remove(force=True)
        self.running = {}


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a real registry that asks for ECR's user and password; yield its address."""
    if not shutil.which("docker-registry") or not shutil.which("htpasswd"):
        pytest.skip("needs Debian's packages docker-registry and apache2-utils")
    port = free_port()
    login = subprocess.run(
        ["htpasswd", "-Bbn", "AWS", PASSWORD], check=True, capture_output=True, text=True
    )
    (folder / "htpasswd").write_text(login.stdout)
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\n'
        f"auth: {{htpasswd: {{realm: stand-in, path: {folder / 'htpasswd'}}}}}\n"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    try:
        address = f"127.0.0.1:{port}"
        for _ in range(1200):
            with suppress(requests.ConnectionError):
                if requests.get(f"http://{address}/v2/", timeout=5).status_code == 401:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError((folder / "log").read_text())
        with as_ecr(address):
            yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def as_ecr(address: str) -> Iterator[None]:
    """Put the registry's address into ECR's answers, and tell moto what was pushed."""

    def rewrite(parsed: dict[str, Any], **_: object) -> None:
        found = [parsed.get("repository"), *parsed.get("repositories", [])]
        for repository in filter(None, found):
            repository["repositoryUri"] = f"{address}/{repository['repositoryName']}"

    def tell(params: dict[str, Any], **_: object) -> None:
        del params
        client = boto3.client("ecr")
        for tag in tags(address):
            if tag in known:
                continue
            manifest = requests.get(
                f"http://{address}/v2/facemask/manifests/{tag}",
                headers={"Accept": MANIFEST},
                auth=("AWS", PASSWORD),
                timeout=60,
            )
            client.put_image(
                repositoryName="facemask",
                imageManifest=manifest.text,
                imageTag=tag,
                imageDigest=manifest.headers["Docker-Content-Digest"],
            )
            known.add(tag)
            config = manifest.json()["config"]["digest"]
            BLOBS[config] = requests.get(
                f"http://{address}/v2/facemask/blobs/{config}", auth=("AWS", PASSWORD), timeout=60
            ).content

    known: set[str] = set()
    handlers = [("after-call.ecr", rewrite), ("before-call.ecr.DescribeImages", tell)]
    BUILTIN_HANDLERS.extend(handlers)
    boto3.DEFAULT_SESSION = None  # the next registry sets the handlers
    try:
        yield
    finally:
        for handler in handlers:
            BUILTIN_HANDLERS.remove(handler)


MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def tags(address: str) -> list[str]:
    answer = requests.get(
        f"http://{address}/v2/facemask/tags/list", auth=("AWS", PASSWORD), timeout=60
    )
    return list(answer.json().get("tags") or [])


def derived(client: DockerClient, base: str, tag: str, *lines: str) -> str:
    """Build an image on top of another one; return its name."""
    text = "\n".join([f"FROM {base}", *lines]).encode()
    client.images.build(fileobj=io.BytesIO(text), tag=tag, rm=True)
    return tag
