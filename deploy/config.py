"""The settings of a deployment and their allowed values.

The description of each field says what is allowed. It is the help text of the flag and part of
error messages.
"""

from __future__ import annotations

import ipaddress
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from deploy.errors import DeployError

# MiB of memory that Fargate offers for each number of CPU units (1024 = 1 vCPU).
FARGATE_MEMORY: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}
# The values that CloudWatch Logs accepts.
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
# The deployment sets these itself.
RESERVED = ("HOST", "PORT", "METRICS_PORT", "GRACEFUL_TIMEOUT", "TRUSTED_PROXIES")
# Regions without CloudFront or without VPC origins.
NO_CLOUDFRONT = ("cn-", "us-gov-", "us-iso")
DAY = "(MON|TUE|WED|THU|FRI|SAT|SUN)"
HOUR = r"([01]\d|2[0-3]):[0-5]\d"
SECRET_WORDS = ("KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWORDS")

ARN = r"arn:aws[a-z-]*"
REGION = r"[a-z]{2}(-[a-z]+)+-\d"


class ConfigError(DeployError):
    """The settings are invalid; the message has one line for each mistake."""


def known(choices: tuple[int, ...]) -> AfterValidator:
    """Accept only the given numbers."""

    def check(value: int) -> int:
        if value not in choices:
            raise ValueError
        return value

    return AfterValidator(check)


def cidr(text: str) -> str:
    """Accept an IPv4 network whose host bits are zero."""
    return str(ipaddress.IPv4Network(text))


def timezone(text: str) -> str:
    """Accept the name of a time zone."""
    if text not in zoneinfo.available_timezones():
        raise ValueError
    return text


