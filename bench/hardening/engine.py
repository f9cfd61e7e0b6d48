"""Run Docker, for the tests and trials that need it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from bench.servers import ROOT

BASE_IMAGE = os.environ.get("BASE_IMAGE", "python:3.12-slim-bookworm")


def docker(*arguments: str, check: bool = True, environ: Mapping[str, str] | None = None) -> str:
    """Run a docker command and return its standard output, empty if it failed.

    check: raise RuntimeError with its output if it fails.
    """
    process = subprocess.run(  # noqa: S603 (our own commands)
        ["docker", *arguments],  # noqa: S607 (wherever it is installed)
        cwd=ROOT,
        env=os.environ | {"BASE_IMAGE": BASE_IMAGE, "DOCKER_BUILDKIT": "1"} | dict(environ or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and process.returncode != 0:
        raise RuntimeError(process.stdout + process.stderr)
    return process.stdout if process.returncode == 0 else ""


def lacking() -> str:
    """Return what is missing to build and run the image; empty if nothing is."""
    if shutil.which("docker") is None or not docker("info", check=False):
        return "needs a running Docker engine"
    if not docker("compose", "version", check=False):
        return "needs docker compose v2"
    present = docker("image", "inspect", BASE_IMAGE, check=False)
    if not present and not docker("pull", BASE_IMAGE, check=False):
        return f"the base image {BASE_IMAGE} cannot be pulled; set BASE_IMAGE to another one"
    return ""


def build(image: str) -> None:
    """Build the service's image."""
    docker("build", "--quiet", "--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--tag", image, ".")


def logs(container: str) -> str:
    """Return a container's standard output and standard error."""
    process = subprocess.run(  # noqa: S603 (our own command)
        ["docker", "logs", container],  # noqa: S607 (wherever it is installed)
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return process.stdout
