"""The image repository, and which of its images is meant."""

from __future__ import annotations

import json
from typing import Any

from deploy.aws import Aws, absent
from deploy.changes import Changes
from deploy.config import Config
from deploy.documents import lifecycle
from deploy.errors import DeployError
from deploy.names import Names, upper

SCAN = {"scanOnPush": True}


def find(aws: Aws, names: Names) -> dict[str, Any] | None:
    """Return the repository, or None."""
    found = absent(
        lambda: aws.ecr.describe_repositories(repositoryNames=[names.name]),
        "RepositoryNotFoundException",
    )
    return found["repositories"][0] if found else None


def address(aws: Aws, names: Names) -> str:
    """Return the address that images are pushed to; raises DeployError if there is none yet."""
    found = find(aws, names)
    if not found:
        raise DeployError(f"There is no image repository {names.name}. `python -m deploy up`")
    return str(found["repositoryUri"])


def repository(aws: Aws, config: Config, names: Names, changes: Changes) -> str:
    """Bring the repository about and return its address; tags are immutable, pushes are scanned."""
    found = find(aws, names)
    expected = f"{names.account}.dkr.ecr.{names.region}.amazonaws.com/{names.name}"
    rules = json.dumps(lifecycle(config), sort_keys=True)

    def keep() -> None:
        aws.ecr.put_lifecycle_policy(repositoryName=names.name, lifecyclePolicyText=rules)

    if found is None:

        def create() -> Any:
            made = aws.ecr.create_repository(
                repositoryName=names.name,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration=SCAN,
                tags=upper(names.tags),
            )
            keep()
            return made["repository"]["repositoryUri"]

        return str(changes.create("image repository", names.name, create) or expected)
    arn = found["repositoryArn"]
    names.claim(
        "image repository", names.name, aws.ecr.list_tags_for_resource(resourceArn=arn)["tags"]
    )
    if found["imageTagMutability"] != "IMMUTABLE":
        changes.change(
            "image repository",
            names.name,
            lambda: aws.ecr.put_image_tag_mutability(
                repositoryName=names.name, imageTagMutability="IMMUTABLE"
            ),
            "tags become immutable",
        )
    if not found.get("imageScanningConfiguration", {}).get("scanOnPush"):
        changes.change(
            "image repository",
            names.name,
            lambda: aws.ecr.put_image_scanning_configuration(
                repositoryName=names.name, imageScanningConfiguration=SCAN
            ),
            "images are scanned",
        )
    kept = absent(
        lambda: aws.ecr.get_lifecycle_policy(repositoryName=names.name),
        "LifecyclePolicyNotFoundException",
    )
    if kept is None or json.loads(kept["lifecyclePolicyText"]) != lifecycle(config):
        changes.change(
            "image repository", names.name, keep, f"the newest {config.images_kept} images are kept"
        )
    return str(found["repositoryUri"])


def digest_of(aws: Aws, names: Names, image: str) -> str | None:
    """Return the digest of an image given by tag or digest, None where there is none."""
    key = "imageDigest" if image.startswith("sha256:") else "imageTag"
    found = absent(
        lambda: aws.ecr.describe_images(repositoryName=names.name, imageIds=[{key: image}]),
        *("ImageNotFoundException", "RepositoryNotFoundException"),
    )
    return str(found["imageDetails"][0]["imageDigest"]) if found else None


def require(aws: Aws, names: Names, image: str) -> str:
    """Return the digest of an image that must be there; raises DeployError if it is not."""
    digest = digest_of(aws, names, image)
    if digest is None:
        raise DeployError(
            f"There is no image {image} in the repository {names.name}. `python -m deploy push` "
            "makes one of this checkout; without --image, `up` does so itself."
        )
    return digest
