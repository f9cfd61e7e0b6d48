"""The load balancer, the tasks that it sends to, and what it listens to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from deploy.aws import Aws, absent
from deploy.changes import Changes
from deploy.config import Config
from deploy.documents import (
    PORT,
    Document,
    balancer_attributes,
    listeners,
    target_group_attributes,
    target_group_check,
)
from deploy.errors import DeployError
from deploy.names import Names, covers, upper
from deploy.network import Network


@dataclass(frozen=True)
class Balancer:
    """The ARNs of load balancer and target group; in a plan their names if not yet there."""

    arn: str
    target_group: str

    @property
    def metric_names(self) -> tuple[str, str]:
        """Return both as CloudWatch knows them: app/NAME/ID and targetgroup/NAME/ID."""
        return self.arn.partition("loadbalancer/")[2], self.target_group.split(":")[-1]


def find(aws: Aws, names: Names) -> Any:
    """Return the load balancer, or None."""
    found = absent(
        lambda: aws.elbv2.describe_load_balancers(Names=[names.name]), "LoadBalancerNotFound"
    )
    return found["LoadBalancers"][0] if found else None


def find_target_group(aws: Aws, names: Names) -> Any:
    """Return the target group, or None."""
    found = absent(
        lambda: aws.elbv2.describe_target_groups(Names=[names.name]), "TargetGroupNotFound"
    )
    return found["TargetGroups"][0] if found else None


def tags_of(aws: Aws, arn: str) -> list[dict[str, str]]:
    """Return the tags of a load balancer, target group or listener."""
    found: list[dict[str, str]] = aws.elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"][0][
        "Tags"
    ]
    return found


def balancer(
    aws: Aws, config: Config, names: Names, network: Network, changes: Changes
) -> Balancer:
    """Bring load balancer, target group and listeners about."""
    arn = load_balancer(aws, config, names, network, changes)
    made = Balancer(arn, target_group(aws, config, names, network, changes))
    listen(aws, config, names, made, changes)
    return made


def load_balancer(
    aws: Aws, config: Config, names: Names, network: Network, changes: Changes
) -> str:
    """Bring the load balancer about and return its ARN."""
    found = find(aws, names)
    name, scheme = names.name, "internal" if config.internal else "internet-facing"
    if found is None:

        def create() -> Any:
            made = aws.elbv2.create_load_balancer(
                Name=name,
                Type="application",
                Scheme=scheme,
                IpAddressType="ipv4",
                Subnets=network.subnets,
                SecurityGroups=[network.balancer_group],
                Tags=upper(names.tags),
            )["LoadBalancers"][0]["LoadBalancerArn"]
            put_balancer_attributes(aws, made)
            return made

        zones = f"{scheme}, in {len(network.subnets)} zones"
        return str(changes.create("load balancer", name, create, zones) or name)
    arn = str(found["LoadBalancerArn"])
    names.claim("load balancer", name, tags_of(aws, arn))
    if (found["Scheme"], found["VpcId"]) != (scheme, network.vpc):
        raise DeployError(
            f"The load balancer {name} is {found['Scheme']} in {found['VpcId']}, which AWS cannot "
            f"change to {scheme} in {network.vpc}: `down` first, then `up`."
        )
    if {zone["SubnetId"] for zone in found["AvailabilityZones"]} != set(network.subnets):
        changes.change(
            "load balancer",
            name,
            lambda: aws.elbv2.set_subnets(LoadBalancerArn=arn, Subnets=network.subnets),
            f"subnets {', '.join(network.subnets)}",
        )
    if found["SecurityGroups"] != [network.balancer_group]:
        changes.change(
            "load balancer",
            name,
            lambda: aws.elbv2.set_security_groups(
                LoadBalancerArn=arn, SecurityGroups=[network.balancer_group]
            ),
            "security group",
        )
    held = aws.elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)["Attributes"]
    if wrong := differing(balancer_attributes(), held):
        changes.change("load balancer", name, lambda: put_balancer_attributes(aws, arn), wrong)
    return arn


def put_balancer_attributes(aws: Aws, arn: str) -> None:
    """Set the load balancer's attributes."""
    aws.elbv2.modify_load_balancer_attributes(
        LoadBalancerArn=arn, Attributes=upper(balancer_attributes())
    )


def differing(wanted: dict[str, str], held: list[dict[str, str]]) -> str:
    """Say which attributes have another value than is wanted; empty if none."""
    values = {item["Key"]: item["Value"] for item in held}
    return ", ".join(
        f"{key} = {value}" for key, value in wanted.items() if values.get(key) != value
    )


def target_group(aws: Aws, config: Config, names: Names, network: Network, changes: Changes) -> str:
    """Bring the target group about and return its ARN."""
    found = find_target_group(aws, names)
    name = names.name

    def put_attributes(arn: str) -> None:
        aws.elbv2.modify_target_group_attributes(
            TargetGroupArn=arn, Attributes=upper(target_group_attributes(config))
        )

    if found is None:

        def create() -> Any:
            made = aws.elbv2.create_target_group(
                Name=name,
                Protocol="HTTP",
                Port=PORT,
                VpcId=network.vpc,
                TargetType="ip",
                Tags=upper(names.tags),
                **target_group_check(),
            )["TargetGroups"][0]["TargetGroupArn"]
            put_attributes(made)
            return made

        return str(changes.create("target group", name, create) or name)
    arn = str(found["TargetGroupArn"])
    names.claim("target group", name, tags_of(aws, arn))
    if found["VpcId"] != network.vpc:
        raise DeployError(
            f"The target group {name} is in {found['VpcId']}, which AWS cannot change to "
            f"{network.vpc}: `down` first, then `up`."
        )
    if not covers(target_group_check(), found):
        changes.change(
            "target group",
            name,
            lambda: aws.elbv2.modify_target_group(TargetGroupArn=arn, **target_group_check()),
            "readiness check",
        )
    held = aws.elbv2.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    if wrong := differing(target_group_attributes(config), held):
        changes.change("target group", name, lambda: put_attributes(arn), wrong)
    return arn


def listen(aws: Aws, config: Config, names: Names, made: Balancer, changes: Changes) -> None:
    """Bring the listeners about, the secure one first so that nothing is sent on into the void."""
    held: dict[int, Document] = {}
    if made.arn.startswith("arn:"):
        found = aws.elbv2.describe_listeners(LoadBalancerArn=made.arn)["Listeners"]
        held = {item["Port"]: item for item in found}
    wanted = listeners(config, made.target_group)
    for port, document in wanted.items():
        title = f"{document['Protocol'].lower()} on port {port}"
        if port not in held:
            changes.create(
                "listener",
                title,
                partial(
                    aws.elbv2.create_listener,
                    LoadBalancerArn=made.arn,
                    Port=port,
                    Tags=upper(names.tags),
                    **document,
                ),
            )
        elif not covers(document, held[port]):
            arn = held[port]["ListenerArn"]
            changes.change(
                "listener",
                title,
                partial(aws.elbv2.modify_listener, ListenerArn=arn, Port=port, **document),
                "what it does",
            )
    for port in sorted(set(held) - set(wanted)):
        arn = held[port]["ListenerArn"]
        if names.owns(tags_of(aws, arn)):
            changes.delete(
                "listener",
                f"on port {port}",
                partial(aws.elbv2.delete_listener, ListenerArn=arn),
            )
