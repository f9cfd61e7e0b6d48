"""The two roles: ECS's own to start a task, and the container's, which may do nothing."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from deploy.aws import Aws, absent
from deploy.changes import Changes
from deploy.config import Config
from deploy.documents import Document
from deploy.names import Names, upper
from deploy.policies import execution, trust

POLICY = "start-tasks"


def roles(aws: Aws, config: Config, names: Names, changes: Changes) -> tuple[str, str]:
    """Bring both roles about and return their ARNs: execution role, task role."""
    inline = {POLICY: execution(config, names)}
    return (
        role(aws, names, changes, names.execution_role, inline),
        role(aws, names, changes, names.task_role, {}),
    )


def role(aws: Aws, names: Names, changes: Changes, name: str, policies: dict[str, Document]) -> str:
    """Bring a role about that has exactly these inline policies; returns its ARN."""
    found = absent(lambda: aws.iam.get_role(RoleName=name), "NoSuchEntity")

    def put(policy: str) -> None:
        document = json.dumps(policies[policy])
        aws.iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=document)

    if found is None:

        def create() -> Any:
            made = aws.iam.create_role(
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(trust(names)),
                Description=f"Tasks of {names.name}",
                Tags=upper(names.tags),
            )
            for policy in policies:
                put(policy)
            return made["Role"]["Arn"]

        arn = names.arn("iam", f"role/{name}", region=False)
        return str(changes.create("role", name, create) or arn)
    names.claim("role", name, found["Role"].get("Tags", []))
    if found["Role"]["AssumeRolePolicyDocument"] != trust(names):
        changes.change(
            "role",
            name,
            lambda: aws.iam.update_assume_role_policy(
                RoleName=name, PolicyDocument=json.dumps(trust(names))
            ),
            "who may take it",
        )
    held = aws.iam.list_role_policies(RoleName=name)["PolicyNames"]
    for policy, document in policies.items():
        current = (
            aws.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            if policy in held
            else None
        )
        if current != document:
            changes.change("role", name, partial(put, policy), f"policy {policy}")
    for policy in set(held) - set(policies):
        changes.change(
            "role",
            name,
            partial(aws.iam.delete_role_policy, RoleName=name, PolicyName=policy),
            f"without policy {policy}",
        )
    return str(found["Role"]["Arn"])
