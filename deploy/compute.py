"""The log group, the cluster, the task definition and the service that runs it."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from deploy.aws import Aws, absent, code, patiently
from deploy.balancer import Balancer
from deploy.changes import Changes
from deploy.config import Config
from deploy.console import note
from deploy.documents import Document
from deploy.documents import cluster as cluster_document
from deploy.documents import service as service_document
from deploy.names import Names, covers, lower
from deploy.network import Network

# A role or service-linked role is not known everywhere in the second in which it was made.
NOT_YET = {"InvalidParameterException"}
NOT_YET_S = 60
# What AWS adds to a task definition.
ADDED = {
    *("taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities"),
    *("registeredAt", "registeredBy", "deregisteredAt", "deleteRequestedAt"),
}


def log_group(aws: Aws, config: Config, names: Names, changes: Changes) -> None:
    """Bring the log group about, with its retention."""
    name, days = names.log_group, config.log_retention_days
    found = find_log_group(aws, names)

    def retain() -> None:
        aws.logs.put_retention_policy(logGroupName=name, retentionInDays=days)

    if found is None:

        def create() -> None:
            aws.logs.create_log_group(logGroupName=name, tags=names.tags)
            retain()

        changes.create("log group", name, create, f"kept for {days} days")
        return
    names.claim("log group", name, log_group_tags(aws, names))
    if found.get("retentionInDays") != days:
        changes.change("log group", name, retain, f"kept for {days} days")


def find_log_group(aws: Aws, names: Names) -> Any:
    """Return the log group, or None."""
    pages = aws.logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=names.log_group
    )
    groups = (group for page in pages for group in page["logGroups"])
    return next((group for group in groups if group["logGroupName"] == names.log_group), None)


def log_group_tags(aws: Aws, names: Names) -> dict[str, str]:
    """Return the log group's tags."""
    arn = names.arn("logs", f"log-group:{names.log_group}")
    tags: dict[str, str] = aws.logs.list_tags_for_resource(resourceArn=arn)["tags"]
    return tags


def find_cluster(aws: Aws, names: Names) -> Any:
    """Return the cluster, or None; a deleted one is remembered by AWS for a while."""
    found = aws.ecs.describe_clusters(clusters=[names.name], include=["TAGS", "SETTINGS"])
    return next((item for item in found["clusters"] if item["status"] != "INACTIVE"), None)


def cluster(aws: Aws, config: Config, names: Names, changes: Changes) -> None:
    """Bring the cluster about."""
    found, wanted = find_cluster(aws, names), cluster_document(config, names)
    if found is None:
        changes.create("cluster", names.name, lambda: aws.ecs.create_cluster(**wanted))
        return
    names.claim("cluster", names.name, found.get("tags", []))
    if not covers(wanted["settings"], found.get("settings")):
        changes.change(
            "cluster",
            names.name,
            lambda: aws.ecs.update_cluster(cluster=names.name, settings=wanted["settings"]),
            f"container insights {wanted['settings'][0]['value']}",
        )
    if not covers(wanted["capacityProviders"], found.get("capacityProviders")):
        changes.change(
            "cluster",
            names.name,
            lambda: aws.ecs.put_cluster_capacity_providers(
                cluster=names.name,
                capacityProviders=wanted["capacityProviders"],
                defaultCapacityProviderStrategy=[],
            ),
            "capacity providers",
        )


def find_service(aws: Aws, names: Names) -> Any:
    """Return the service, or None; one that was deleted and is still draining counts."""
    found = absent(
        lambda: aws.ecs.describe_services(
            cluster=names.name, services=[names.name], include=["TAGS"]
        ),
        "ClusterNotFoundException",
    )
    services = found["services"] if found else []
    return next((item for item in services if item["status"] != "INACTIVE"), None)


def revisions(aws: Aws, names: Names, status: str = "ACTIVE") -> list[str]:
    """Return the ARNs of the task definition's revisions, the newest first."""
    pages = aws.ecs.get_paginator("list_task_definitions").paginate(
        familyPrefix=names.name, status=status, sort="DESC"
    )
    arns = [arn for page in pages for arn in page["taskDefinitionArns"]]
    # A prefix could name other families too.
    ours = [arn for arn in arns if arn.split("/")[-1].rpartition(":")[0] == names.name]
    return sorted(ours, key=revision, reverse=True)


