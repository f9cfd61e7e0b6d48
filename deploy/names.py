"""What everything is called, where it lies and how it is marked: the only memory that there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.config import Config
from deploy.errors import NotOurs

MANAGED_BY = "facemask-deploy"


@dataclass(frozen=True)
class Names:
    """The names of a deployment in one account and region.

    Repository, cluster, service, task definition family, container, load balancer, target group
    and log streams all bear the deployment's own name.
    """

    name: str
    region: str
    account: str
    partition: str = "aws"

    @property
    def tags(self) -> dict[str, str]:
        """Return what marks a resource as this deployment's own."""
        return {"managed-by": MANAGED_BY, "deployment": self.name}

    @property
    def log_group(self) -> str:
        """Return the log group's name."""
        return f"/ecs/{self.name}"

    @property
    def execution_role(self) -> str:
        """Return the role that ECS itself takes; roles are global, hence the region."""
        return f"{self.name}-{self.region}-execution"

    @property
    def task_role(self) -> str:
        """Return the role that the service in the container has."""
        return f"{self.name}-{self.region}-task"

    @property
    def balancer_group(self) -> str:
        """Return the load balancer's security group."""
        return f"{self.name}-lb"

    @property
    def task_group(self) -> str:
        """Return the tasks' security group."""
        return f"{self.name}-task"

    @property
    def scalable(self) -> str:
        """Return what Application Auto Scaling calls the service."""
        return f"service/{self.name}/{self.name}"

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        """Return the ARN of a resource."""
        where = f"{self.region if region else ''}:{self.account if account else ''}"
        return f"arn:{self.partition}:{service}:{where}:{resource}"

    def owns(self, tags: Iterable[Mapping[str, str]] | Mapping[str, str]) -> bool:
        """Tell whether tags, in any of AWS's forms, are those of this deployment."""
        held = dict(tags) if isinstance(tags, Mapping) else plain(tags)
        return all(held.get(key) == value for key, value in self.tags.items())

    def claim(
        self, kind: str, name: str, tags: Iterable[Mapping[str, str]] | Mapping[str, str]
    ) -> None:
        """Raise NotOurs where a resource that is needed was made by someone else."""
        if not self.owns(tags):
            raise NotOurs(
                f"The {kind} {name} exists and is not this deployment's (it lacks the tags "
                f"{', '.join(f'{key}={value}' for key, value in self.tags.items())}). Set another "
                "`name` in deploy.toml, or delete it yourself."
            )


def names_of(config: Config, region: str, account: str, partition: str) -> Names:
    """Make the names of a configuration."""
    return Names(config.name, region, account, partition)


def plain(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Make one mapping of a list of tags, which AWS spells Key or key."""
    return {
        tag.get("Key", tag.get("key", "")): tag.get("Value", tag.get("value", "")) for tag in tags
    }


def upper(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Spell tags as EC2, ELB, IAM and ECR do."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def lower(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Spell tags as ECS does."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def covers(wanted: Any, found: Any) -> bool:
    """Tell whether what AWS answered holds all that is wanted; it may hold more keys.

    Lists must be of one length; their order does not count.
    """
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            covers(value, found.get(key)) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(wanted) != len(found):
            return False
        rest = list(found)
        for item in wanted:
            match = next((other for other in rest if covers(item, other)), None)
            if match is None:
                return False
            rest.remove(match)
        return True
    return bool(wanted == found)
