"""The image: names it after its commit, builds it and pushes it to the registry."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from typing import Any

from docker.client import from_env
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deploy import registry
from deploy.aws import Aws
from deploy.config import Config
from deploy.console import ERR, note, waiting
from deploy.errors import DeployError

# What goes into the image; a change of anything else makes no new one.
SOURCES = ("Dockerfile", ".dockerignore", "docker", "model", "service")
PLATFORM = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
BASE = "BASE_IMAGE"  # names another base in the environment, as for compose


def git(*arguments: str) -> str:
    """Ask git about this checkout; raises DeployError where there is none."""
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(
            f"git says: {done.stderr.strip()} Run this in the checkout, or name an image that is "
            "in the registry with --image."
        )
    return done.stdout.rstrip()


def tag_of_checkout(config: Config) -> str:
    """Return the tag of the checkout's image: commit, architecture and, if not ours, the base.

    The commit is the last one that changed what goes into the image. Raises DeployError where
    files differ from it: such an image could never be made again.
    """
    if changed := git("status", "--porcelain", "--", *SOURCES):
        listed = ", ".join(line[3:] for line in changed.splitlines()[:5])
        raise DeployError(
            f"Not committed, so no commit could name the image: {listed}. Commit, or name an image "
            "that is in the registry with --image."
        )
    commit = git("log", "-1", "--format=%H", "--", *SOURCES)
    if not commit:
        raise DeployError("This checkout has no commit with a Dockerfile.")
    base = os.environ.get(BASE, "")
    digest = hashlib.sha256(base.encode()).hexdigest()[:8]
    return "-".join([commit[:12], config.architecture, *([digest] if base else [])])


def tag_of(local: str) -> str:
    """Return the tag of a local image; raises DeployError where it says nothing."""
    name, _, tag = local.rpartition(":")
    if not name or "/" in tag or tag == "latest":
        raise DeployError(f"{local} has no tag that means one image: docker tag {local} NAME:TAG")
    return tag


def engine() -> Any:
    """Return the Docker engine's client; raises DeployError if it does not answer."""
    try:
        client = from_env(timeout=120)
        client.ping()
    except (DockerException, RequestException) as error:
        raise DeployError(
            f"The Docker engine does not answer ({error}). Start it: https://docs.docker.com/get-docker"
        ) from error
    return client


def build(config: Config, reference: str) -> None:
    """Build the Dockerfile for the target architecture, under the reference."""
    if not shutil.which("docker"):
        raise DeployError("There is no `docker` command: https://docs.docker.com/get-docker")
    base = os.environ.get(BASE)
    done = subprocess.run(  # noqa: S603
        [
            *("docker", "build", "--platform", PLATFORM[config.architecture], "--tag", reference),
            *(["--build-arg", f"{BASE}={base}"] if base else []),
            ".",
        ],
        env=os.environ | {"DOCKER_BUILDKIT": "1"},
        stdout=2,  # the build's own progress
        check=False,
    )
    if done.returncode:
        raise DeployError(
            f"docker build failed. For {config.architecture} on another machine Docker needs "
            "emulation: docker run --privileged --rm tonistiigi/binfmt --install all"
        )


def check_architecture(config: Config, image: Any) -> None:
    """Raise DeployError unless the local image is of the architecture that Fargate will run."""
    system, found = image.attrs["Os"], image.attrs["Architecture"]
    if system != "linux" or registry.ARCHITECTURES.get(found, found) != config.architecture:
        raise DeployError(
            f"The image is of {system}/{found}, the tasks are {config.architecture}: it would not "
            f"start there. Build it for {PLATFORM[config.architecture]}, or set `architecture`."
        )


def push(aws: Aws, config: Config, tag: str, local: str = "") -> str:
    """Bring the checkout's image, or a local one, into the registry; returns its digest.

    A tag that is there is left alone, since it cannot come to mean another image. The registry's
    password goes from AWS to the engine and nowhere else.
    """
    address = registry.ensure(aws, config)
    if digest := registry.digest_of(aws, config, tag):
        if local:
            note(f"The registry has {tag} already; nothing was pushed.")
        return digest
    client = engine()
    if not local:
        build(config, f"{address}:{tag}")
    try:
        image = client.images.get(local or f"{address}:{tag}")
    except ImageNotFound:
        raise DeployError(f"There is no image {local} here; `docker images` lists them.") from None
    check_architecture(config, image)
    image.tag(address, tag)
    upload(client, address, tag, credentials(aws))
    # The push itself tells a digest with some of Docker's image stores only.
    digest = registry.digest_of(aws, config, tag)
    if not digest:
        raise DeployError("The registry did not keep the image. Push again.")
    note(f"pushed {address}:{tag}, {digest}")
    return digest


def fetch(aws: Aws, client: Any, reference: str, platform: str) -> None:
    """Pull an image from the registry unless it is here."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        with waiting(f"pulling {reference}"):
            try:
                client.api.pull(reference, auth_config=credentials(aws), platform=platform)
            except APIError as error:
                raise DeployError(f"The image could not be pulled: {error.explanation}") from error


def credentials(aws: Aws) -> dict[str, str]:
    """Return the registry's user and password, which AWS hands out for some hours."""
    token = aws.ecr.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
    return {"username": user, "password": password}


def upload(client: Any, address: str, tag: str, login: dict[str, str]) -> None:
    """Push and show how far it is; raises DeployError with what the registry says."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal) as progress:
        bars: dict[str, Any] = {}
        try:
            for event in client.api.push(
                address, tag=tag, stream=True, decode=True, auth_config=login
            ):
                if "error" in event:
                    raise DeployError(f"The registry refused the image: {event['error']}")
                show(progress, bars, event)
        except (DockerException, RequestException) as error:
            raise DeployError(
                f"The push broke off ({error}). Push again; layers that are there stay."
            ) from error


def show(progress: Progress, bars: dict[str, Any], event: dict[str, Any]) -> None:
    """Move the bar of the layer that the event is about."""
    layer, detail = event.get("id", ""), event.get("progressDetail") or {}
    if not layer or not detail.get("total"):
        return
    if layer not in bars:
        bars[layer] = progress.add_task(f"layer {layer}", total=detail["total"])
        if not ERR.is_terminal:
            note(f"pushing layer {layer}, {detail['total'] / 1e6:.1f} MB")
    progress.update(bars[layer], completed=detail["current"], total=detail["total"])