def text_of(value: object) -> object:
    """Turn a TOML number or boolean into the text of an environment variable."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


EnvironmentValue = Annotated[str, BeforeValidator(text_of)]
Network = Annotated[str, AfterValidator(cidr)]
Timezone = Annotated[str, AfterValidator(timezone)]
Hours = Annotated[str, Field(pattern=f"^{DAY}(-{DAY})? {HOUR}-{HOUR}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=24)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
Region = Annotated[str, Field(pattern=f"^{REGION}$")]
Zone = Annotated[str, Field(pattern=f"^{REGION}[a-z]$")]
Vpc = Annotated[str, Field(pattern=r"^vpc-[0-9a-f]{8,17}$")]
Subnet = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
Domain = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")]
Certificate = Annotated[
    str, Field(pattern=rf"^{ARN}:acm:{REGION}:\d{{12}}:certificate/[0-9a-f-]{{36}}$")
]
Topic = Annotated[str, Field(pattern=rf"^{ARN}:sns:{REGION}:\d{{12}}:[\w-]+(\.fifo)?$")]
Boundary = Annotated[str, Field(pattern=rf"^{ARN}:iam::\d{{12}}:policy/[\w+=,.@/-]+$")]
Key = Annotated[str, Field(pattern=rf"^{ARN}:kms:{REGION}:\d{{12}}:key/[\w-]+$")]
SecretSource = Annotated[
    str,
    Field(
        pattern=rf"^({ARN}:ssm:{REGION}:\d{{12}}:parameter/[\w./-]+"
        rf"|{ARN}:secretsmanager:{REGION}:\d{{12}}:secret:[\w/+=.@-]+(:[\w.-]*){{0,3}}"
        r"|(/[\w.-]+)+)$"  # a name without a slash could be the secret's value itself
    ),
]


def said(words: str, default: Any = None, **limits: Any) -> Any:
    """Make a field. words: what is allowed, for the help and for error messages."""
    return Field(default, description=words, **limits)


class Config(BaseModel):
    """Every setting with its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name = said("2 to 24 of a-z, 0-9 and single '-', a letter first", default="facemask")
    region: Region | None = said("an AWS region such as eu-central-1; default: the AWS profile's")
    https: Literal["cloudfront", "certificate", "none"] = said(
        "cloudfront, certificate (with certificate_arn and domain) or none", default="cloudfront"
    )
    certificate_arn: Certificate | None = said("the ARN of an ACM certificate in the same region")
    domain: Domain | None = said("the certificate's name that points to the load balancer")
    open: bool = said("true (no API key is needed) or false", default=False)
    architecture: Literal["x86_64", "arm64"] = said("x86_64 or arm64", default="x86_64")
    cpu: Annotated[int, known(tuple(FARGATE_MEMORY))] = said(
        f"CPU units of a task: {', '.join(map(str, FARGATE_MEMORY))}", default=1024
    )
    memory: int = said("MiB per task, a value that Fargate offers for the cpu", default=2048)
    spot: bool = said("true (tasks beyond the first on Fargate Spot) or false", default=False)
    drain_seconds: int = said(
        "seconds for running requests to finish at a stop, 1 to 110", default=20, ge=1, le=110
    )
    min_tasks: int = said("fewest tasks, a whole number from 1", default=1, ge=1, le=5000)
    max_tasks: int = said(
        "most tasks, a whole number not below min_tasks", default=4, ge=1, le=5000
    )
    target_cpu_percent: int = said(
        "CPU use in percent that the autoscaler aims at, 10 to 90", default=60, ge=10, le=90
    )
    target_requests_per_minute: int = said(
        "requests per task that the autoscaler aims at, from 1", default=2400, ge=1, le=1_000_000
    )
    opening_hours: Hours | None = said("days and hours with more tasks: MON-FRI 08:00-18:00")
    opening_tasks: int = said(
        "fewest tasks in the opening hours, up to max_tasks", default=2, ge=1, le=5000
    )
    timezone: Timezone = said(
        "time zone of the opening hours, such as Europe/Berlin", default="UTC"
    )
    vpc: Vpc | None = said("a VPC such as vpc-0abc12345678def90; default: the default VPC")
    subnets: tuple[Subnet, ...] = said(
        "at least two subnets such as subnet-0abc12345678def90, in two zones", default=()
    )
    balancer_subnets: tuple[Subnet, ...] = said(
        "subnets of the load balancer, in two zones; default: the tasks' subnets", default=()
    )
    zones: tuple[Zone, ...] = said(
        "at least two zones such as eu-central-1a; default: the zones of all subnets", default=()
    )
    public_ip: bool = said(
        "true, or false if the subnets reach AWS through a NAT or endpoints", default=True
    )
    internal: bool = said("true (only the VPC reaches the load balancer) or false", default=False)
    allowed_cidrs: tuple[Network, ...] = said(
        "IPv4 networks that may connect, such as 203.0.113.0/24; the balancer has no IPv6",
        default=("0.0.0.0/0",),
        min_length=1,
    )
    log_retention_days: Annotated[int, known(RETENTION_DAYS)] = said(
        f"days: {', '.join(map(str, RETENTION_DAYS))}", default=30
    )
    images_kept: int = said(
        "newest images that the registry keeps, 2 to 1000", default=20, ge=2, le=1000
    )
    container_insights: bool = said("true (paid metrics of every task) or false", default=False)
    alarm_topic: Topic | None = said("the ARN of an SNS topic that the alarms notify")
    alarm_p99_seconds: float = said(
        "p99 response time above which an alarm is raised, seconds up to 60",
        default=2.0,
        gt=0,
        le=60,
        strict=False,
    )
    alarm_error_percent: float = said(
        "share of 5xx answers above which an alarm is raised, percent",
        default=5.0,
        gt=0,
        le=100,
        strict=False,
    )
    permissions_boundary: Boundary | None = said(
        "the ARN of an IAM policy that limits the roles, see iam-policy --boundary"
    )
    secrets_key_arn: Key | None = said("the ARN of your own KMS key that encrypts the secrets")
    environment: dict[Variable, EnvironmentValue] = said(
        "variables of the service, as text (docs/settings.md)", default={}
    )
    secrets: dict[Variable, SecretSource] = said(
        "an SSM parameter such as /mask/key, or the ARN of one or of a secret", default={}
    )

    @model_validator(mode="after")
    def _agrees(self) -> Config:
        """Check the rules that involve several fields; raises the first mistake."""
        offered = FARGATE_MEMORY[self.cpu]
        if self.memory not in offered:
            listed = ", ".join(map(str, offered))
            raise mistake("memory", self.memory, f"for cpu = {self.cpu}: {listed}")
        if self.max_tasks < self.min_tasks:
            raise mistake("max_tasks", self.max_tasks, f"at least min_tasks = {self.min_tasks}")
        if self.opening_hours and self.opening_tasks > self.max_tasks:
            raise mistake(
                "opening_tasks", self.opening_tasks, f"up to max_tasks = {self.max_tasks}"
            )
        if self.name.startswith(("internal-", "sg-")):
            raise mistake(
                "name", self.name, "not starting with internal- or sg-, which AWS reserves"
            )
        self._network_agrees()
        self._https_agrees()
        if self.region:
            self.lies_in(self.region)
        self._environment_is_plain()
        return self

    @property
    def public_balancer(self) -> bool:
        """Whether the load balancer has public addresses."""
        return self.https != "cloudfront" and not self.internal

    @property
    def log_group(self) -> str:
        """Return the name of the tasks' log group."""
        return f"/ecs/{self.name}"

    @property
    def tags(self) -> list[dict[str, str]]:
        """Return the tags that mark every resource as part of this deployment."""
        return [
            {"Key": "managed-by", "Value": "facemask-deploy"},
            {"Key": "deployment", "Value": self.name},
        ]

    def _network_agrees(self) -> None:
        for key in ("zones", "subnets", "balancer_subnets"):
            listed = getattr(self, key)
            if listed and len(set(listed)) < 2:
                raise mistake(key, list(listed), "at least two different ones")
        if self.subnets and self.zones:
            raise mistake("zones", list(self.zones), "only if no subnets are given")
        for key in ("subnets", "balancer_subnets"):
            if getattr(self, key) and not self.vpc:
                raise mistake(key, list(getattr(self, key)), "only together with their vpc")
        if self.public_balancer and not self.public_ip and not self.balancer_subnets:
            allowed = (
                "the public subnets of the load balancer: without public_ip the tasks' subnets are "
                "private, and a public load balancer there cannot be reached"
            )
            raise mistake("balancer_subnets", [], allowed)

    def _https_agrees(self) -> None:
        with_certificate = self.https == "certificate"
        for key in ("certificate_arn", "domain"):
            value = getattr(self, key)
            if bool(value) != with_certificate:
                only = "needed with" if with_certificate else "only with"
                raise mistake(key, value, f'{only} https = "certificate"')
        if self.https != "cloudfront":
            return
        if self.region and self.region.startswith(NO_CLOUDFRONT):
            raise mistake("https", self.https, f'"certificate" or "none" in {self.region}')
        if self.internal:
            raise mistake("internal", self.internal, 'only with https = "certificate" or "none"')
        if self.allowed_cidrs != ("0.0.0.0/0",):
            allowed = 'only with https = "certificate" or "none": CloudFront is open to everyone'
            raise mistake("allowed_cidrs", list(self.allowed_cidrs), allowed)

    def lies_in(self, region: str) -> None:
        """Check zones and ARNs against the region; raises PydanticCustomError, a ValueError."""
        for zone in self.zones:
            if zone[:-1] != region:
                raise mistake("zones", zone, f"only zones in {region}")
        for key in ("certificate_arn", "alarm_topic", "secrets_key_arn"):
            arn = getattr(self, key)
            if arn and arn.split(":")[3] != region:
                raise mistake(key, arn, f"only an ARN in {region}")

    def _environment_is_plain(self) -> None:
        for variable, value in self.environment.items():
            key = f"environment.{variable}"
            if variable in RESERVED:
                raise mistake(key, value, "no value: the deployment sets this variable")
            if variable.upper().split("_")[-1] in SECRET_WORDS:
                raise mistake(key, "...", "only under [secrets], so that it is not readable in ECS")
            if variable in self.secrets:
                raise mistake(key, value, "either here or under [secrets], not both")


def mistake(key: str, value: object, allowed: str) -> PydanticCustomError:
    """Make the error for a broken rule that involves several keys."""
    return PydanticCustomError(
        "rule", "{allowed}", {"key": key, "value": value, "allowed": allowed}
    )
