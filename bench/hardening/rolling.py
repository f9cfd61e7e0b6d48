"""Replace two containers behind HAProxy one by one under load; no request may fail.

    python -m bench.hardening.rolling --rounds 3

This is the setup of `make replicas`. If the public HAProxy image cannot be pulled, an image is
built from Debian's package.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping
from unittest import SkipTest

from rich.progress import track

from bench.hardening.engine import BASE_IMAGE, docker, lacking
from bench.hardening.load import Ask, Outcome, keep_asking
from bench.hardening.rows import Row, command
from bench.servers import free_port

PROXY_IMAGE = os.environ.get("PROXY_IMAGE", "haproxy:3.2")
STAND_IN = "facemask-haproxy:trial"
CLIENTS = 2  # of each kind; few, because the two cores must also start containers
COMPOSE = ("compose", "-f", "docker-compose.yml", "-f", "docker/proxy/compose.yml")


def proxy_image() -> str:
    """Return the name of an image with HAProxy; empty if none is available."""
    for image in (PROXY_IMAGE, STAND_IN):
        if docker("image", "inspect", image, check=False):
            return image
    if docker("pull", PROXY_IMAGE, check=False):
        return PROXY_IMAGE
    recipe = (
        f"FROM {BASE_IMAGE}\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends haproxy\n"
    )
    built = subprocess.run(  # noqa: S603 (our own command)
        ["docker", "build", "--quiet", "--tag", STAND_IN, "-"],  # noqa: S607 (wherever it is installed)
        input=recipe.encode(),
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
        capture_output=True,
        check=False,
    )
    return STAND_IN if built.returncode == 0 else ""


def replace(service: str, environ: Mapping[str, str]) -> None:
    """Stop a container, create it again, and wait until it is healthy."""
    up = ("up", "--no-deps", "--no-build", "--force-recreate", "--detach", "--wait")
    docker(*COMPOSE, *up, service, environ=environ)


def run(rounds: int = 3) -> list[Row]:
    """Replace both containers in each round; skips if Docker or HAProxy is missing."""
    if reason := lacking():
        raise SkipTest(reason)
    image = proxy_image()
    if not image:
        raise SkipTest(
            f"needs HAProxy; {PROXY_IMAGE} cannot be pulled, and Debian's cannot be installed"
        )
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
        docker(*COMPOSE, "build", "mask", environ=environ)
        docker(*COMPOSE, "up", "--no-build", "--detach", "--wait", environ=environ)
        for thread in threads:
            thread.start()
        for _ in track(range(rounds), "rolling restart"):
            for service in ("mask", "twin"):
                replace(service, environ)
                seen.add(docker(*COMPOSE, "ps", "--quiet", service, environ=environ).strip())
                time.sleep(2)  # the proxy checks its servers once a second
        stop.set()
        for thread in threads:
            thread.join(120)
    finally:
        stop.set()
        docker(*COMPOSE, "down", "--timeout", "30", environ=environ)
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
    command(run, __doc__, "--rounds 1", rounds="how often to replace both")
