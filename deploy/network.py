"""Find the VPC and its subnets, and check their routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.aws import Aws
from deploy.config import Config
from deploy.errors import DeployError

# Zones without CloudFront VPC origins; some of them have no arm64 on Fargate either.
POOR_ZONES = {"use1-az3", "usw1-az2", "apne1-az3", "apne2-az1", "cac1-az3"}
PREFIX_LIST = "com.amazonaws.global.cloudfront.origin-facing"


@dataclass(frozen=True)
class Network:
    """A VPC, with one subnet per zone for the tasks and one for the load balancer."""

    vpc: str
    subnets: list[str]
    balancer_subnets: list[str]


def find(aws: Aws, config: Config) -> Network:
    """Find the VPC and subnets of the settings, or the default VPC; raises DeployError."""
    key, value = ("vpc-id", config.vpc) if config.vpc else ("is-default", "true")
    found = aws.ec2.describe_vpcs(Filters=[{"Name": key, "Values": [value]}])["Vpcs"]
    if not found:
        which = f"no VPC {config.vpc}" if config.vpc else "no default VPC"
        raise DeployError(
            f"There is {which} in {aws.region}. Set `vpc` and `subnets` in deploy.toml, or create "
            "a default VPC: aws ec2 create-default-vpc."
        )
    vpc = str(found[0]["VpcId"])
    filters = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = aws.ec2.describe_subnets(Filters=filters)["Subnets"]
    tasks = choose(vpc, subnets, "subnets", config.subnets, config.zones)
    if not config.balancer_subnets:
        return Network(vpc, tasks, tasks)
    return Network(
        vpc, tasks, choose(vpc, subnets, "balancer_subnets", config.balancer_subnets, ())
    )


def choose(
    vpc: str, subnets: list[Any], key: str, wanted: tuple[str, ...], in_zones: tuple[str, ...]
) -> list[str]:
    """Return one subnet per zone, at least two; raises DeployError naming what is missing.

    key: the setting that names the subnets. wanted: the subnets it names, () for all.
    """
    by_id = {subnet["SubnetId"]: subnet for subnet in subnets}
    if missing := sorted(set(wanted) - set(by_id)):
        there = ", ".join(sorted(by_id)) or "none"
        raise DeployError(f"{key}: {', '.join(missing)} not in {vpc}, which has: {there}.")
    zones: dict[str, str] = {}
    for identity in wanted or sorted(by_id):
        zone = by_id[identity]["AvailabilityZone"]
        poor = not wanted and by_id[identity].get("AvailabilityZoneId") in POOR_ZONES
        if (in_zones and zone not in in_zones) or (poor and not in_zones):
            continue
        # If a zone has several subnets, prefer its default one.
        if zone not in zones or by_id[identity].get("DefaultForAz"):
            zones[zone] = identity
    if missing := sorted(set(in_zones) - set(zones)):
        raise DeployError(f"zones: {vpc} has no subnet in {', '.join(missing)}.")
    if len(zones) < 2:
        raise DeployError(
            f"{key}: a load balancer needs subnets in two zones; {vpc} has them in "
            f"{', '.join(zones) or 'none'}. Set `vpc` and `{key}` in deploy.toml."
        )
    return sorted(zones.values())


def prefix_list(aws: Aws) -> str:
    """Return the id of the prefix list of CloudFront's addresses; raises DeployError if missing."""
    filters = [{"Name": "prefix-list-name", "Values": [PREFIX_LIST]}]
    found = aws.ec2.describe_managed_prefix_lists(Filters=filters)["PrefixLists"]
    if not found:
        raise DeployError(
            f"{aws.region} has no prefix list of CloudFront's addresses ({PREFIX_LIST}). Set "
            'https = "certificate" or "none" in deploy.toml.'
        )
    return str(found[0]["PrefixListId"])


def faults(aws: Aws, config: Config, found: Network) -> list[str]:
    """Return the problems with the subnets' routes that would cut off clients or tasks."""
    filters = [{"Name": "vpc-id", "Values": [found.vpc]}]
    tables = aws.ec2.describe_route_tables(Filters=filters)["RouteTables"]
    said = []
    if config.public_balancer:
        inside = [subnet for subnet in found.balancer_subnets if way_out(tables, subnet) != "igw"]
        if inside:
            said.append(
                f"{', '.join(inside)} have no route to an internet gateway, so the public load "
                "balancer cannot be reached: set `balancer_subnets` to public ones"
            )
    elif config.https == "cloudfront":
        attached = [{"Name": "attachment.vpc-id", "Values": [found.vpc]}]
        if not aws.ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]:
            said.append(f"{found.vpc} has no internet gateway, which CloudFront's VPC origin needs")
    for subnet in found.subnets:
        out = way_out(tables, subnet)
        if config.public_ip and out != "igw":
            said.append(f"{subnet} has no route to an internet gateway: set public_ip = false")
        elif not config.public_ip and out == "igw":
            said.append(
                f"{subnet} routes to an internet gateway, which a task without a public address "
                "cannot use: set public_ip = true, or `subnets` to private ones"
            )
        elif not out:
            said.append(
                f"{subnet} has no default route: the tasks need VPC endpoints for ECR, S3, "
                "CloudWatch Logs and the services that hold the secrets"
            )
    return said


def way_out(tables: list[Any], subnet: str) -> str:
    """Return the target of a subnet's default route: igw, nat, another prefix, "" for none."""
    own = [t for t in tables if any(a.get("SubnetId") == subnet for a in t["Associations"])]
    main = [t for t in tables if any(a.get("Main") for a in t["Associations"])]
    for table in (own or main)[:1]:
        for route in table["Routes"]:
            if route.get("DestinationCidrBlock") == "0.0.0.0/0":
                targets = ("GatewayId", "NatGatewayId", "TransitGatewayId", "NetworkInterfaceId")
                target = next((route[key] for key in targets if route.get(key)), "")
                return str(target).partition("-")[0]
    return ""
