"""Bring everything about that the settings ask for: the one walk that plans and makes."""

from __future__ import annotations

from dataclasses import dataclass

from deploy import balancer, compute, identity, image, network, registry, scaling
from deploy.aws import Aws
from deploy.changes import Changes
from deploy.config import Config
from deploy.documents import task_definition
from deploy.names import Names


@dataclass(frozen=True)
class Walked:
    """What a walk found or made: how many zones, the newest deployment and its revision."""

    zones: int
    deployment: str | None
    revision: str


def walk(aws: Aws, config: Config, names: Names, changes: Changes, tag: str | None) -> Walked:
    """Compare each resource with what is wanted, in the order in which they need each other.

    Roles come first, so that they are known everywhere when the service needs them.
    tag: an image of the registry; of this checkout, built and pushed where missing, if None.
    """
    roles = identity.roles(aws, config, names, changes)
    address = registry.repository(aws, config, names, changes)
    digest = find_image(aws, config, names, tag, changes)
    compute.log_group(aws, config, names, changes)
    net = network.network(aws, config, names, changes)
    front = balancer.balancer(aws, config, names, net, changes)
    compute.cluster(aws, config, names, changes)
    wanted = task_definition(config, names, f"{address}@{digest}", *roles)
    running = compute.find_service(aws, names)
    revision = compute.task_definition(
        aws, names, wanted, running["taskDefinition"] if running else None, changes
    )
    deployment = compute.service(aws, config, names, (net, front, revision), changes)
    scaling.bounds(aws, names, config.min_tasks, config.max_tasks, changes)
    scaling.policies(aws, config, names, front, changes)
    scaling.alarms(aws, config, names, front, changes)
    return Walked(len(net.subnets), deployment, revision)


def find_image(aws: Aws, config: Config, names: Names, tag: str | None, changes: Changes) -> str:
    """Return the digest of the image that shall run; the checkout's is pushed where missing."""
    if tag:
        return registry.require(aws, names, tag)
    tag = image.tag_of_checkout()
    digest = registry.digest_of(aws, names, tag)
    if digest is None:
        made = changes.create(
            "image",
            f"{names.name}:{tag}",
            lambda: image.push(aws, config, names, tag),
            f"built for {config.architecture} and pushed",
        )
        digest = made or "the new image"
    return str(digest)
