"""What is missing before `up` can work, and how to get it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from deploy import image, network, policies
from deploy.aws import DENIED, Aws, absent, code, explain
from deploy.config import Config
from deploy.documents import PLATFORM
from deploy.errors import DeployError
from deploy.local import parameter_name
from deploy.names import Names

State = Literal["ok", "missing", "unknown"]
Result = tuple[State, str]
STYLES: dict[State, str] = {"ok": "green", "missing": "red", "unknown": "yellow"}


@dataclass(frozen=True)
class Finding:
    """The result of one check: ok, missing, or unknown where it is not certain."""

    what: str
    state: State
    words: str

    def __str__(self) -> str:
        return f"{self.state:<7}  {self.what}: {self.words}"


def findings(aws: Aws, config: Config) -> Iterator[Finding]:
    """Check one thing after the other; without credentials the rest of AWS is left out."""
    yield attempt("Docker", docker_engine, config)
    yield attempt("checkout", checkout)
    try:
        names = aws.names(config)
    except (BotoCoreError, ClientError) as error:
        yield Finding("credentials", "missing", explain(error))
        return
    yield Finding("credentials", "ok", aws.identity["Arn"])
    yield Finding("region", "ok", names.region)
    for what, check in CHECKS.items():
        yield attempt(what, check, aws, config, names)


def attempt(what: str, check: Callable[..., Result], *about: object) -> Finding:
    """Make a check; one that is not allowed says so, and stops nothing."""
    try:
        return Finding(what, *check(*about))
    except ClientError as error:
        if code(error) in DENIED:
            return Finding(
                what, "unknown", f"these credentials may not look ({error.operation_name})."
            )
        return Finding(what, "missing", explain(error))
    except (DeployError, BotoCoreError) as error:
        words = explain(error) if isinstance(error, BotoCoreError) else str(error)
        return Finding(what, "missing", words)


def docker_engine(config: Config) -> Result:
    """Check that there is an engine that can build for the architecture of the tasks."""
    about = image.engine().info()
    machine = {"aarch64": "arm64"}.get(about["Architecture"], about["Architecture"])
    words = f"{about['ServerVersion']} on {machine}"
    if machine == config.architecture:
        return "ok", words
    return "unknown", (
        f"{words}; images for {PLATFORM[config.architecture]} need emulation: docker run "
        "--privileged --rm tonistiigi/binfmt --install all"
    )


def checkout() -> Result:
    """Check that the image can be named after a commit."""
    return "ok", f"the image is {image.tag_of_checkout()}"


def permissions(aws: Aws, config: Config, names: Names) -> Result:
    """Ask IAM whether it allows what the operator's policy does, statement by statement."""
    arn = principal(aws.identity["Arn"])
    if arn.endswith(":root"):
        return "unknown", "this is the account's root user; use a user or role of your own instead."
    policy = policies.operator(config, names)
    missing: set[str] = set()
    for entry in policy["Statement"]:
        answers = aws.iam.simulate_principal_policy(
            PolicySourceArn=arn,
            ActionNames=entry["Action"],
            ResourceArns=entry["Resource"],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyType": "string", "ContextKeyValues": [values[0]]}
                for key, text in entry.get("Condition", {}).get("StringEquals", {}).items()
                for values in [text if isinstance(text, list) else [text]]
            ],
        )["EvaluationResults"]
        missing |= {a["EvalActionName"] for a in answers if a["EvalDecision"] != "allowed"}
    if not missing:
        return "ok", f"all {len(policies.actions(policy))} actions are allowed"
    # A policy that allows an action on the one kind of resource that it knows is enough.
    return "unknown", (
        f"not allowed on all that the deployment makes: {', '.join(sorted(missing))}. `python -m "
        "deploy iam-policy` prints what is enough."
    )


def principal(arn: str) -> str:
    """Return the user or role behind credentials, which for a role are those of a session."""
    if ":assumed-role/" not in arn:
        return arn
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.split('/')[0]}"


def linked_roles(aws: Aws, config: Config, names: Names) -> Result:
    """Look for the roles that ECS, the load balancer and the autoscaler take themselves."""
    del config, names
    missing = [
        service
        for service, role in policies.LINKED_ROLES.items()
        if not absent(partial(aws.iam.get_role, RoleName=role), "NoSuchEntity")
    ]
    if not missing:
        return "ok", "all three are there"
    how = "; ".join(
        f"aws iam create-service-linked-role --aws-service-name {service}" for service in missing
    )
    return "unknown", f"AWS makes them at the first use; should `up` be refused: {how}"


def reachable_network(aws: Aws, config: Config, names: Names) -> Result:
    """Check that there is a VPC with subnets in two zones."""
    del names
    vpc = network.find_vpc(aws, config)
    return "ok", f"{vpc}, {len(network.find_subnets(aws, config, vpc))} zones"


def certificate(aws: Aws, config: Config, names: Names) -> Result:
    """Check that the certificate is issued."""
    del names
    if not config.certificate_arn:
        return "ok", "none: http only"
    found = aws.acm.describe_certificate(CertificateArn=config.certificate_arn)["Certificate"]
    if found["Status"] == "ISSUED":
        return "ok", f"{found['DomainName']}, issued"
    return "missing", (
        f"{found['DomainName']} is {found['Status']}: set the DNS records that ACM shows, and wait."
    )


def secrets(aws: Aws, config: Config, names: Names) -> Result:
    """Check that each secret exists; their values are not read."""
    held = policies.secret_arns(config, names)
    missing = [
        f"aws ssm put-parameter --type SecureString --name {name} --value ..."
        for name in sorted({parameter_name(arn) for arn in held["ssm"]})
        if aws.ssm.get_parameters(Names=[name], WithDecryption=False)["InvalidParameters"]
    ]
    for arn in held["secretsmanager"]:
        found: Any = absent(
            partial(aws.secretsmanager.describe_secret, SecretId=arn),
            "ResourceNotFoundException",
        )
        if not found:
            missing.append(f"aws secretsmanager create-secret for {arn}")
    if missing:
        return "missing", "; ".join(missing)
    return "ok", f"{len(config.secrets)}"


CHECKS: dict[str, Callable[..., Result]] = {
    "permissions": permissions,
    "service-linked roles": linked_roles,
    "network": reachable_network,
    "certificate": certificate,
    "secrets": secrets,
}
