"""Check what `up` requires, and say how to get what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from botocore.exceptions import ClientError

from deploy import image, network, policies
from deploy.aws import DENIED, Aws, AwsError, absent, code, explain
from deploy.config import Config
from deploy.errors import DeployError
from deploy.local import parameter_name

State = Literal["ok", "missing", "unknown"]
Result = tuple[State, str]
STYLES: dict[State, str] = {"ok": "green", "missing": "red", "unknown": "yellow"}


def findings(aws: Aws, config: Config) -> Iterator[tuple[str, State, str]]:
    """Run all checks in order; without credentials, skip the remaining checks in AWS.

    Yields the name of each check, its state (ok, missing or unknown) and an explanation.
    """
    for what, check in CHECKS.items():
        state, words = attempt(check, aws, config)
        yield what, state, words
        if what == "credentials" and state != "ok":
            return


def attempt(check: Callable[[Aws, Config], Result], aws: Aws, config: Config) -> Result:
    """Run a check; returns "unknown" if the credentials do not allow it."""
    try:
        return check(aws, config)
    except DeployError as error:
        return "missing", str(error)
    except AwsError as error:
        if isinstance(error, ClientError) and code(error) in DENIED:
            return "unknown", f"these credentials do not allow the check ({error.operation_name})."
        return "missing", explain(error)


def require_protection(config: Config) -> None:
    """Raise DeployError if the service has no API keys and `open` is not set."""
    if "API_KEYS" not in config.secrets and not config.open:
        raise DeployError(
            "The service would answer everyone who knows its address. Put API_KEYS under [secrets] "
            "in deploy.toml (`python -m service.keys` makes a key), or set open = true to allow it."
        )


def warnings(config: Config) -> list[str]:
    """Return warnings about what a deployment leaves unprotected."""
    said = []
    if config.https == "none":
        said.append('https = "none": frames and keys travel unencrypted.')
    if "API_KEYS" not in config.secrets:
        said.append(
            "No API_KEYS under [secrets]: anyone who knows the address may use the service."
        )
    return said


def access(_: Aws, config: Config) -> Result:
    """Check that clients need a key and send it encrypted, unless the settings allow otherwise."""
    require_protection(config)
    said = warnings(config)
    return ("unknown", " ".join(said)) if said else ("ok", "https and API keys")


def docker_engine(_: Aws, config: Config) -> Result:
    """Check that a Docker engine runs and can build for the tasks' architecture."""
    about = image.engine().info()
    machine = {"aarch64": "arm64"}.get(about["Architecture"], about["Architecture"])
    words = f"{about['ServerVersion']} on {machine}"
    if machine == config.architecture:
        return "ok", words
    return "unknown", (
        f"{words}; images for {image.PLATFORM[config.architecture]} need emulation: docker run "
        "--privileged --rm tonistiigi/binfmt --install all"
    )


def checkout(_: Aws, config: Config) -> Result:
    """Check that a commit can name the image."""
    return "ok", f"the image is {image.tag_of_checkout(config)}"


def credentials(aws: Aws, _: Config) -> Result:
    """Check that AWS knows the caller."""
    return "ok", f"{aws.identity['Arn']}, {aws.region}"


def permissions(aws: Aws, config: Config) -> Result:
    """Check with IAM that the caller may do everything in the operator's policy."""
    arn = principal(aws.identity["Arn"])
    if arn.endswith(":root"):
        return "unknown", "this is the account's root user; use an IAM user or role instead."
    parts = policies.operator(config, aws.values)
    missing: set[str] = set()
    for entry in (statement for part in parts for statement in part["Statement"]):
        wanted = entry.get("Condition", {}).get("StringEquals", {})
        answers = aws.iam.simulate_principal_policy(
            PolicySourceArn=arn,
            ActionNames=[name for name in entry["Action"] if not name.endswith("*")],
            ResourceArns=entry["Resource"],
            ContextEntries=[
                {
                    "ContextKeyName": key,
                    "ContextKeyType": "string",
                    "ContextKeyValues": [values[0] if isinstance(values, list) else values],
                }
                for key, values in wanted.items()
                if values
            ],
        )["EvaluationResults"]
        missing |= {a["EvalActionName"] for a in answers if a["EvalDecision"] != "allowed"}
    if not missing:
        return "ok", f"all {len(policies.actions(parts))} actions are allowed"
    # No proof of a gap: an action is simulated on all resources of its statement, but it only
    # requires those of its own kind.
    return "unknown", (
        f"not allowed on all resources of the deployment: {', '.join(sorted(missing))}. `python "
        "-m deploy iam-policy` prints a sufficient policy."
    )


def principal(arn: str) -> str:
    """Return the ARN of the user or role behind the credentials, also for a role's session."""
    if ":assumed-role/" not in arn:
        return arn
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.split('/')[0]}"


def reachable_network(aws: Aws, config: Config) -> Result:
    """Check that the VPC has subnets in two zones and the required routes."""
    found = network.find(aws, config)
    if config.https == "cloudfront":
        network.prefix_list(aws)
    if said := network.faults(aws, config, found):
        return "missing", "; ".join(said)
    return "ok", f"{found.vpc}, {len(found.subnets)} zones"


def certificate(aws: Aws, config: Config) -> Result:
    """Check that the certificate is issued."""
    if not config.certificate_arn:
        https = config.https == "cloudfront"
        return "ok", "CloudFront's own" if https else "none: http only"
    found = aws.acm.describe_certificate(CertificateArn=config.certificate_arn)["Certificate"]
    if found["Status"] == "ISSUED":
        return "ok", f"{found['DomainName']}, issued"
    return "missing", (
        f"{found['DomainName']} is {found['Status']}: set the DNS records that ACM shows, and wait."
    )


def secrets(aws: Aws, config: Config) -> Result:
    """Check that each secret exists, without reading its value."""
    held = policies.resolve(policies.secret_arns(config), aws.values)
    missing = [
        f"aws ssm put-parameter --type SecureString --name {name} --value ..."
        for name in sorted({parameter_name(source) for source in held["ssm"]})
        if aws.ssm.get_parameters(Names=[name], WithDecryption=False)["InvalidParameters"]
    ]
    for arn in held["secretsmanager"]:
        found: Any = absent(
            partial(aws.secretsmanager.describe_secret, SecretId=arn), "ResourceNotFoundException"
        )
        if not found:
            missing.append(f"aws secretsmanager create-secret for {arn}")
    if missing:
        return "missing", "; ".join(missing)
    return "ok", f"{len(config.secrets)}"


CHECKS: dict[str, Callable[[Aws, Config], Result]] = {
    "Docker": docker_engine,
    "checkout": checkout,
    "access": access,
    "credentials": credentials,
    "permissions": permissions,
    "network": reachable_network,
    "certificate": certificate,
    "secrets": secrets,
}
