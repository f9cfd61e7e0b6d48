"""The parts of one application, passed around as one value."""

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

if TYPE_CHECKING:  # it costs memory, so it is imported only if traces are configured
    from service.tracing import Traces

NAME = "services"


@dataclass(frozen=True)
class Services:
    """The parts that requests share. traces: None if no collector is configured."""

    config: Config
    pool: InferencePool
    buffers: Buffers
    metrics: Metrics
    keys: Keys
    limit: RateLimit
    streams: Streams
    traces: Traces | None

    def attach(self, app: Flask) -> None:
        """Make these available to the application's requests through current_services()."""
        app.extensions[NAME] = self


def services_of(app: Flask) -> Services:
    """Return the services of an application."""
    return cast(Services, app.extensions[NAME])


def current_services() -> Services:
    """Return the services of the application that handles the current request."""
    return services_of(current_app)
