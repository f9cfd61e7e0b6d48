"""Run the registered task definition in local Docker, as Fargate would run it."""

from __future__ import annotations

import json
import time
from typing import Any

from docker.types import Healthcheck

from deploy import image
from deploy.aws import Aws
from deploy.config import Config
from deploy.console import note, waiting
from deploy.errors import DeployError
from deploy.image import PLATFORM
from deploy.tasks import PORT

NS = 1_000_000_000
READY_S = 120


def container_options(config: Config, definition: Any, secrets: dict[str, str]) -> dict[str, Any]:
    """Translate an ECS task definition into options for docker run.

    As on Fargate, the container sees its memory limit but not its CPU limit.
    """
    container = definition["containerDefinitions"][0]
    check, linux = container["healthCheck"], container["linuxParameters"]
    return {
        "image": container["image"],
        "platform": PLATFORM[config.architecture],
        "environment": {item["name"]: item["value"] for item in container["environment"]} | secrets,
        "user": container["user"],
        "read_only": container["readonlyRootFilesystem"],
        "cap_drop": linux["capabilities"]["drop"],
        "security_opt": ["no-new-privileges"],
        "init": linux["initProcessEnabled"],
        "tmpfs": {
            item["containerPath"]: f"{','.join(item['mountOptions'])},size={item['size']}m"
            for item in linux["tmpfs"]
        },
        "healthcheck": Healthcheck(
            test=check["command"],
            interval=check["interval"] * NS,
            timeout=check["timeout"] * NS,
            retries=check["retries"],
            start_period=check["startPeriod"] * NS,
        ),
        "cpu_shares": int(definition["cpu"]),
        "mem_limit": f"{container['memory']}m",
    }


def secret_values(aws: Aws, definition: Any) -> dict[str, str]:
    """Read the container's secrets with the caller's own permissions."""
    values: dict[str, str] = {}
    for item in definition["containerDefinitions"][0].get("secrets", []):
        source = item["valueFrom"]
        if ":secretsmanager:" in source:
            values[item["name"]] = from_manager(aws, source)
            continue
        name = parameter_name(source)
        found = aws.ssm.get_parameters(Names=[name], WithDecryption=True)["Parameters"]
        if not found:
            raise DeployError(
                f"The SSM parameter {name} for {item['name']} does not exist. Create it: aws ssm "
                f"put-parameter --type SecureString --name {name} --value ..."
            )
        values[item["name"]] = found[0]["Value"]
    return values


def parameter_name(source: str) -> str:
    """Return an SSM parameter's name from its ARN or name; a path starts with a slash."""
    name = source.partition(":parameter/")[2]
    return (f"/{name}" if "/" in name else name) if name else source


def from_manager(aws: Aws, source: str) -> str:
    """Read a secret, or only the JSON key that the eighth part of the ARN names."""
    parts = source.split(":")
    value = str(aws.secretsmanager.get_secret_value(SecretId=":".join(parts[:7]))["SecretString"])
    return str(json.loads(value)[parts[7]]) if len(parts) > 7 and parts[7] else value


def run(aws: Aws, config: Config, revision: int | None, port: int) -> None:
    """Run a revision on a local port until Ctrl-C and show its log. revision: None for the newest.

    Raises DeployError if it does not become ready, or if it stops.
    """
    which = f"{config.name}:{revision}" if revision else config.name
    definition = aws.ecs.describe_task_definition(taskDefinition=which)["taskDefinition"]
    options = container_options(config, definition, secret_values(aws, definition))
    client = image.engine()
    image.fetch(aws, client, options["image"], options["platform"])
    container = client.containers.run(
        **options, detach=True, ports={f"{PORT}/tcp": ("127.0.0.1", port)}
    )
    title = definition["taskDefinitionArn"].split("/")[-1]
    try:
        ready(container)
        note(f"{title} is ready on http://localhost:{port}; Ctrl-C ends it.")
        for chunk in container.logs(stream=True, follow=True):
            print(chunk.decode(errors="replace"), end="", flush=True)
        raise DeployError(f"{title} stopped with exit code {container.wait()['StatusCode']}.")
    finally:
        container.stop(timeout=definition["containerDefinitions"][0]["stopTimeout"])
        container.remove(force=True)


def ready(container: Any) -> None:
    """Wait until the container's health check passes; raises DeployError with the log if not."""
    deadline = time.monotonic() + READY_S
    with waiting("waiting until the container is ready"):
        while time.monotonic() < deadline:
            container.reload()
            if container.attrs["State"]["Health"]["Status"] == "healthy":
                return
            if container.status == "exited":
                break
            time.sleep(0.5)
    tail = container.logs(tail=20).decode(errors="replace")
    raise DeployError(f"The container did not become ready. Its log:\n{tail}")
