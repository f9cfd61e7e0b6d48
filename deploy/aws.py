"""Clients for one AWS account and region, which count their calls; explanations of errors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError
from pydantic_core import PydanticCustomError

from deploy.config import Config, ConfigError
from deploy.errors import DeployError

READS = ("Describe", "Get", "List", "Filter", "BatchGet", "Simulate")
# A change set is AWS's own plan. It changes nothing until it is executed.
PLANS = ("CreateChangeSet", "DeleteChangeSet")
AwsError = (BotoCoreError, ClientError, ResponseParserError)
EXPIRED = {
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"),
    *("UnrecognizedClientException", "AuthFailure", "SignatureDoesNotMatch"),
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
THROTTLED = {
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded"),
    *("TooManyRequestsException", "RequestThrottled", "SlowDown", "LimitExceededException"),
}
NO_REGION = "No region is set. Set `region` in deploy.toml, or AWS_REGION in the environment."
AGAIN = "Finished steps are kept: run the same command again."

HINTS: dict[type[Exception] | tuple[type[Exception], ...], str] = {
    NoCredentialsError: (
        "No AWS credentials were found. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or log in with `aws sso login`."
    ),
    (SSOTokenLoadError, TokenRetrievalError, UnauthorizedSSOTokenError): (
        f"The AWS login has expired: `aws sso login`. {AGAIN}"
    ),
    NoRegionError: NO_REGION,
    ProfileNotFound: "{error}. Set AWS_PROFILE to a profile in ~/.aws/config.",
    (BotoConnectionError, HTTPClientError): (
        "AWS could not be reached, or the connection broke: {error} " + AGAIN
    ),
    ResponseParserError: (
        "The answer is not from AWS but probably from a proxy in between. Check "
        "HTTPS_PROXY and the network. " + AGAIN
    ),
}


class Aws:
    """Clients by service name, such as aws.ecs; without `write`, calls that write are refused.

    calls: the number of calls of each operation.
    """

    def __init__(self, region: str | None, *, write: bool) -> None:
        self.calls: Counter[str] = Counter()
        self._write = write
        self._session = boto3.session.Session(region_name=region)
        self._session.events.register("before-call", self._count)
        # Standard mode waits longer after each try, and even longer when throttled.
        self._config = BotoConfig(
            retries={"mode": "standard", "total_max_attempts": 8},
            connect_timeout=10,
            read_timeout=60,
            user_agent_extra="facemask-deploy",
        )
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service; it is created at its first use."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=self._config)
        return self._clients[service]

    def __getattr__(self, service: str) -> Any:
        if service.startswith("_"):
            raise AttributeError(service)
        return self.client({"autoscaling": "application-autoscaling"}.get(service, service))

    def _count(self, model: Any, **_: object) -> None:
        if not self._write and not model.name.startswith((*READS, *PLANS)):
            raise AssertionError(f"{model.name} would write, but this command only reads.")
        self.calls[f"{model.service_model.endpoint_prefix}:{model.name}"] += 1

    @property
    def region(self) -> str:
        """Return the region; raises DeployError if none is set."""
        if not self._session.region_name:
            raise DeployError(NO_REGION)
        return str(self._session.region_name)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Return the caller's identity: Account and Arn."""
        return {key: str(value) for key, value in self.sts.get_caller_identity().items()}

    @property
    def values(self) -> dict[str, str]:
        """Return the values of AWS::Region, AWS::AccountId and AWS::Partition in a template."""
        account, partition = self.identity["Account"], self.identity["Arn"].split(":")[1]
        return {"AWS::Region": self.region, "AWS::AccountId": account, "AWS::Partition": partition}


def connect(config: Config, *, write: bool) -> Aws:
    """Connect to the region of the settings, or of the AWS profile."""
    # AWS's other tools read AWS_REGION; boto3 only reads AWS_DEFAULT_REGION and the profile.
    aws = Aws(config.region or os.environ.get("AWS_REGION"), write=write)
    try:
        config.lies_in(aws.region)
    except PydanticCustomError as error:
        context = error.context or {}
        raise ConfigError(
            f"{context['key']} = {context['value']}; allowed: {context['allowed']}, the region of "
            "the AWS profile"
        ) from error
    return aws


def code(error: ClientError) -> str:
    """Return the code of an AWS error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def absent(call: Callable[[], Any], *codes: str) -> Any:
    """Return the call's result, or None if AWS answers with one of the error codes."""
    try:
        return call()
    except ClientError as error:
        if code(error) in codes:
            return None
        raise


def explain(error: Exception) -> str:
    """Return what AWS refused, or why it was not reached, and what to do."""
    if isinstance(error, ClientError):
        return _refusal(error)
    return next((words for kind, words in HINTS.items() if isinstance(error, kind)), "").format(
        error=error
    ) or str(error)


def _refusal(error: ClientError) -> str:
    operation, reason = error.operation_name, code(error)
    message = error.response.get("Error", {}).get("Message", "")
    if reason in EXPIRED:
        return f"AWS does not accept the credentials ({reason}): log in again. {AGAIN}"
    if reason in DENIED:
        return (
            f"AWS does not allow {operation}: {message} `python -m deploy iam-policy` prints the "
            f"required permissions, `python -m deploy doctor` the missing ones. {AGAIN}"
        )
    if reason in THROTTLED:
        return f"AWS limits the rate of calls ({operation}: {reason}). Wait a minute. {AGAIN}"
    return f"{operation}: {message or reason} ({reason}). {AGAIN}"
