"""What one application is made of, handed on as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

from service.buffers import Buffers
from service.config import Config
from service.inference import InferencePool
from service.keys import Keys
from service.limits import RateLimit, Streams
from service.metrics import Metrics

if TYPE_CHECKING:  # importing it costs memory, so it is imported only where traces are wanted
    from service.tracing import Traces

NAME = "services"


@dataclass(frozen=True)
class Services:
    """The parts that requests share. traces: None where no collector is configured."""

    config: Config
    pool: InferencePool
    buffers: Buffers
    metrics: Metrics
    keys: Keys
    limit: RateLimit
    streams: Streams
    traces: Traces | None

    def attach(self, app: Flask) -> None:
        """Let current_services() find these from the application's requests."""
        app.extensions[NAME] = self


def services_of(app: Flask) -> Services:
    """Return what an application is made of."""
    return cast(Services, app.extensions[NAME])


def current_services() -> Services:
    """Return what the application is made of that handles the current request."""
    return services_of(current_app)
