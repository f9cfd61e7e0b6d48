"""The service's settings, all read from the environment here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from model.choices import (
    DEFAULT_DETECTOR,
    DEFAULT_MIN_CONFIDENCE,
    DEFAULT_MODEL,
    LEAST_CONFIDENCE,
    DetectorName,
    ModelName,
)

# Not shown in errors: the value may be a key instead of its digest, or an address with a password.
SECRET = {"API_KEYS", "OTEL_EXPORTER_OTLP_ENDPOINT"}

SLOWEST = 0.001  # frames per second


class ConfigError(ValueError):
    """A variable has an invalid value; the message names the variable."""


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of CPU cores this process may use; a container's limit is rounded down."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    files = (
        (cgroup / "cpu.max",),
        (cgroup / "cpu/cpu.cfs_quota_us", cgroup / "cpu/cpu.cfs_period_us"),
    )
    for version in files:
        if all(file.exists() for file in version):
            quota, period = " ".join(file.read_text() for file in version).split()
            if quota not in {"max", "-1"}:
                return max(1, min(count or 1, int(quota) // int(period)))
    return count or 1


def split(text: str) -> list[str]:
    """Return the parts of a comma-separated list; raises ValueError if it is empty."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError("the list is empty")
    return parts


def digest(text: str) -> str:
    """Return a SHA-256 digest in lower case; raises ValueError for any other text."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("a SHA-256 digest has 64 hex digits; `python -m service.keys` makes one")
    return text.lower()


def unbracketed(text: str) -> str:
    """Return an IPv6 address without the brackets of its URL form."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def host(text: str) -> str:
    """Return a host name in lower case, or `*`; raises ValueError."""
    if not re.fullmatch(r"\*|\.?[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*", text):
        raise ValueError(
            "a host is written mask.example.org, without a port; .example.org stands for it and "
            "its subdomains, * for any; IP addresses are always allowed"
        )
    return text.lower()


def origin(text: str) -> str:
    """Return the origin of a web page in lower case, as browsers send it; raises ValueError."""
    if not re.fullmatch(r"[a-zA-Z][\w+.-]*://[\w.-]+(:\d{1,5})?", text, re.ASCII):
        raise ValueError("an origin is written https://example.org or https://example.org:8443")
    return text.lower()


def rate(value: float) -> float:
    """Return a rate in frames per second; raises ValueError for one between 0 and SLOWEST."""
    if 0 < value < SLOWEST:
        raise ValueError(f"give 0 for no limit, or at least {SLOWEST:g}")
    return value


def endpoint(text: str) -> str:
    """Return the address of a collector; raises ValueError if it is not an HTTP address."""
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text, re.ASCII):
        raise ValueError("a collector's address is written http://collector:4318")
    return text


class Config(BaseModel):
    """Every variable with its default; docs/settings.md explains them."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    HOST: Annotated[str, Field(min_length=1), BeforeValidator(unbracketed)] = "127.0.0.1"
    PORT: int = Field(8000, ge=1, le=65535)
    METRICS_PORT: int = Field(0, ge=0, le=65535)
    MODEL: ModelName = DEFAULT_MODEL
    DETECTOR: DetectorName = DEFAULT_DETECTOR
    DETECTORS: Annotated[tuple[DetectorName, ...], BeforeValidator(split)] = ()
    MIN_CONFIDENCE: float = Field(DEFAULT_MIN_CONFIDENCE, ge=LEAST_CONFIDENCE, le=1)
    MAX_BODY_BYTES: int = Field(10_000_000, ge=1000)
    MAX_PIXELS: int = Field(50_000_000, ge=1)
    MAX_FACES: int = Field(50, ge=1, le=1000)
    CLIENT_TIMEOUT: int = Field(20, ge=1)
    INFERENCE_SLOTS: int = Field(default_factory=cores, ge=1, le=256)
    INFERENCE_TIMEOUT: int = Field(60, ge=1)
    QUEUE_SIZE: int = Field(16, ge=0, le=1000)
    MAX_STREAMS: int = Field(16, ge=0, le=256)
    MAX_STREAMS_PER_CLIENT: int = Field(16, ge=1, le=256)
    STREAM_IDLE_TIMEOUT: int = Field(60, ge=1)
    GRACEFUL_TIMEOUT: int = Field(20, ge=1)
    API_KEYS: Annotated[
        tuple[Annotated[str, AfterValidator(digest)], ...], BeforeValidator(split)
    ] = ()
    API_KEYS_FILE: Path | None = None
    ALLOWED_HOSTS: Annotated[
        tuple[Annotated[str, AfterValidator(host)], ...], BeforeValidator(split)
    ] = ()
    CORS_ORIGINS: Annotated[
        tuple[Annotated[str, AfterValidator(origin)], ...], BeforeValidator(split)
    ] = ()
    TRUSTED_PROXIES: int = Field(0, ge=0, le=10)
    RATE_LIMIT: Annotated[float, AfterValidator(rate)] = Field(0, ge=0, allow_inf_nan=False)
    OTEL_EXPORTER_OTLP_ENDPOINT: Annotated[str, AfterValidator(endpoint)] | None = None
    LOG_LEVEL: Literal["debug", "info", "warning", "error"] = "info"
    LOG_FORMAT: Literal["text", "json"] = "text"

    @field_validator("METRICS_PORT")
    @classmethod
    def is_another_port(cls, port: int, info: ValidationInfo) -> int:
        """Reject the value of PORT; 0 already means that /metrics is on PORT."""
        if port == info.data.get("PORT"):
            raise ValueError("give a port other than PORT, or 0 for the same port")
        return port

    @property
    def offered(self) -> tuple[DetectorName, ...]:
        """The detectors that a request may choose.

        They are DETECTOR and those in DETECTORS. If DETECTORS is empty, they are DETECTOR and all
        cheaper ones.
        """
        ranked: tuple[DetectorName, ...] = get_args(DetectorName)
        named = self.DETECTORS or ranked[: ranked.index(self.DETECTOR) + 1]
        return tuple(dict.fromkeys((self.DETECTOR, *named)))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that the service answers to; check_host() also takes IP addresses."""
        return ("localhost", self.HOST.lower(), *self.ALLOWED_HOSTS)

    @property
    def needs_keys(self) -> bool:
        """Whether clients must send an API key."""
        return bool(self.API_KEYS or self.API_KEYS_FILE)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Config:
        """Read the variables that are set and not empty; raises ConfigError naming invalid ones."""
        given = {name: environ[name] for name in cls.model_fields if environ.get(name)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            lines = [
                f"{e['loc'][0]}={'...' if e['loc'][0] in SECRET else repr(e['input'])}: {e['msg']}"
                for e in error.errors()
            ]
            raise ConfigError("Bad configuration. " + "; ".join(lines)) from error