def task_definition(
    aws: Aws, names: Names, wanted: Document, running: str | None, changes: Changes
) -> str:
    """Return the revision that says what is wanted: the running one, the newest, or a new one."""
    known = list(dict.fromkeys([*([running] if running else []), *revisions(aws, names)[:1]]))
    wrong: list[str] = []
    for arn in known:
        held = aws.ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
        names.claim("task definition", names.name, held.get("tags", []))
        differences = compare(wanted, held["taskDefinition"])
        if not differences and held["taskDefinition"]["status"] == "ACTIVE":
            return arn
        wrong = wrong or differences
    detail = f"another {', '.join(wrong)}" if wrong else ""
    made = changes.create(
        "task definition",
        f"{names.name}:{revision(known[-1]) + 1 if known else 1}",
        lambda: aws.ecs.register_task_definition(**wanted, tags=lower(names.tags)),
        detail,
    )
    return str(made["taskDefinition"]["taskDefinitionArn"]) if made else "the new revision"


def revision(arn: str) -> int:
    """Return the number of a task definition's revision."""
    return int(arn.rpartition(":")[2])


def compare(wanted: Document, held: Document) -> list[str]:
    """Name the parts in which a registered task definition differs; what AWS adds is left out."""
    container, other = wanted["containerDefinitions"][0], held["containerDefinitions"][0]
    outer = {key for key in {*wanted, *held} - ADDED if not same(wanted.get(key), held.get(key))}
    inner = {key for key in {*container, *other} if not same(container.get(key), other.get(key))}
    return sorted((outer - {"containerDefinitions"}) | inner)


def same(wanted: Any, held: Any) -> bool:
    """Tell whether a part is as wanted; AWS puts empty lists and zeros for what was left out."""
    return (not wanted and not held) or covers(wanted, held)


def service(
    aws: Aws, config: Config, names: Names, parts: tuple[Network, Balancer, str], changes: Changes
) -> str | None:
    """Bring the service about and return the id of its newest deployment, None in a plan.

    The number of its tasks is set once and then the autoscaler's.
    """
    network, balancer, revision_arn = parts
    found = find_service(aws, names)
    wanted = service_document(
        config, network.subnets, network.task_group, balancer.target_group, revision_arn
    )
    title = revision_arn.split("/")[-1]
    if found and found["status"] == "DRAINING":
        note(f"The service {names.name} that was deleted is still stopping its tasks.")
        found = None
    if found is None:
        made = changes.create(
            "service",
            names.name,
            lambda: patiently(
                lambda: aws.ecs.create_service(
                    cluster=names.name,
                    serviceName=names.name,
                    desiredCount=config.min_tasks,
                    tags=lower(names.tags),
                    **wanted,
                ),
                lambda error: code(error) in NOT_YET and passing(error),
                NOT_YET_S + config.drain_seconds * 2,
                note,
            ),
            f"{title}, begins with {config.min_tasks}",
        )
        return str(primary(made["service"])["id"]) if made else None
    names.claim("service", names.name, found.get("tags", []))
    different = {key: value for key, value in wanted.items() if not covers(value, found.get(key))}
    failed = primary(found).get("rolloutState") == "FAILED"
    # Another kind of capacity, or a first deployment that failed, needs tasks to be started anew.
    force = (
        {"forceNewDeployment": True} if "capacityProviderStrategy" in different or failed else {}
    )
    made = None
    if different or force:
        detail = [title if key == "taskDefinition" else key for key in different]
        made = changes.change(
            "service",
            names.name,
            lambda: aws.ecs.update_service(
                cluster=names.name, service=names.name, **different, **force
            ),
            ", ".join(detail) or f"{title} again, its deployment failed",
        )
    return str(primary(made["service"] if made else found)["id"])


def primary(service: Any) -> Any:
    """Return the service's newest deployment."""
    return next(item for item in service["deployments"] if item["status"] == "PRIMARY")


def passing(error: ClientError) -> bool:
    """Tell whether a refusal passes by itself: a role not yet known, a service still draining."""
    message = error.response["Error"].get("Message", "").lower()
    return "assume" in message or "draining" in message
