"""The autoscaler's bounds and aims, and the alarms."""

from __future__ import annotations

from functools import partial
from typing import Any

from deploy.aws import Aws
from deploy.balancer import Balancer
from deploy.changes import Changes
from deploy.config import Config
from deploy.names import Names, covers, upper
from deploy.watching import alarms as alarm_documents
from deploy.watching import scaling_policies

NAMESPACE = "ecs"
DIMENSION = "ecs:service:DesiredCount"
UNITS = {"5xx": "% of the answers", "p99": "s", "unhealthy": "tasks"}


def find_bounds(aws: Aws, names: Names) -> Any:
    """Return the scalable target, or None."""
    found = aws.autoscaling.describe_scalable_targets(
        ServiceNamespace=NAMESPACE, ResourceIds=[names.scalable], ScalableDimension=DIMENSION
    )["ScalableTargets"]
    return found[0] if found else None


def bounds(aws: Aws, names: Names, low: int, high: int, changes: Changes) -> None:
    """Let the autoscaler keep between so many tasks; AWS moves the present number into them."""
    found = find_bounds(aws, names)

    def register() -> None:
        aws.autoscaling.register_scalable_target(**target(names), MinCapacity=low, MaxCapacity=high)

    if found is None:
        changes.create("autoscaler", names.name, register, f"{low} to {high} tasks")
    elif (found["MinCapacity"], found["MaxCapacity"]) != (low, high):
        before = f"{found['MinCapacity']} to {found['MaxCapacity']}"
        changes.change("autoscaler", names.name, register, f"{before} -> {low} to {high} tasks")


def target(names: Names) -> dict[str, str]:
    """Say which number Application Auto Scaling moves."""
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": names.scalable,
        "ScalableDimension": DIMENSION,
    }


def find_policies(aws: Aws, names: Names) -> dict[str, Any]:
    """Return the scaling policies by their names."""
    found = aws.autoscaling.describe_scaling_policies(
        ServiceNamespace=NAMESPACE, ResourceId=names.scalable, ScalableDimension=DIMENSION
    )["ScalingPolicies"]
    return {policy["PolicyName"]: policy for policy in found}


def policies(aws: Aws, config: Config, names: Names, balancer: Balancer, changes: Changes) -> None:
    """Bring the scaling policies about, by CPU and by requests."""
    held = find_policies(aws, names)
    wanted = scaling_policies(config, "/".join(balancer.metric_names))
    for name, document in wanted.items():
        put = partial(
            aws.autoscaling.put_scaling_policy,
            **target(names),
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=document,
        )

        aim = f"aims at {document['TargetValue']:g}"
        if name not in held:
            changes.create("scaling policy", name, put, aim)
        elif not covers(document, held[name].get("TargetTrackingScalingPolicyConfiguration")):
            changes.change("scaling policy", name, put, aim)


def find_alarms(aws: Aws, config: Config) -> dict[str, Any]:
    """Return those of our alarms that are there, by their names."""
    found = aws.cloudwatch.describe_alarms(
        AlarmNames=sorted(alarm_documents(config, "", "")), AlarmTypes=["MetricAlarm"]
    )["MetricAlarms"]
    return {alarm["AlarmName"]: alarm for alarm in found}


def alarms(aws: Aws, config: Config, names: Names, balancer: Balancer, changes: Changes) -> None:
    """Bring the alarms about."""
    held = find_alarms(aws, config)
    for name, document in alarm_documents(config, *balancer.metric_names).items():
        put = partial(
            aws.cloudwatch.put_metric_alarm,
            AlarmName=name,
            Tags=upper(names.tags),
            **document,
        )

        limit = f"above {document['Threshold']:g} {UNITS[name.rpartition('-')[2]]}"
        if name not in held:
            changes.create("alarm", name, put, limit)
            continue
        names.claim("alarm", name, alarm_tags(aws, held[name]))
        if not covers(document, held[name]):
            changes.change("alarm", name, put, limit)


def alarm_tags(aws: Aws, alarm: Any) -> list[dict[str, str]]:
    """Return an alarm's tags."""
    tags: list[dict[str, str]] = aws.cloudwatch.list_tags_for_resource(
        ResourceARN=alarm["AlarmArn"]
    )["Tags"]
    return tags
