"""The settings of a deployment: deploy.toml, checked at once, with flags over it.

The description of each field says what it may be; it is the help of its flag and the message of a
mistake.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

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
# What CloudWatch Logs accepts.
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
# The deployment sets these itself.
RESERVED = ("HOST", "PORT", "GRACEFUL_TIMEOUT")
SECRET_WORDS = ("KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWORDS")

ARN = r"arn:aws[a-z-]*"
REGION = r"[a-z]{2}(-[a-z]+)+-\d"


class ConfigError(DeployError):
    """Something in the settings is wrong; one line for each mistake."""


def known(choices: tuple[int, ...]) -> AfterValidator:
    """Accept these numbers only."""

    def check(value: int) -> int:
        if value not in choices:
            raise ValueError
        return value

    return AfterValidator(check)


def cidr(text: str) -> str:
    """Accept a network whose host bits are zero."""
    return str(ipaddress.ip_network(text))


def text_of(value: object) -> object:
    """Make a number or a truth value of TOML the text that an environment variable holds."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


EnvironmentValue = Annotated[str, BeforeValidator(text_of)]
Network = Annotated[str, AfterValidator(cidr)]
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
Key = Annotated[str, Field(pattern=rf"^{ARN}:kms:{REGION}:\d{{12}}:key/[\w-]+$")]
SecretSource = Annotated[
    str,
    Field(
        pattern=rf"^({ARN}:ssm:{REGION}:\d{{12}}:parameter/[\w./-]+"
        rf"|{ARN}:secretsmanager:{REGION}:\d{{12}}:secret:[\w/+=.@-]+(:[\w.-]*){{0,3}}"
        r"|(/[\w.-]+)+)$"  # a name without the slash could be a secret that is written out
    ),
]


