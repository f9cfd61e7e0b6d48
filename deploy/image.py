"""Name the image after its commit, build it and push it to the registry."""

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

# The contents of the image; other changes need no new image.
SOURCES = ("Dockerfile", ".dockerignore", "docker", "model", "service")
PLATFORM = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
BASE = "BASE_IMAGE"  # environment variable for another base image, as in docker-compose.yml


def git(*arguments: str) -> str:
    """Run git in this checkout and return its output; raises DeployError if git fails."""
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(
            f"git failed: {done.stderr.strip()} Run this in the checkout, or use --image to name "
            "an image that is in the registry."
        )
    return done.stdout.rstrip()


def tag_of_checkout(config: Config) -> str:
    """Return the tag of the checkout's image: commit, architecture and, with BASE_IMAGE, its hash.

    The commit is the last one that changed the image's contents. Raises DeployError if files have
    uncommitted changes, as such an image could not be rebuilt later.
    """
    if changed := git("status", "--porcelain", "--", *SOURCES):
        listed = ", ".join(line[3:] for line in changed.splitlines()[:5])
        raise DeployError(
            f"Files are not committed, so no commit can name the image: {listed}. Commit them, or "
            "use --image to name an image that is in the registry."
        )
    commit = git("log", "-1", "--format=%H", "--", *SOURCES)
    if not commit:
        raise DeployError("This checkout has no commit with a Dockerfile.")
    base = os.environ.get(BASE, "")
    digest = hashlib.sha256(base.encode()).hexdigest()[:8]
    return "-".join([commit[:12], config.architecture, *([digest] if base else [])])


def tag_of(local: str) -> str:
    """Return the tag of a local image; raises DeployError if it has none or `latest`."""
    name, _, tag = local.rpartition(":")
    if not name or "/" in tag or tag == "latest":
        raise DeployError(f"{local} has no unique tag. Set one: docker tag {local} NAME:TAG")
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
    """Build the image for the target architecture and tag it with the reference."""
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
            f"docker build failed. To build for {config.architecture} on another architecture, "
            "install emulation: docker run --privileged --rm tonistiigi/binfmt --install all"
        )


def check_architecture(config: Config, image: Any) -> None:
    """Raise DeployError unless the local image has the architecture of the tasks."""
    system, found = image.attrs["Os"], image.attrs["Architecture"]
    if system != "linux" or registry.ARCHITECTURES.get(found, found) != config.architecture:
        raise DeployError(
            f"The image is for {system}/{found}, but the tasks are {config.architecture}, so it "
            f"would not start. Build it for {PLATFORM[config.architecture]}, or set `architecture`."
        )


def push(aws: Aws, config: Config, tag: str, local: str = "") -> str:
    """Push the checkout's image, or a local one, to the registry; returns its digest.

    A tag that already exists is not pushed again, as tags are immutable. The registry's password
    is passed from AWS to the engine only and is not stored.
    """
    address = registry.ensure(aws, config)
    if digest := registry.digest_of(aws, config, tag):
        if local:
            note(f"The registry already has {tag}; nothing was pushed.")
        return digest
    client = engine()
    if not local:
        build(config, f"{address}:{tag}")
    try:
        image = client.images.get(local or f"{address}:{tag}")
    except ImageNotFound:
        raise DeployError(
            f"There is no local image {local}; `docker images` lists all images."
        ) from None
    check_architecture(config, image)
    image.tag(address, tag)
    upload(client, address, tag, credentials(aws))
    # The push itself reports a digest only with some of Docker's image stores.
    digest = registry.digest_of(aws, config, tag)
    if not digest:
        raise DeployError("The registry did not keep the image. Push again.")
    note(f"pushed {address}:{tag}, {digest}")
    return digest


def fetch(aws: Aws, client: Any, reference: str, platform: str) -> None:
    """Pull an image from the registry unless it exists locally."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        with waiting(f"pulling {reference}"):
            try:
                client.api.pull(reference, auth_config=credentials(aws), platform=platform)
            except APIError as error:
                raise DeployError(f"The image could not be pulled: {error.explanation}") from error


def credentials(aws: Aws) -> dict[str, str]:
    """Return the registry's user and password; AWS issues them for some hours."""
    token = aws.ecr.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
    return {"username": user, "password": password}


def upload(client: Any, address: str, tag: str, login: dict[str, str]) -> None:
    """Push and show the progress; raises DeployError with the registry's message."""
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
                f"The push was interrupted ({error}). Push again; finished layers are kept."
            ) from error


def show(progress: Progress, bars: dict[str, Any], event: dict[str, Any]) -> None:
    """Update the bar of the event's layer."""
    layer, detail = event.get("id", ""), event.get("progressDetail") or {}
    if not layer or not detail.get("total"):
        return
    if layer not in bars:
        bars[layer] = progress.add_task(f"layer {layer}", total=detail["total"])
        if not ERR.is_terminal:
            note(f"pushing layer {layer}, {detail['total'] / 1e6:.1f} MB")
    progress.update(bars[layer], completed=detail["current"], total=detail["total"])
