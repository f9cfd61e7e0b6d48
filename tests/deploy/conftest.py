"""Fixtures of the deployment's tests: an AWS account in moto, and the commands against it."""

import base64
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from moto import mock_aws
from moto.core.responses import ActionResult
from moto.ecr.responses import ECRResponse
from moto.iam.responses import IamResponse
from moto.server import ThreadedMotoServer

from deploy.__main__ import main
from deploy.network import PREFIX_LIST
from tests.deploy import ecs, engine

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret-never-printed",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}


@dataclass(frozen=True)
class Done:
    """A command's exit code and output."""

    code: int
    out: str
    err: str

    @property
    def changes(self) -> list[str]:
        """The lines of output that report a change."""
        return [
            line for line in self.out.splitlines() if line[:4] in {"  + ", "  ~ ", "  - ", "  ! "}
        ]


@dataclass(frozen=True)
class Cloud:
    """A whole AWS account: moto, and our stand-in for parts of ECS."""

    ecs: ecs.State

    def client(self, service: str) -> Any:
        return boto3.client(service)

    def put_image(self, tag: str, repository: str = "facemask", architecture: str = "amd64") -> str:
        """Put an image's manifest into the registry, as a push would; return its digest."""
        client = self.client("ecr")
        try:
            client.describe_repositories(repositoryNames=[repository])
        except client.exceptions.RepositoryNotFoundException:
            raise AssertionError("there is no repository yet") from None
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"digest": f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"},
            "layers": [],
        }
        BLOBS[manifest["config"]["digest"]] = json.dumps({"architecture": architecture}).encode()
        text = json.dumps(manifest)
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        image = client.put_image(
            repositoryName=repository, imageManifest=text, imageTag=tag, imageDigest=digest
        )
        return str(image["image"]["imageId"]["imageDigest"])


BLOBS: dict[str, bytes] = {}  # the registry's layers and configs, by digest


def download_url(self: ECRResponse) -> ActionResult:
    """Answer with the address of a layer, as a data URL; moto does not implement it."""
    digest = self._get_param("layerDigest")
    blob = base64.b64encode(BLOBS[digest]).decode()
    return ActionResult({"downloadUrl": f"data:application/json;base64,{blob}"})


LOADER = create_loader()  # parses AWS's large service descriptions once, not per command


@contextmanager
def account(folder: Path) -> Iterator[Cloud]:
    """Return an empty account; the environment and the folder lead to no other."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        patch.setattr("botocore.session.create_loader", lambda _: LOADER)
        patch.setattr("deploy.stack.POLL_S", 0.01)
        patch.chdir(folder)
        (folder / "deploy.toml").write_text("open = true\n")
        patch.setattr(ECRResponse, "get_download_url_for_layer", download_url)
        patch.setattr(IamResponse, "simulate_principal_policy", simulate, raising=False)
        with mock_aws(), ecs.patched() as state, engine.patched():
            make_prefix_list()
            yield Cloud(state)


def make_prefix_list() -> None:
    """Create CloudFront's prefix list, which AWS manages itself."""
    boto3.client("ec2").create_managed_prefix_list(
        PrefixListName=PREFIX_LIST, MaxEntries=1, AddressFamily="IPv4"
    )


def simulate(self: IamResponse) -> ActionResult:
    """Allow everything that a test does not deny; moto does not simulate policies."""
    return ActionResult(
        {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalDecision": "implicitDeny" if action in DENIED else "allowed",
                }
                for action in self._get_param("ActionNames")
            ]
        }
    )


DENIED: set[str] = set()


@contextmanager
def over_http() -> Iterator[str]:
    """Serve the same account over HTTP, for other processes; yield its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs a line per call
    web = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    web.start()
    try:
        yield "http://{}:{}".format(*web.get_host_and_port())
    finally:
        web.stop()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with account(tmp_path) as made:
        yield made


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run
