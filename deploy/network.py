"""Where the tasks live: a VPC, its subnets in two zones or more, and who may talk to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.aws import Aws
from deploy.changes import Changes
from deploy.config import Config
from deploy.documents import Document, rule, security_rules
from deploy.errors import DeployError
from deploy.names import Names, upper


@dataclass(frozen=True)
class Network:
    """A VPC, a subnet in each of its zones and the two security groups."""

    vpc: str
    subnets: list[str]
    balancer_group: str
    task_group: str


def network(aws: Aws, config: Config, names: Names, changes: Changes) -> Network:
    """Find the VPC and its subnets and bring the security groups about."""
    vpc = find_vpc(aws, config)
    subnets = find_subnets(aws, config, vpc)
    titles = (
        (names.balancer_group, "the load balancer"),
        (names.task_group, "the tasks"),
    )
    found = {name: find_group(aws, vpc, name) for name, _ in titles}
    ids = {
        name: claimed(names, name, found[name]) or created(aws, names, changes, (vpc, name, what))
        for name, what in titles
    }
    wanted = security_rules(config, ids[names.balancer_group], ids[names.task_group])
    for name, _ in titles:
        if found[name]:
            rules(aws, changes, (name, ids[name]), wanted[ids[name]])
        elif changes.write:  # part of creating it, and not a change of its own
            rules(aws, Changes(write=True, quiet=True), (name, ids[name]), wanted[ids[name]])
    return Network(vpc, subnets, ids[names.balancer_group], ids[names.task_group])


def find_vpc(aws: Aws, config: Config) -> str:
    """Return the VPC of the settings, or the default one; raises DeployError if there is none."""
    wanted: dict[str, Any] = (
        {"Filters": [{"Name": "vpc-id", "Values": [config.vpc]}]}
        if config.vpc
        else {"Filters": [{"Name": "is-default", "Values": ["true"]}]}
    )
    found = aws.ec2.describe_vpcs(**wanted)["Vpcs"]
    if not found:
        which = f"no VPC {config.vpc}" if config.vpc else "no default VPC"
        raise DeployError(
            f"There is {which} in {aws.region}. Set `vpc` and `subnets` in deploy.toml, or make "
            "one: aws ec2 create-default-vpc."
        )
    return str(found[0]["VpcId"])


def find_subnets(aws: Aws, config: Config, vpc: str) -> list[str]:
    """Return a subnet in each zone, at least two; raises DeployError naming what is missing."""
    found = aws.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    by_id = {subnet["SubnetId"]: subnet for subnet in found}
    if missing := sorted(set(config.subnets) - set(by_id)):
        raise DeployError(
            f"subnets: {', '.join(missing)} are not in {vpc}; there are: "
            f"{', '.join(sorted(by_id)) or 'none'}."
        )
    zones: dict[str, str] = {}
    for identity in config.subnets or sorted(by_id):
        zone = by_id[identity]["AvailabilityZone"]
        wanted = not config.zones or zone in config.zones
        # The default subnet of a zone, where it has several.
        if wanted and (zone not in zones or by_id[identity].get("DefaultForAz")):
            zones[zone] = identity
    if missing := sorted(set(config.zones) - set(zones)):
        raise DeployError(f"zones: {vpc} has no subnet in {', '.join(missing)}.")
    if len(zones) < 2:
        raise DeployError(
            f"A load balancer needs subnets in two zones; {vpc} has them in "
            f"{', '.join(zones) or 'none'}. Set `vpc` and `subnets` in deploy.toml."
        )
    return sorted(zones.values())


def find_group(aws: Aws, vpc: str, name: str) -> Any:
    """Return the security group of that name, or None."""
    filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc]}]
    found = aws.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    return found[0] if found else None


def claimed(names: Names, name: str, found: Any) -> str | None:
    """Return the id of a security group that is there and ours."""
    if not found:
        return None
    names.claim("security group", name, found.get("Tags", []))
    return str(found["GroupId"])


def created(aws: Aws, names: Names, changes: Changes, what: tuple[str, str, str]) -> str:
    """Create a security group and return its id, its name in a plan."""
    vpc, name, purpose = what
    tags = [{"ResourceType": "security-group", "Tags": upper(names.tags | {"Name": name})}]
    made = changes.create(
        "security group",
        name,
        lambda: aws.ec2.create_security_group(
            GroupName=name,
            Description=f"{names.name}: {purpose}",
            VpcId=vpc,
            TagSpecifications=tags,
        ),
    )
    return str(made["GroupId"]) if made else name


def rules(aws: Aws, changes: Changes, title: tuple[str, str], wanted: list[Document]) -> None:
    """Allow what is wanted and is not yet allowed, and revoke the rest."""
    name, identity = title
    held = read_rules(aws, identity)
    for item in wanted:
        if item not in held.values():
            permit(aws, changes, name, identity, item)
    for rule_id, item in held.items():
        if item not in wanted:
            revoke(aws, changes, title, (rule_id, item))


def read_rules(aws: Aws, identity: str) -> dict[str, Document]:
    """Return the rules of a security group by their ids."""
    filters = [{"Name": "group-id", "Values": [identity]}]
    found = aws.ec2.describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
    return {
        item["SecurityGroupRuleId"]: rule(
            "egress" if item["IsEgress"] else "ingress",
            item.get("FromPort", -1),
            item.get("CidrIpv4")
            or item.get("CidrIpv6")
            or item.get("ReferencedGroupInfo", {}).get("GroupId")
            or item.get("PrefixListId", ""),
        )
        | {"protocol": item["IpProtocol"], "to": item.get("ToPort", -1)}
        for item in found
    }


def permit(aws: Aws, changes: Changes, name: str, identity: str, item: Document) -> None:
    """Add a rule to a security group."""
    peer = item["peer"]
    permission: Document = {
        "IpProtocol": item["protocol"],
        "FromPort": item["from"],
        "ToPort": item["to"],
    }
    if peer.startswith("sg-"):
        permission["UserIdGroupPairs"] = [{"GroupId": peer}]
    elif ":" in peer:
        permission["Ipv6Ranges"] = [{"CidrIpv6": peer}]
    else:
        permission["IpRanges"] = [{"CidrIp": peer}]
    call = (
        aws.ec2.authorize_security_group_ingress
        if item["direction"] == "ingress"
        else aws.ec2.authorize_security_group_egress
    )
    changes.change(
        "security group",
        name,
        lambda: call(GroupId=identity, IpPermissions=[permission]),
        f"allows {item['direction']} tcp {item['from']}, {peer}",
    )


def revoke(aws: Aws, changes: Changes, title: tuple[str, str], held: tuple[str, Document]) -> None:
    """Take a rule from a security group."""
    (name, identity), (rule_id, item) = title, held
    call = (
        aws.ec2.revoke_security_group_ingress
        if item["direction"] == "ingress"
        else aws.ec2.revoke_security_group_egress
    )
    port = item["from"] if item["protocol"] == "tcp" else "everything"
    changes.change(
        "security group",
        name,
        lambda: call(GroupId=identity, SecurityGroupRuleIds=[rule_id]),
        f"no longer allows {item['direction']} {item['protocol']} {port}, {item['peer']}",
    )
