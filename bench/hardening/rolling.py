"""Two containers behind HAProxy are replaced one by one under load: no request fails.

    python -m tests.hardening.rolling --rounds 3

It is what `make replicas` starts, and what it does again. Where the public image of HAProxy cannot
be pulled, one is made of Debian's package.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter

import pytest
from rich.progress import track

from tests.conftest import free_port
from tests.container.engine import BASE_IMAGE, docker, lacking
from tests.hardening.load import Ask, Outcome, keep_asking
from tests.hardening.rows import Row, command

PROXY_IMAGE = os.environ.get("PROXY_IMAGE", "haproxy:3.2")
STAND_IN = "facemask-haproxy:trial"
CLIENTS = 2  # of each kind; the two cores must also start containers
COMPOSE = ("compose", "-f", "docker-compose.yml", "-f", "docker/proxy/compose.yml")


def proxy_image() -> str:
    """Return an image with HAProxy; nothing where none can be had."""
    for image in (PROXY_IMAGE, STAND_IN):
        if docker("image", "inspect", image, check=False):
            return image
    if docker("pull", PROXY_IMAGE, check=False):
        return PROXY_IMAGE
    recipe = (
        f"FROM {BASE_IMAGE}\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends haproxy\n"
    )
    built = subprocess.run(
        ["docker", "build", "--quiet", "--tag", STAND_IN, "-"],
        input=recipe.encode(),
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
        capture_output=True,
        check=False,
    )
    return STAND_IN if built.returncode == 0 else ""


def replace(service: str, **environ: str) -> None:
    """Stop a container, make it anew, and wait until it is healthy."""
    up = ("up", "--no-deps", "--no-build", "--force-recreate", "--detach", "--wait")
    docker(*COMPOSE, *up, service, **environ)


def run(rounds: int = 3) -> list[Row]:
    """Replace both containers so many times; skips where there is no Docker or no proxy."""
    if reason := lacking():
        pytest.skip(reason)
    image = proxy_image()
    if not image:
        pytest.skip(f"needs HAProxy: {PROXY_IMAGE} cannot be pulled, nor Debian's be installed")
    port = free_port()
    environ = {
        "PORT": str(port),
        "IMAGE": "facemask:test",
        "PROXY_IMAGE": image,
        "CPUS": "1",
        "COMPOSE_PROJECT_NAME": "maskrolling",
    }
    outcomes: Counter[Outcome] = Counter()
    stop = threading.Event()
    asks = [Ask(port, keep=keep, pause_s=0.02) for keep in (True, False) for _ in range(CLIENTS)]
    threads = [
        threading.Thread(target=keep_asking, args=(ask, outcomes, stop), daemon=True)
        for ask in asks
    ]
    seen: set[str] = set()
    try:
        docker(*COMPOSE, "build", "mask", **environ)
        docker(*COMPOSE, "up", "--no-build", "--detach", "--wait", **environ)
        for thread in threads:
            thread.start()
        for _ in track(range(rounds), "rolling restart"):
            for service in ("mask", "twin"):
                replace(service, **environ)
                seen.add(docker(*COMPOSE, "ps", "--quiet", service, **environ).strip())
                time.sleep(2)  # the proxy looks once a second who is there
        stop.set()
        for thread in threads:
            thread.join(60)
    finally:
        stop.set()
        docker(*COMPOSE, "down", "--timeout", "30", **environ)
    failed = {o.name.lower(): n for o, n in outcomes.items() if o is not Outcome.ANSWERED}
    answered = outcomes[Outcome.ANSWERED]
    return [
        Row(
            f"rolling restart of two containers behind HAProxy, {rounds} times",
            "0 failed requests",
            f"{answered} answered, failed: {failed or 0}, {len(seen)} new containers",
            answered > 0 and not failed and len(seen) == 2 * rounds,
        )
    ]


if __name__ == "__main__":
    command(run, __doc__, "--rounds 1", rounds="how often both are replaced")