class Config(BaseModel):
    """Every setting with its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name = Field("facemask", description="2 to 24 of a-z, 0-9 and single '-', a letter first")
    region: Region | None = Field(
        None, description="an AWS region such as eu-central-1; else the AWS profile's"
    )
    architecture: Literal["x86_64", "arm64"] = Field("x86_64", description="x86_64 or arm64")
    cpu: Annotated[int, known(tuple(FARGATE_MEMORY))] = Field(
        1024, description=f"CPU units of a task: {', '.join(map(str, FARGATE_MEMORY))}"
    )
    memory: int = Field(2048, description="MiB of a task that Fargate offers for its cpu")
    min_tasks: int = Field(1, ge=1, le=5000, description="fewest tasks, a whole number from 1")
    max_tasks: int = Field(
        4, ge=1, le=5000, description="most tasks, a whole number not below min_tasks"
    )
    spot: bool = Field(
        default=False, description="true (tasks beyond the first on Fargate Spot) or false"
    )
    target_cpu_percent: int = Field(
        60, ge=10, le=90, description="CPU use that the autoscaler aims at, 10 to 90"
    )
    target_requests_per_minute: int = Field(
        2400,
        ge=1,
        le=1_000_000,
        description="requests per task that the autoscaler aims at, from 1",
    )
    drain_seconds: int = Field(
        20, ge=1, le=110, description="seconds that requests in work get at a stop, 1 to 110"
    )
    vpc: Vpc | None = Field(
        None, description="a VPC such as vpc-0abc12345678def90; else the default one"
    )
    zones: tuple[Zone, ...] = Field(
        (), description="at least two zones such as eu-central-1a; else all of the VPC's subnets"
    )
    subnets: tuple[Subnet, ...] = Field(
        (), description="at least two subnets such as subnet-0abc12345678def90, in two zones"
    )
    public_ip: bool = Field(
        default=True,
        description="true, or false where the subnets reach AWS through a NAT or endpoints",
    )
    internal: bool = Field(
        default=False, description="true (only the VPC reaches the load balancer) or false"
    )
    allowed_cidrs: tuple[Network, ...] = Field(
        ("0.0.0.0/0",), min_length=1, description="networks that may ask, such as 203.0.113.0/24"
    )
    certificate_arn: Certificate | None = Field(
        None, description="the ARN of an ACM certificate in the same region, for https"
    )
    domain: Domain | None = Field(
        None, description="the certificate's name that points to the load balancer"
    )
    log_retention_days: Annotated[int, known(RETENTION_DAYS)] = Field(
        30, description=f"days: {', '.join(map(str, RETENTION_DAYS))}"
    )
    images_kept: int = Field(
        20, ge=2, le=1000, description="newest images that the registry keeps, 2 to 1000"
    )
    container_insights: bool = Field(
        default=False, description="true (paid metrics of every task) or false"
    )
    alarm_topic: Topic | None = Field(
        None, description="the ARN of an SNS topic that the alarms notify"
    )
    alarm_p99_seconds: float = Field(
        2.0, gt=0, le=60, strict=False, description="slowest 1 % that is no alarm, seconds up to 60"
    )
    alarm_error_percent: float = Field(
        5.0, gt=0, le=100, strict=False, description="5xx answers that are no alarm, percent"
    )
    secrets_key_arn: Key | None = Field(
        None, description="the ARN of the KMS key that encrypts the secrets, if it is your own"
    )
    environment: dict[Variable, EnvironmentValue] = Field(
        {}, description="variables of the service, as text; those of the README"
    )
    secrets: dict[Variable, SecretSource] = Field(
        {},
        description="an SSM parameter such as /mask/key, or the ARN of one or of a secret",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Config:
        """Check what concerns several fields; raises the first mistake."""
        offered = FARGATE_MEMORY[self.cpu]
        if self.memory not in offered:
            listed = ", ".join(map(str, offered))
            raise mistake("memory", self.memory, f"for cpu = {self.cpu}: {listed}")
        if self.max_tasks < self.min_tasks:
            raise mistake("max_tasks", self.max_tasks, f"at least min_tasks = {self.min_tasks}")
        for key, listed_names in (("zones", self.zones), ("subnets", self.subnets)):
            if listed_names and len(set(listed_names)) < 2:
                raise mistake(key, list(listed_names), "at least two different ones")
        if self.subnets and self.zones:
            raise mistake("zones", list(self.zones), "only where no subnets are given")
        if self.subnets and not self.vpc:
            raise mistake("subnets", list(self.subnets), "only together with their vpc")
        if self.domain and not self.certificate_arn:
            raise mistake("domain", self.domain, "only together with certificate_arn")
        if self.region:
            self.lies_in(self.region)
        self._environment_is_plain()
        return self

    def lies_in(self, region: str) -> None:
        """Check zones and ARNs against the region; raises PydanticCustomError, a ValueError."""
        for zone in self.zones:
            if zone[:-1] != region:
                raise mistake("zones", zone, f"only what lies in {region}")
        for key in ("certificate_arn", "alarm_topic", "secrets_key_arn"):
            arn = getattr(self, key)
            if arn and arn.split(":")[3] != region:
                raise mistake(key, arn, f"only what lies in {region}")

    def _environment_is_plain(self) -> None:
        for variable, value in self.environment.items():
            key = f"environment.{variable}"
            if variable in RESERVED:
                raise mistake(key, value, "nothing: the deployment sets it (see drain_seconds)")
            if variable.upper().split("_")[-1] in SECRET_WORDS:
                raise mistake(key, "...", "only under [secrets], so that it is not readable in ECS")
            if variable in self.secrets:
                raise mistake(key, value, "either here or under [secrets], not in both")


def mistake(key: str, value: object, allowed: str) -> PydanticCustomError:
    """Make the error of a rule that concerns several keys."""
    return PydanticCustomError(
        "rule", "{allowed}", {"key": key, "value": value, "allowed": allowed}
    )


def load(path: Path, overrides: dict[str, Any], *, required: bool = False) -> Config:
    """Read the file where there is one, lay the flags over it and check the whole.

    overrides: values by key; those of `environment` and `secrets` are added to the file's.
    Raises ConfigError with a line for each mistake.
    """
    values: dict[str, Any] = {}
    if path.exists():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{path}: not readable as TOML: {error}") from error
    elif required:
        raise ConfigError(f"{path}: there is no such file")
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(values.get(key), dict)
        values[key] = values[key] | value if both else value
    try:
        # Through JSON: strict then means TOML's own types, and a list may become a tuple.
        return Config.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        lines: dict[str, str] = {}
        for detail in error.errors():
            key, line = _explained(detail, path, overrides)
            lines.setdefault(key, line)
        raise ConfigError("\n".join(lines.values())) from error


def _explained(detail: ErrorDetails, path: Path, overrides: dict[str, Any]) -> tuple[str, str]:
    """Return the key of a mistake and its line: where, what was given, what is allowed."""
    if detail["type"] == "rule":
        context = detail["ctx"]
        key, value, allowed = context["key"], context["value"], context["allowed"]
    else:
        parts = [str(part) for part in detail["loc"] if part != "[key]"]
        field = Config.model_fields.get(parts[0])
        if field is None:
            near = (
                difflib.get_close_matches(parts[0], Config.model_fields, 1) or Config.model_fields
            )
            return parts[0], f"{path}: {parts[0]}: unknown key; known: {', '.join(near)}"
        table = parts[0] in {"environment", "secrets"}
        key, value, allowed = ".".join(parts[: 1 + table]), detail["input"], field.description
        if parts[0] == "secrets":
            value = "..."  # it may be the secret itself
    top, *variable = key.split(".")
    flag = " ".join([f"--{top.replace('_', '-')}", *variable])
    return (
        key,
        f"{flag if top in overrides else f'{path}: {key}'} = {_shown(value)}; allowed: {allowed}",
    )


def _shown(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "..."


def flag_value(key: str, text: str) -> Any:
    """Read a flag as TOML would: true, 512 or a bare word; a list is separated by commas."""
    if str(Config.model_fields[key].annotation).startswith("tuple"):
        return [part.strip() for part in text.split(",")]
    if re.fullmatch(r"true|false|-?\d+(\.\d+)?", text):
        return tomllib.loads(f"value = {text}")["value"]
    return text
