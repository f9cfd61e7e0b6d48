"""Take everything away again that carries this deployment's tags, and nothing else."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from deploy import balancer, compute, network, registry, scaling
from deploy.aws import Aws, absent, code, patiently
from deploy.changes import Changes
from deploy.config import Config
from deploy.console import note, waiting
from deploy.errors import DeployError
from deploy.names import Names

# AWS lets go of a thing only some time after the last that used it is gone.
IN_USE = {
    *("DependencyViolation", "ResourceInUse", "ClusterContainsServicesException"),
    *("ClusterContainsTasksException", "UpdateInProgressException", "DeleteConflict"),
    *("OperationAborted", "OperationAbortedException"),
}
IN_USE_S = 600
POLL_S = 3.0
BATCH = 10  # task definitions that AWS deletes at once


def walk(aws: Aws, config: Config, names: Names, changes: Changes, *, keep_images: bool) -> None:
    """Delete in the order in which nothing is needed any more; what is not ours is left."""
    alarms(aws, config, names, changes)
    service(aws, names, changes)
    front(aws, names, changes)
    security_groups(aws, names, changes)
    cluster(aws, names, changes)
    task_definitions(aws, names, changes)
    roles(aws, names, changes)
    log_group(aws, names, changes)
    if not keep_images:
        images(aws, names, changes)


def ours(names: Names, kind: str, name: str, tags: Any) -> bool:
    """Tell whether a thing may be deleted, and say so where not."""
    if names.owns(tags):
        return True
    note(f"  kept: the {kind} {name} does not carry this deployment's tags", "yellow")
    return False


def gently(call: Any) -> Any:
    """Make a call again while AWS says that something still uses what is to be deleted."""
    with waiting("until nothing uses it any more") as update:
        return patiently(call, lambda error: code(error) in IN_USE, IN_USE_S, update)


def alarms(aws: Aws, config: Config, names: Names, changes: Changes) -> None:
    """Delete the alarms first: what follows would raise them."""
    for name, alarm in scaling.find_alarms(aws, config).items():
        if ours(names, "alarm", name, scaling.alarm_tags(aws, alarm)):
            changes.delete("alarm", name, partial(aws.cloudwatch.delete_alarms, AlarmNames=[name]))


def service(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete autoscaler and service, and wait until its tasks are gone."""
    found = compute.find_service(aws, names)
    if found and not ours(names, "service", names.name, found.get("tags", [])):
        return
    # The autoscaler is the service's: it has a service's name and goes with it.
    for policy in scaling.find_policies(aws, names):
        changes.delete(
            "scaling policy",
            policy,
            partial(
                aws.autoscaling.delete_scaling_policy, **scaling.target(names), PolicyName=policy
            ),
        )
    if scaling.find_bounds(aws, names):
        changes.delete(
            "autoscaler",
            names.name,
            lambda: aws.autoscaling.deregister_scalable_target(**scaling.target(names)),
        )
    if found and found["status"] != "DRAINING":
        changes.delete(
            "service",
            names.name,
            lambda: aws.ecs.delete_service(cluster=names.name, service=names.name, force=True),
            f"{found['runningCount']} tasks",
        )
    if found and changes.write:
        drained(aws, names)


def drained(aws: Aws, names: Names) -> None:
    """Wait until the deleted service has no tasks."""
    deadline = time.monotonic() + IN_USE_S
    with waiting("until its tasks have stopped") as update:
        while found := compute.find_service(aws, names):
            update(f"until its {found['runningCount']} tasks have stopped")
            if time.monotonic() > deadline:
                raise DeployError(
                    f"The tasks of {names.name} did not stop within {IN_USE_S} s. Run it again."
                )
            time.sleep(POLL_S)


