"""Back to a revision that was steady before."""

from __future__ import annotations

from typing import Any

from deploy import compute, registry
from deploy.aws import Aws, absent
from deploy.changes import Changes
from deploy.errors import DeployError
from deploy.names import Names

DESCRIBED = 20  # service revisions that AWS describes at once


def rollback(aws: Aws, names: Names, wanted: int | None, changes: Changes) -> tuple[str, str]:
    """Let the service run an earlier revision; returns its newest deployment's id and revision.

    wanted: the revision's number; that of the last successful deployment of another if None.
    Raises DeployError where there is none, or where its image is gone from the registry.
    """
    service = compute.find_service(aws, names)
    if not service:
        raise DeployError(f"{names.name} is not deployed in {names.region}. `python -m deploy up`")
    names.claim("service", names.name, service.get("tags", []))
    running = service["taskDefinition"]
    family = running.rpartition(":")[0]
    arn = f"{family}:{wanted}" if wanted else last_successful(aws, names, service, running)
    if arn == running:
        return str(compute.primary(service)["id"]), arn
    check(aws, names, arn)
    made = changes.change(
        "service",
        names.name,
        lambda: aws.ecs.update_service(cluster=names.name, service=names.name, taskDefinition=arn),
        f"{running.split('/')[-1]} -> {arn.split('/')[-1]}",
    )
    return str(compute.primary(made["service"])["id"]), arn


def last_successful(aws: Aws, names: Names, service: Any, running: str) -> str:
    """Return the revision of the newest successful deployment of another one than runs now.

    The number before would not do: it may be the one that crashed.
    """
    deployments = successful(aws, names, service["serviceName"])
    deployments.sort(key=lambda item: item["createdAt"], reverse=True)
    order = list(dict.fromkeys(item["targetServiceRevisionArn"] for item in deployments))
    for start in range(0, len(order), DESCRIBED):
        batch = order[start : start + DESCRIBED]
        found = aws.ecs.describe_service_revisions(serviceRevisionArns=batch)["serviceRevisions"]
        revisions = {item["serviceRevisionArn"]: str(item["taskDefinition"]) for item in found}
        for item in batch:
            if revisions.get(item, running) != running:
                return revisions[item]
    raise DeployError(
        f"No other revision than {compute.revision(running)} was ever steady. Name one: rollback "
        "REVISION."
    )


def successful(aws: Aws, names: Names, service: str) -> list[Any]:
    """Return the deployments that became steady, of the 90 days that ECS remembers."""
    found: list[Any] = []
    token: dict[str, str] = {}
    while True:  # boto3 has no paginator for this
        page = aws.ecs.list_service_deployments(
            cluster=names.name, service=service, status=["SUCCESSFUL"], **token
        )
        found += page["serviceDeployments"]
        if not page.get("nextToken"):
            return found
        token = {"nextToken": page["nextToken"]}


def check(aws: Aws, names: Names, arn: str) -> None:
    """Raise DeployError where a revision cannot run any more."""
    number = compute.revision(arn)
    found = absent(
        lambda: aws.ecs.describe_task_definition(taskDefinition=arn),
        *("ClientException", "InvalidParameterException"),
    )
    if not found or found["taskDefinition"]["status"] != "ACTIVE":
        there = ", ".join(str(compute.revision(item)) for item in compute.revisions(aws, names))
        raise DeployError(f"There is no revision {number}; there are: {there}.")
    image = found["taskDefinition"]["containerDefinitions"][0]["image"]
    if not registry.digest_of(aws, names, image.rpartition("@")[2]):
        raise DeployError(
            f"The image of revision {number} is gone from the registry, which keeps the newest "
            "`images_kept`. Check out its commit and run `up`."
        )
