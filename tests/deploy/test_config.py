"""deploy.toml: each mistake is reported in a line that names the key and what is allowed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.config import Config, ConfigError
from deploy.settings_file import load
from tests.conftest import ROOT
from tests.deploy.conftest import Done

ACM = "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"

MISTAKES = {
    "memroy = 2048": "memroy: unknown key; known: memory",
    "cpu = 1000": "cpu = 1000; allowed: .*256, 512, 1024",
    'cpu = "1024"': 'cpu = "1024"; allowed: .*256, 512, 1024',
    "cpu = 256\nmemory = 4096": "memory = 4096; allowed: for cpu = 256: 512, 1024, 2048$",
    'name = "Face_Mask"': 'name = "Face_Mask"; allowed: 2 to 24 of a-z',
    'region = "mars"': 'region = "mars"; allowed: an AWS region such as',
    'architecture = "amd64"': 'architecture = "amd64"; allowed: x86_64 or arm64',
    "min_tasks = 0": "min_tasks = 0; allowed: .*from 1",
    "min_tasks = 5": "max_tasks = 4; allowed: at least min_tasks = 5",
    "max_tasks = 2.5": "max_tasks = 2.5; allowed: .*whole number",
    'spot = "yes"': 'spot = "yes"; allowed: true .* or false',
    "drain_seconds = 300": "drain_seconds = 300; allowed: .*1 to 110",
    "log_retention_days = 31": "log_retention_days = 31; allowed: days: 1, 3, 5, 7, 14, 30, 60",
    'zones = ["eu-central-1a"]': r"zones = \['eu-central-1a'\]; allowed: at least two",
    'region = "eu-west-1"\nzones = ["eu-west-1a", "eu-central-1b"]': (
        'zones = "eu-central-1b"; allowed: only zones in eu-west-1'
    ),
    'zones = "eu-central-1a"': 'zones = "eu-central-1a"; allowed: at least two zones',
    'subnets = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]': "subnets = .*; allowed: only together with",
    'vpc = "default"': 'vpc = "default"; allowed: a VPC such as vpc-',
    'certificate_arn = "arn:aws:iam::1:x"': "certificate_arn = .*; allowed: the ARN of an ACM cert",
    f'region = "eu-west-1"\nhttps = "certificate"\ndomain = "a.org"\ncertificate_arn = "{ACM}"': (
        "certificate_arn = .*; allowed: only an ARN in eu-west-1"
    ),
    'domain = "masks.example.org"': 'domain = .*; allowed: only with https = "certificate"',
    'https = "certificate"': 'certificate_arn = .*; allowed: needed with https = "certificate"',
    'https = "yes"': 'https = "yes"; allowed: cloudfront, certificate .* or none',
    'region = "us-gov-west-1"': 'https = "cloudfront"; allowed: "certificate" or "none" in us-gov',
    "internal = true": 'internal = true; allowed: only with https = "certificate" or "none"',
    'allowed_cidrs = ["10.0.0.0/8"]': "allowed_cidrs = .*CloudFront is open to everyone",
    'https = "none"\npublic_ip = false': r"balancer_subnets = \[\]; allowed: the public subnets of",
    'vpc = "vpc-0a1b2c3d"\nbalancer_subnets = ["subnet-0a1b2c3d"]': (
        "balancer_subnets = .*; allowed: at least two"
    ),
    'balancer_subnets = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]': (
        "balancer_subnets = .*; allowed: only together with their vpc"
    ),
    'allowed_cidrs = ["2001:db8::/32"]': "allowed_cidrs = .*; allowed: IPv4 networks",
    'name = "internal-masks"': 'name = "internal-masks"; allowed: not starting with',
    'name = "sg-masks"': 'name = "sg-masks"; allowed: not starting with',
    'opening_hours = "8-18"': 'opening_hours = "8-18"; allowed: days and hours',
    'opening_hours = "MON-FRI 08:00-18:00"\nopening_tasks = 9': (
        "opening_tasks = 9; allowed: up to max_tasks = 4"
    ),
    'timezone = "Berlin"': 'timezone = "Berlin"; allowed: time zone of the opening hours, such as',
    'permissions_boundary = "mine"': "permissions_boundary = .*; allowed: the ARN of an IAM policy",
    'alarm_topic = "ops"': "alarm_topic = .*; allowed: the ARN of an SNS topic",
    'allowed_cidrs = ["10.1.2.3/8"]': 'allowed_cidrs = "10.1.2.3/8"; allowed: IPv4 networks',
    "allowed_cidrs = []": r"allowed_cidrs = \[\]; allowed: IPv4 networks",
    '[environment]\nPORT = "80"': "environment.PORT = .*; allowed: no value: the deployment sets",
    "[environment]\nMETRICS_PORT = 0": "METRICS_PORT = .*; allowed: no value: the deployment sets",
    '[environment]\nAPI_KEYS = "hunter2"': r"environment.API_KEYS = .*; allowed: only under \[",
    "[environment]\nDETECTOR = [1]": r"environment.DETECTOR = \[1\]; allowed: .*as text",
    '[environment]\n"a-b" = "1"': "environment.a-b = .*; allowed: variables",
    '[secrets]\nAPI_KEYS = "hunter2"': "secrets.API_KEYS = .*; allowed: an SSM parameter such as",
    '[secrets]\nA = "/a"\n[environment]\nA = "b"': "environment.A = .*; allowed: either here or",
    "cpu = \nmemory = 3": "not readable as TOML: .*line 1",
    'environment = "DETECTOR=haar"': "environment = .*; allowed: variables of the service",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "deploy.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    words = str(caught.value)
    assert "\n" not in words
    assert words.startswith(str(file))
    assert re.search(MISTAKES[text], words), words
    assert "hunter2" not in words


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "deploy.toml"
    file.write_text('cpu = 3\nspot = 3\nregoin = "eu-west-1"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert len(str(caught.value).splitlines()) == 3


def test_flags_lie_over_the_file(
    tmp_path: Path, command: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deploy.toml"
    file.write_text('cpu = 512\nmemory = 1024\n[environment]\nDETECTOR = "haar"\nQUEUE_SIZE = 3\n')
    config = load(file, {"memory": 2048, "environment": {"DETECTOR": "yunet"}})
    assert (config.cpu, config.memory) == (512, 2048)
    assert config.environment == {"DETECTOR": "yunet", "QUEUE_SIZE": "3"}
    monkeypatch.chdir(tmp_path)
    for flags, words in {
        ("--memory", "9"): "--memory = 9; allowed: .*1024, 2048, 3072, 4096",
        ("--zones", "eu-central-1a"): "--zones = .*; allowed: at least two",
        ("--spot", "maybe"): '--spot = "maybe"; allowed: true',
        ("--environment", "PORT=1"): "--environment PORT = .*; allowed: no value",
        ("--environment", "PORT"): "--environment requires NAME=VALUE",
        ("--file", "nowhere.toml"): "nowhere.toml: the file does not exist",
    }.items():
        done = command("plan", *flags)
        assert done.code == 1
        assert re.search(words, done.err), done.err


def test_the_example_in_the_repository_says_the_defaults() -> None:
    """The file shows every key with its default, commented out or not."""
    text = (ROOT / "deploy.toml").read_text()
    assert load(ROOT / "deploy.toml", {}) == Config()
    for key, field in Config.model_fields.items():
        assert re.search(rf"^(# )?\[?{key}\b", text, re.MULTILINE), key
        if isinstance(field.default, int | str) and not isinstance(field.default, bool):
            assert f"{key} = {field.default!r}".replace("'", '"') in text
