"""The image repository and its images."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

from deploy.aws import Aws, absent
from deploy.config import Config
from deploy.console import say
from deploy.document import Document
from deploy.errors import DeployError
from deploy.stack import claim

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}


def find(aws: Aws, config: Config) -> Any:
    """Return the repository, or None; raises DeployError if it is not this deployment's."""
    found = absent(
        lambda: aws.ecr.describe_repositories(repositoryNames=[config.name]),
        "RepositoryNotFoundException",
    )
    if not found:
        return None
    repository = found["repositories"][0]
    arn = repository["repositoryArn"]
    claim(
        config,
        f"image repository {config.name}",
        aws.ecr.list_tags_for_resource(resourceArn=arn)["tags"],
    )
    return repository


def lifecycle(config: Config) -> Document:
    """Return the lifecycle policy: keep the newest images, and untagged ones for a day."""
    untagged = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days"}
    beyond = {"tagStatus": "any", "countType": "imageCountMoreThan"}
    selections = [untagged | {"countNumber": 1}, beyond | {"countNumber": config.images_kept}]
    expire = {"action": {"type": "expire"}}
    return {
        "rules": [
            {"rulePriority": number, "selection": selection, **expire}
            for number, selection in enumerate(selections, 1)
        ]
    }


def ensure(aws: Aws, config: Config) -> str:
    """Create the repository if it does not exist, and return its address; tags are immutable."""
    found = find(aws, config)
    if not found:
        say(f"  + create   image repository {config.name}", "green")
        found = aws.ecr.create_repository(
            repositoryName=config.name,
            imageTagMutability="IMMUTABLE",
            imageScanningConfiguration={"scanOnPush": True},
            tags=config.tags,
        )["repository"]
    kept = absent(
        lambda: aws.ecr.get_lifecycle_policy(repositoryName=config.name),
        "LifecyclePolicyNotFoundException",
    )
    if kept is None or json.loads(kept["lifecyclePolicyText"]) != lifecycle(config):
        say(f"  ~ change   image repository {config.name}: keeps {config.images_kept} images")
        aws.ecr.put_lifecycle_policy(
            repositoryName=config.name, lifecyclePolicyText=json.dumps(lifecycle(config))
        )
    return str(found["repositoryUri"])


def digest_of(aws: Aws, config: Config, image: str) -> str | None:
    """Return the digest of an image given by tag or digest, None if it does not exist."""
    key = "imageDigest" if image.startswith("sha256:") else "imageTag"
    found = absent(
        lambda: aws.ecr.describe_images(repositoryName=config.name, imageIds=[{key: image}]),
        *("ImageNotFoundException", "RepositoryNotFoundException"),
    )
    return str(found["imageDetails"][0]["imageDigest"]) if found else None


def require(aws: Aws, config: Config, image: str) -> str:
    """Return the digest of an image; raises DeployError if it is missing or cannot run."""
    digest = digest_of(aws, config, image)
    if digest is None:
        raise DeployError(
            f"There is no image {image} in the repository {config.name}. `python -m deploy push` "
            "pushes this checkout's image; without --image, `up` does so itself."
        )
    found = architectures(aws, config, digest)
    if config.architecture not in found:
        raise DeployError(
            f"The image {image} is for {', '.join(sorted(found)) or 'no known architecture'}, but "
            f"the tasks are {config.architecture}, so it would not start. Set `architecture`."
        )
    return digest


def architectures(aws: Aws, config: Config, digest: str) -> set[str]:
    """Return the architectures of an image in the registry."""
    manifest = json.loads(
        aws.ecr.batch_get_image(
            repositoryName=config.name,
            imageIds=[{"imageDigest": digest}],
            acceptedMediaTypes=[*INDEXES, *MANIFESTS],
        )["images"][0]["imageManifest"]
    )
    if "manifests" in manifest:
        names = {item.get("platform", {}).get("architecture") for item in manifest["manifests"]}
    else:
        url = aws.ecr.get_download_url_for_layer(
            repositoryName=config.name, layerDigest=manifest["config"]["digest"]
        )["downloadUrl"]
        with urlopen(url, timeout=30) as answer:  # noqa: S310 (AWS gives the address)
            names = {json.load(answer).get("architecture")}
    return {ARCHITECTURES.get(name, name) for name in names if name and name != "unknown"}
