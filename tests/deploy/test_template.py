"""The template: cfn-lint finds nothing for any settings, and the content is as required."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cfnlint.config import ConfigMixIn
from cfnlint.decode.decode import decode_str
from cfnlint.runner import Runner
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.config import FARGATE_MEMORY, Config
from deploy.tasks import METRICS_PORT, PORT
from deploy.template import template
from tests.deploy.conftest import Done

CERTIFICATE = {
    "https": "certificate",
    "domain": "masks.example.org",
    "certificate_arn": (
        "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
    ),
}
SUBNETS = ("subnet-0a1b2c3d", "subnet-1a1b2c3d")
HTTPS: list[dict[str, Any]] = [
    {},
    CERTIFICATE,
    CERTIFICATE | {"internal": True},
    {"https": "none"},
    {"https": "none", "internal": True, "allowed_cidrs": ("10.0.0.0/8", "192.0.2.0/24")},
]
SIZES = [(cpu, memory) for cpu, offered in FARGATE_MEMORY.items() for memory in offered[::3]]
SECRETS = {
    "API_KEYS": "/mask/keys",
    "OTHER": "arn:aws:ssm:eu-central-1:123456789012:parameter/mask/other",
    "MORE": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mask-AbCdEf:key::",
}


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Settings for each variant of the template."""
    cpu, memory = draw(st.sampled_from(SIZES))
    low = draw(st.integers(1, 5))
    given_: dict[str, Any] = draw(st.sampled_from(HTTPS)) | {
        "name": draw(st.sampled_from(["facemask", "ab", "a-name-of-twenty-four-ch"])),
        "cpu": cpu,
        "memory": memory,
        "architecture": draw(st.sampled_from(["x86_64", "arm64"])),
        "min_tasks": low,
        "max_tasks": low + draw(st.integers(0, 20)),
        "spot": draw(st.booleans()),
        "container_insights": draw(st.booleans()),
        "drain_seconds": draw(st.integers(1, 110)),
        "log_retention_days": draw(st.sampled_from([1, 30, 3653])),
        "alarm_p99_seconds": draw(st.floats(0.1, 60)),
        "alarm_error_percent": draw(st.floats(0.1, 100)),
        "environment": draw(
            st.dictionaries(st.sampled_from(["DETECTOR", "ALLOWED_HOSTS"]), st.just("x.org"))
        ),
        "secrets": draw(
            st.lists(st.sampled_from(sorted(SECRETS)), unique=True).map(
                lambda names: {name: SECRETS[name] for name in names}
            )
        ),
    }
    if draw(st.booleans()):
        given_ |= {"vpc": "vpc-0a1b2c3d", "subnets": SUBNETS, "balancer_subnets": SUBNETS}
        given_ |= {"public_ip": draw(st.booleans())}
    if draw(st.booleans()):
        given_ |= {"opening_hours": "MON-FRI 08:00-18:30", "opening_tasks": low}
        given_ |= {"timezone": "Europe/Berlin"}
    if draw(st.booleans()):
        topic, key = "arn:aws:sns:eu-central-1:123456789012:ops", "key/0a1b-2c3d"
        given_ |= {"alarm_topic": topic}
        given_ |= {"secrets_key_arn": f"arn:aws:kms:eu-central-1:123456789012:{key}"}
        given_ |= {"permissions_boundary": "arn:aws:iam::123456789012:policy/facemask-boundary"}
    return Config(**given_)


@pytest.fixture(scope="module")
def lint() -> Callable[[Any], list[Any]]:
    """Return cfn-lint with the rules of its command line, loaded once."""
    runner = Runner(ConfigMixIn(regions=["eu-central-1"]))

    def run(document: Any) -> list[Any]:
        return list(runner.validate_template(decode_str(json.dumps(document))[0]))

    return run


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_cfn_lint_finds_nothing(lint: Callable[[Any], list[Any]], config: Config) -> None:
    made = template(config)
    assert len(json.dumps(made, indent=1)) < 51_200  # the limit of a call
    assert [str(finding) for finding in lint(made)] == []


def test_cfn_lint_would_find_a_mistake(lint: Callable[[Any], list[Any]]) -> None:
    """The check works: it finds an unknown property and a size that Fargate lacks."""
    wrong = template(Config())
    wrong["Resources"]["Service"]["Properties"]["Memroy"] = 1
    wrong["Resources"]["TaskDefinition"]["Properties"]["Memory"] = "1234"
    assert {finding.rule.id for finding in lint(wrong)} == {"E3002", "E3047"}


def parts(**given_: Any) -> Any:
    made = template(Config(**given_))["Resources"]
    return {name: item["Properties"] for name, item in made.items()}


def environment(**given_: Any) -> dict[str, Any]:
    container = parts(**given_)["TaskDefinition"]["ContainerDefinitions"][0]
    return {item["Name"]: item["Value"] for item in container["Environment"]}


def test_by_default_https_comes_from_cloudfront_and_nothing_else_is_public() -> None:
    made = parts()
    assert made["Balancer"]["Scheme"] == "internal"
    assert made["BalancerGroup"]["SecurityGroupIngress"] == [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
        | {"SourcePrefixListId": {"Ref": "CloudFrontPrefixList"}}
    ]
    behaviour = made["Distribution"]["DistributionConfig"]["DefaultCacheBehavior"]
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"
    assert "POST" in behaviour["AllowedMethods"]
    assert template(Config())["Outputs"]["Url"]["Value"] == {
        "Fn::Sub": "https://${Distribution.DomainName}"
    }