def front(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete listeners, load balancer and target group."""
    if found := balancer.find(aws, names):
        arn = found["LoadBalancerArn"]
        if ours(names, "load balancer", names.name, balancer.tags_of(aws, arn)):
            for item in aws.elbv2.describe_listeners(LoadBalancerArn=arn)["Listeners"]:
                changes.delete(
                    "listener",
                    f"on port {item['Port']}",
                    partial(aws.elbv2.delete_listener, ListenerArn=item["ListenerArn"]),
                )
            changes.delete(
                "load balancer",
                names.name,
                lambda: gently(lambda: aws.elbv2.delete_load_balancer(LoadBalancerArn=arn)),
            )
    if found := balancer.find_target_group(aws, names):
        group = found["TargetGroupArn"]
        if ours(names, "target group", names.name, balancer.tags_of(aws, group)):
            changes.delete(
                "target group",
                names.name,
                lambda: gently(lambda: aws.elbv2.delete_target_group(TargetGroupArn=group)),
            )


def security_groups(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete both groups; they name each other, so their rules go first."""
    filters = [{"Name": "group-name", "Values": [names.balancer_group, names.task_group]}]
    tagged = [{"Name": f"tag:{key}", "Values": [value]} for key, value in names.tags.items()]
    all_named = aws.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    held = aws.ec2.describe_security_groups(Filters=filters + tagged)["SecurityGroups"]
    for group in all_named:
        if group["GroupId"] not in {item["GroupId"] for item in held}:
            ours(names, "security group", group["GroupName"], [])
    if changes.write:
        for group in held:
            title = (group["GroupName"], group["GroupId"])
            network.rules(aws, Changes(write=True, quiet=True), title, [])
    for group in held:
        changes.delete(
            "security group",
            group["GroupName"],
            partial(gently, partial(aws.ec2.delete_security_group, GroupId=group["GroupId"])),
        )


def cluster(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete the cluster."""
    found = compute.find_cluster(aws, names)
    if found and ours(names, "cluster", names.name, found.get("tags", [])):
        changes.delete(
            "cluster",
            names.name,
            lambda: gently(lambda: aws.ecs.delete_cluster(cluster=names.name)),
        )


def task_definitions(aws: Aws, names: Names, changes: Changes) -> None:
    """Deregister and delete every revision that is ours."""
    active = compute.revisions(aws, names)
    every = active + compute.revisions(aws, names, "INACTIVE")
    if not every:
        return
    held = aws.ecs.describe_task_definition(taskDefinition=every[0], include=["TAGS"])
    if not ours(names, "task definition", names.name, held.get("tags", [])):
        return

    def remove() -> None:
        for arn in active:
            aws.ecs.deregister_task_definition(taskDefinition=arn)
        for start in range(0, len(every), BATCH):
            aws.ecs.delete_task_definitions(taskDefinitions=every[start : start + BATCH])

    changes.delete("task definition", names.name, remove, f"{len(every)} revisions")


def roles(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete both roles with their policies."""
    for name in (names.execution_role, names.task_role):
        found = absent(partial(aws.iam.get_role, RoleName=name), "NoSuchEntity")
        if not found or not ours(names, "role", name, found["Role"].get("Tags", [])):
            continue

        def remove(name: str = name) -> None:
            for policy in aws.iam.list_role_policies(RoleName=name)["PolicyNames"]:
                aws.iam.delete_role_policy(RoleName=name, PolicyName=policy)
            gently(lambda: aws.iam.delete_role(RoleName=name))

        changes.delete("role", name, remove)


def log_group(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete the log group with what the tasks wrote."""
    name = names.log_group
    found = compute.find_log_group(aws, names)
    if found and ours(names, "log group", name, compute.log_group_tags(aws, names)):
        changes.delete("log group", name, lambda: aws.logs.delete_log_group(logGroupName=name))


def images(aws: Aws, names: Names, changes: Changes) -> None:
    """Delete the repository with its images."""
    found = registry.find(aws, names)
    if not found:
        return
    tags = aws.ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    if ours(names, "image repository", names.name, tags):
        changes.delete(
            "image repository",
            names.name,
            lambda: aws.ecr.delete_repository(repositoryName=names.name, force=True),
            "with its images",
        )
