"""The operator's policy: it allows what the commands and CloudFormation call, and little else."""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from hypothesis import given, settings

from deploy import policies, tasks
from deploy.config import Config
from deploy.policies import LIMIT, operator, resolve
from deploy.template import template
from tests.deploy import ecs
from tests.deploy.conftest import REGION, Cloud, Done
from tests.deploy.test_template import configs

Command = Callable[..., Done]
BOUNDARY = "arn:aws:iam::123456789012:policy/facemask-boundary"
VALUES = {
    "AWS::Region": "ap-northeast-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
}
# Rights that CloudFormation needs only for properties that the template does not use.
UNUSED = {
    *("cognito-idp:*", "firehose:*", "kms:DescribeKey", "lambda:*", "s3:*", "sts:AssumeRole"),
    *("ec2:DescribeIpamPools", "ec2:UpdateSecurityGroupRuleDescriptions*"),
    *("ecs:PutAccountSetting*", "iam:AttachRolePolicy", "iam:DetachRolePolicy"),
    *("cloudfront:*ConnectionGroup", "cloudfront:UpdateDistributionWithStagingConfig"),
    *("cloudfront:CreateDistributionWithTags", "iam:DeleteRolePermissionsBoundary"),
    *("elasticloadbalancing:ModifyCapacityReservation", "elasticloadbalancing:ModifyIpPools"),
    *("elasticloadbalancing:*Targets", "elasticloadbalancing:SetIpAddressType"),
    *("iam:UpdateRoleDescription", "logs:*KmsKey", "logs:*ResourcePolic*", "logs:*IndexPolicy"),
    *("logs:CreateLogDelivery", "logs:DeleteDataProtectionPolicy", "logs:DeleteRetentionPolicy"),
    *("logs:PutBearerTokenAuthentication", "logs:PutDataProtectionPolicy"),
    "logs:PutLogGroupDeletionProtection",
}


def allowed(config: Config) -> set[str]:
    return policies.actions(operator(config, VALUES))


def holds(held: set[str], action: str) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in held)


def test_it_allows_what_cloudformation_does_with_each_resource() -> None:
    """Return the rights that each resource type's schema lists for create, update and delete."""
    config = Config(permissions_boundary=BOUNDARY)
    held = allowed(config)
    for resource in template(config)["Resources"].values():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, resource["Type"]).schema
        for verb in ("create", "read", "update", "delete"):
            needed = set(schema["handlers"][verb]["permissions"])
            lacking = {name for name in needed if not holds(held | UNUSED, name)}
            assert lacking == set(), (resource["Type"], verb)


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_each_part_fits_and_names_this_deployment(config: Config) -> None:
    bounded = config.model_copy(update={"permissions_boundary": BOUNDARY})
    parts = operator(bounded, VALUES)
    boundary = resolve(tasks.execution_policy(config), VALUES)
    for part in [*parts, boundary]:
        assert len(json.dumps(part, separators=(",", ":"))) <= LIMIT
        assert "${" not in json.dumps(part)
    assert len(parts) <= 10  # the largest policy of a user or role
    for entry in (entry for part in parts for entry in part["Statement"]):
        reads = all(
            re.match(r"[\w-]+:(Describe|Get|List|Simulate)", action)
            or action == "ecs:DeregisterTaskDefinition"
            for action in entry["Action"]
        )
        assert reads or entry["Resource"] != ["*"]


def test_many_secrets_make_more_parts_and_lose_nothing() -> None:
    secrets = {f"S{number}_KEY": f"/mask/{'x' * 40}/{number}" for number in range(99)}
    parts = operator(Config(permissions_boundary=BOUNDARY, secrets=secrets), VALUES)
    assert len(parts) > 2
    said = json.dumps(parts)
    assert all(f'parameter{name}"' in said for name in secrets.values())


def test_its_holder_cannot_become_an_administrator(command: Command, cloud: Cloud) -> None:
    assert cloud
    done = command("iam-policy")
    assert done.code == 1
    assert "iam-policy --boundary > boundary.json" in done.err
    assert "aws iam create-policy --policy-name facemask-boundary" in done.err
    boundary = json.loads(command("iam-policy", "--boundary").out)
    actions = policies.actions([boundary])
    assert all(action.split(":")[0] in {"ecr", "logs", "ssm", "kms"} for action in actions)
    done = command("iam-policy", "--permissions-boundary", BOUNDARY)
    assert "Part 1 of 2" in done.err
    second = command("iam-policy", "--permissions-boundary", BOUNDARY, "--part", "2")
    statements = [entry for part in (done, second) for entry in json.loads(part.out)["Statement"]]
    for entry in statements:
        for action in entry["Action"]:
            service, verb = action.split(":")
            grants = re.fullmatch(r"(Create|Attach|Put)\w*(Role|Policy|Boundary)", verb)
            if service == "iam" and grants and verb != "CreateServiceLinkedRole":
                condition = entry["Condition"]["StringEquals"]
                assert condition == {"iam:PermissionsBoundary": BOUNDARY}
    assert (
        "There is no part 3"
        in command("iam-policy", "--permissions-boundary", BOUNDARY, "--part", "3").err
    )


SERVICES = {"api.ecr": "ecr", "monitoring": "cloudwatch"}  # where IAM uses another name


def test_it_allows_every_call_of_the_commands(
    cloud: Cloud, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a whole life cycle, with the reads of `doctor` and `run-local`."""
    called: set[str] = set()

    def note(_: Any, model: Any, **__: object) -> None:
        prefix = model.service_model.endpoint_prefix
        called.add(f"{SERVICES.get(prefix, prefix)}:{model.name}")

    monkeypatch.setattr("deploy.aws.Aws._count", note)
    secrets = ("--secrets", "API_KEYS=/a/b")
    certificate = cloud.client("acm").request_certificate(DomainName="a.example.org")
    https = ("--https", "certificate", "--domain", "a.example.org")
    arn = ("--certificate-arn", certificate["CertificateArn"])
    up = ("up", "--yes", *secrets, "--image")
    command(*up, "v1")
    for tag in ("v1", "v2"):
        cloud.put_image(tag)
    cloud.ecs.agent = ecs.Crashing()
    command(*up, "v1")
    cloud.ecs.agent = ecs.Steady()
    cloud.client("ssm").put_parameter(Name="/a/b", Value="x", Type="SecureString")
    for arguments in (
        *((*up, "v1"), ("plan", "--image", "v2"), (*up, "v2"), ("rollback",), ("restart",)),
        *(("scale", "1", "2"), ("status",), ("logs",), ("logs", "--previous")),
        *(("doctor", *secrets), ("doctor", *https, *arn), ("run-local",), ("down", "--yes")),
    ):
        command(*arguments)
    config = Config(
        permissions_boundary=BOUNDARY,
        secrets={"API_KEYS": "/a/b"},
        secrets_key_arn=f"arn:aws:kms:{REGION}:123456789012:key/0abc",
    )
    held = allowed(config)
    assert {"ecs:DescribeTasks", "ssm:GetParameters", "acm:DescribeCertificate"} <= called
    assert {name for name in called if not holds(held, name)} == set()
    assert "kms:Decrypt" in held  # AWS requires it to read a secret
    account = ("ec2:DescribeAccountAttributes", "ec2:DescribeAddresses")
    assert set(account) <= held  # Elastic Load Balancing requires them