def test_the_metrics_are_on_a_port_that_no_group_opens() -> None:
    for https in HTTPS:
        made = parts(**https)
        container = made["TaskDefinition"]["ContainerDefinitions"][0]
        assert environment(**https)["METRICS_PORT"] == str(METRICS_PORT)
        assert [mapping["ContainerPort"] for mapping in container["PortMappings"]] == [PORT]
        assert made["TargetGroup"]["Port"] == PORT
        opened = [
            range(rule["FromPort"], rule["ToPort"] + 1)
            for group in ("TaskGroup", "BalancerGroup")
            for rule in made[group]["SecurityGroupIngress"]
        ]
        assert not any(METRICS_PORT in ports for ports in opened)


@pytest.mark.parametrize(
    ("https", "proxies", "hosts"),
    [
        ({}, "2", ["${Balancer.DNSName}", "${Distribution.DomainName}"]),
        (CERTIFICATE, "1", ["${Balancer.DNSName}", "masks.example.org"]),
        ({"https": "none"}, "1", ["${Balancer.DNSName}"]),
    ],
)
def test_the_service_knows_its_proxies_and_its_names(
    https: dict[str, Any], proxies: str, hosts: list[str]
) -> None:
    found = environment(**https)
    assert found["TRUSTED_PROXIES"] == proxies
    assert found["ALLOWED_HOSTS"] == {"Fn::Sub": ",".join(hosts)}
    more = environment(**https, environment={"ALLOWED_HOSTS": "a.org,b.org"})
    assert more["ALLOWED_HOSTS"] == {"Fn::Sub": ",".join([*hosts, "a.org,b.org"])}


def test_a_task_is_told_what_fargate_hides() -> None:
    for cpu, memory, slots in ((256, 512, "1"), (1024, 2048, "1"), (4096, 8192, "4")):
        assert environment(cpu=cpu, memory=memory)["INFERENCE_SLOTS"] == slots
        made = parts(cpu=cpu, memory=memory)["TaskDefinition"]
        assert made["ContainerDefinitions"][0]["Memory"] == memory
    assert environment(environment={"INFERENCE_SLOTS": "3"})["INFERENCE_SLOTS"] == "3"


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        ("http://collector.internal:4318", [443, 4318]),
        ("https://collector.example.org", [443]),
        ("http://collector/v1", [80, 443]),
        ("", [443]),
    ],
)
def test_tasks_may_send_where_the_settings_say(endpoint: str, ports: list[int]) -> None:
    given_ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "CORS_ORIGINS": "http://a.org:1234"}
    rules = parts(environment=given_)["TaskGroup"]["SecurityGroupEgress"]
    assert [rule["FromPort"] for rule in rules] == ports


def test_an_outage_raises_an_alarm() -> None:
    """When no task answers, AWS reports neither RequestCount nor HealthyHostCount."""
    made = parts()
    outage = made["OutageAlarm"]
    assert (outage["MetricName"], outage["Threshold"]) == ("HealthyHostCount", 1)
    assert outage["ComparisonOperator"] == "LessThanThreshold"
    assert outage["TreatMissingData"] == "breaching"
    share = made["ErrorAlarm"]["Metrics"][-1]["Expression"]
    figures = {"failed": 0, "refused": 60, "requests": 0}
    assert evaluate(share, figures) == 100
    assert evaluate(share, {"failed": 5, "refused": 5, "requests": 95}) == 10
    assert evaluate(share, dict.fromkeys(figures, 0)) == 0
    rolled_back = made["Service"]["DeploymentConfiguration"]["Alarms"]
    assert rolled_back["Rollback"]
    assert rolled_back["AlarmNames"] == [{"Ref": "ErrorAlarm"}, {"Ref": "SlowAlarm"}]


def evaluate(expression: str, figures: dict[str, int]) -> float:
    """Calculate CloudWatch's metric math for one minute."""
    names: dict[str, Any] = {
        "IF": lambda test, then, other: then() if test else other,
        "FILL": lambda value, _: value,
    }
    lazy = expression.replace("> 0, ", "> 0, lambda: ")  # Python would divide by zero
    return float(eval(lazy, names | figures))


def test_opening_hours_are_kept_in_their_time_zone() -> None:
    made = parts(opening_hours="MON-FRI 08:05-18:30", opening_tasks=3, timezone="Europe/Berlin")
    opens, closes = made["ScalableTarget"]["ScheduledActions"]
    assert (opens["Schedule"], opens["Timezone"]) == ("cron(5 8 ? * MON-FRI *)", "Europe/Berlin")
    assert opens["ScalableTargetAction"]["MinCapacity"] == 3
    assert closes["Schedule"] == "cron(30 18 ? * MON-FRI *)"
    assert closes["ScalableTargetAction"]["MinCapacity"] == {"Ref": "MinTasks"}


def test_the_cpu_is_looked_at_every_20_seconds() -> None:
    made = parts()
    metrics = made["Service"]["Monitoring"]["MetricConfigurations"]
    assert metrics == [{"MetricNames": ["CPUUtilization"], "ResolutionSeconds": 20}]
    policy = made["CpuScaling"]["TargetTrackingScalingPolicyConfiguration"]
    kind = policy["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert kind == "ECSServiceAverageCPUUtilizationHighResolution"


def test_the_verb_prints_it_without_an_account(
    command: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("boto3.session.Session", None)
    done = command("template", "--https", "none")
    assert done.code == 0, done.err
    assert json.loads(done.out) == json.loads(json.dumps(template(Config(https="none"))))
