"""What the tests of the deployment share: an AWS that is moto, and the commands against it."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from moto import mock_aws
from moto.server import ThreadedMotoServer

from deploy.__main__ import main
from tests.conftest import ROOT
from tests.deploy import ecs

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
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def changes(self) -> list[str]:
        """The lines that tell of a change."""
        return [line for line in self.out.splitlines() if line[:4] in {"  + ", "  ~ ", "  - "}]


@dataclass(frozen=True)
class Cloud:
    """A whole AWS, and the part of ECS that is ours."""

    ecs: ecs.State

    def client(self, service: str) -> Any:
        return boto3.client(service)

    def put_image(self, tag: str, repository: str = "facemask") -> str:
        """Put an image's manifest into the registry, as a push would; returns its digest."""
        client = self.client("ecr")
        try:
            client.describe_repositories(repositoryNames=[repository])
        except client.exceptions.RepositoryNotFoundException:
            raise AssertionError("there is no repository yet") from None
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"digest": f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"},
            "layers": [],
        }
        text = json.dumps(manifest)
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        image = client.put_image(
            repositoryName=repository, imageManifest=text, imageTag=tag, imageDigest=digest
        )
        return str(image["image"]["imageId"]["imageDigest"])


LOADER = create_loader()  # parses each of AWS's large service descriptions once, not per command


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Cloud]:
    """An empty account; the environment and an empty folder point to it and nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)
    monkeypatch.setattr("deploy.follow.POLL_S", 0.01)
    monkeypatch.setattr("deploy.down.POLL_S", 0.01)
    monkeypatch.chdir(tmp_path)  # without a deploy.toml
    with mock_aws(), ecs.patched() as state:
        yield Cloud(state)


@pytest.fixture
def server(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same account over HTTP, for what runs in a process of its own; returns its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per call
    web = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    web.start()
    url = "http://{}:{}".format(*web.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    yield url
    web.stop()


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


def process(*arguments: str, **environ: str) -> Done:
    """Run a command as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)
