"""The other commands against moto, and what `up` leaves in the account."""

import ast
import json
import re
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from deploy import network
from deploy.aws import Aws
from deploy.config import Config
from tests.deploy import ecs
from tests.deploy.conftest import DENIED, REGION, Cloud, Done

Command = Callable[..., Done]
UP = ("up", "--yes", "--image", "v1")


@pytest.fixture
def up(cloud: Cloud, command: Command) -> Callable[..., Done]:
    """Run `up` of image v1 with flags, in an account that has the image."""
    assert command(*UP).code == 1
    cloud.put_image("v1")

    def run(*flags: str) -> Done:
        done = command(*UP, *flags)
        assert done.code == 0, done.err
        return done

    return run


@pytest.fixture
def certificate(cloud: Cloud) -> str:
    """Return the ARN of a certificate that moto leaves unissued."""
    made = cloud.client("acm").request_certificate(DomainName="masks.example.org")
    return str(made["CertificateArn"])


def with_certificate(arn: str) -> tuple[str, ...]:
    return ("--https", "certificate", "--certificate-arn", arn, "--domain", "masks.example.org")


def names(done: Done) -> list[str]:
    """List what changed."""
    return [f"{line.split()[1]} {line.split()[2]}" for line in done.changes]


def container(cloud: Cloud) -> Any:
    found = cloud.client("ecs").describe_task_definition(taskDefinition="facemask")
    return found["taskDefinition"]["containerDefinitions"][0]


def test_the_task_may_do_as_little_as_it_may_locally(cloud: Cloud, up: Callable[..., Done]) -> None:
    up(
        *("--drain-seconds", "30", "--environment", "DETECTOR=haar"),
        *("--secrets", "API_KEYS=/mask/keys"),
    )
    found = container(cloud)
    assert found["readonlyRootFilesystem"]
    assert found["user"] == "10001:10001"
    assert found["memory"] == 2048
    assert found["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert [mount["containerPath"] for mount in found["linuxParameters"]["tmpfs"]] == ["/tmp"]
    assert re.search(r"/facemask@sha256:[0-9a-f]{64}$", found["image"])
    environment = {item["name"]: item["value"] for item in found["environment"]}
    balancer = cloud.client("elbv2").describe_load_balancers()["LoadBalancers"][0]["DNSName"]
    assert environment == {
        "ALLOWED_HOSTS": f"{balancer},d111111abcdef8.cloudfront.net",
        "DETECTOR": "haar",
        "GRACEFUL_TIMEOUT": "30",
        "HOST": "0.0.0.0",
        "INFERENCE_SLOTS": "1",
        "METRICS_PORT": "9000",
        "PORT": "8000",
        "TRUSTED_PROXIES": "2",
    }
    assert found["secrets"] == [{"name": "API_KEYS", "valueFrom": "/mask/keys"}]
    elb = cloud.client("elbv2")
    group = elb.describe_target_groups(Names=["facemask"])["TargetGroups"][0]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])
    delay = {item["Key"]: item["Value"] for item in attributes["Attributes"]}
    assert delay["deregistration_delay.timeout_seconds"] == "30"
    assert found["stopTimeout"] == 40
    iam = cloud.client("iam")
    assert iam.list_role_policies(RoleName=f"facemask-{REGION}-task")["PolicyNames"] == []
    allowed = iam.get_role_policy(RoleName=f"facemask-{REGION}-execution", PolicyName="start-tasks")
    resources = {
        action: entry["Resource"]
        for entry in ast.literal_eval(allowed["PolicyDocument"])["Statement"]  # as moto stores it
        for action in entry["Action"]
    }
    assert resources["ssm:GetParameters"] == [
        f"arn:aws:ssm:{REGION}:123456789012:parameter/mask/keys"
    ]
    assert [action for action, which in resources.items() if which == ["*"]] == [
        "ecr:GetAuthorizationToken"
    ]


def test_the_world_reaches_the_balancer_and_the_balancer_the_tasks(
    cloud: Cloud, up: Callable[..., Done]
) -> None:
    up("--https", "none", "--allowed-cidrs", "203.0.113.0/24")
    ec2 = cloud.client("ec2")
    groups = {
        group["GroupName"]: group for group in ec2.describe_security_groups()["SecurityGroups"]
    }
    front, tasks = groups["facemask-lb"], groups["facemask-task"]
    into = front["IpPermissions"]
    assert {item["FromPort"] for item in into} == {80}
    assert [r["CidrIp"] for item in into for r in item["IpRanges"]] == ["203.0.113.0/24"]
    pairs = [
        (item["FromPort"], pair["GroupId"])
        for item in tasks["IpPermissions"]
        for pair in item["UserIdGroupPairs"]
    ]
    assert pairs == [(8000, front["GroupId"])]
    leads = [
        (item["FromPort"], pair["GroupId"])
        for item in front["IpPermissionsEgress"]
        for pair in item["UserIdGroupPairs"]
    ]
    assert leads == [(8000, tasks["GroupId"])]


def test_another_kind_of_https_replaces_the_balancer(
    cloud: Cloud, up: Callable[..., Done], certificate: str
) -> None:
    up()
    done = up(*with_certificate(certificate))
    assert "https://masks.example.org" in done.out
    assert {"create Redirect", "delete Distribution", "delete VpcOrigin"} <= set(names(done))
    elb = cloud.client("elbv2")
    (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
    assert (balancer["LoadBalancerName"], balancer["Scheme"]) == (
        *("facemask-public", "internet-facing"),
    )
    found = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    kinds = {item["Port"]: item["DefaultActions"][0]["Type"] for item in found}
    assert kinds == {443: "forward", 80: "redirect"}
    assert "No changes." in up(*with_certificate(certificate)).out


def test_without_https_or_keys_it_says_so(command: Command, up: Callable[..., Done]) -> None:
    open_, plain = "anyone who knows the address", "travel unencrypted"
    done = up("--https", "none")
    assert open_ in done.err
    assert plain in done.err
    plan = command("plan", "--image", "v1", "--https", "none", "--secrets", "API_KEYS=/a/b")
    assert plain in plan.out
    assert open_ not in plan.out
    plan = command("plan", "--image", "v1")
    assert plain not in plan.out
    assert open_ in plan.out


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("verb", ["plan", "up", "doctor"])
def test_an_open_service_must_be_wished_for(command: Command, verb: str) -> None:
    done = command(verb, "--open", "false")
    assert done.code == 1
    words = done.out if verb == "doctor" else done.err
    assert "Put API_KEYS under [secrets] in deploy.toml" in words
    assert "or set open = true" in words
    assert "open = true" not in command(verb, "--open", "false", "--secrets", "API_KEYS=/a/b").err


def test_settings_reach_the_service_and_change_only_their_part(
    cloud: Cloud, up: Callable[..., Done]
) -> None:
    up()
    done = up("--spot", "true", "--container-insights", "true", "--target-cpu-percent", "50")
    assert names(done) == ["change Cluster", "change Service", "change CpuScaling"]
    service = cloud.ecs.services["facemask", "facemask"]
    assert service["capacityProviderStrategy"] == [
        {"capacityProvider": "FARGATE", "weight": 0, "base": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 1},
    ]
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"]


@pytest.mark.parametrize("verb", ["up", "down"])
def test_what_is_not_ours_is_not_touched(cloud: Cloud, command: Command, verb: str) -> None:
    cloud.client("ecr").create_repository(repositoryName="facemask")
    done = command(verb, "--yes")
    assert done.code == 1
    assert "image repository facemask exists but does not belong to this deployment" in done.err
    assert "another `name` in deploy.toml" in done.err
    cloud.client("ecr").delete_repository(repositoryName="facemask")
    topic = {"T": {"Type": "AWS::SNS::Topic"}}
    cloud.client("cloudformation").create_stack(
        StackName="facemask", TemplateBody=json.dumps({"Resources": topic})
    )
    done = command(verb, "--yes")
    assert done.code == 1
    assert "stack facemask exists but does not belong to this deployment" in done.err


def test_a_missing_zone_or_subnet_is_reported(cloud: Cloud, command: Command) -> None:
    command(*UP)
    cloud.put_image("v1")
    done = command(*UP, "--zones", f"{REGION}a,{REGION}x")
    assert "has no subnet in eu-central-1x" in done.err
    missing = "vpc-0123456789abcdef0"
    assert f"There is no VPC {missing}" in command(*UP, "--vpc", missing).err
    done = command(*UP, "--zones", f"{REGION}a,{REGION}b")
    assert done.code == 0
    (balancer,) = cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert len(balancer["AvailabilityZones"]) == 2
    (other,) = (cloud.client("ec2").create_vpc(CidrBlock="10.0.0.0/16"),)
    vpc = other["Vpc"]["VpcId"]
    for zone, block in (("a", "10.0.0.0/24"), ("b", "10.0.1.0/24")):
        cloud.client("ec2").create_subnet(
            VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{REGION}{zone}"
        )
    assert f"AWS cannot move it to {vpc}. Run `down` first" in command(*UP, "--vpc", vpc).err


def test_an_image_of_another_architecture_is_refused(
    cloud: Cloud, up: Callable[..., Done], command: Command
) -> None:
    up()
    cloud.put_image("arm", architecture="arm64")
    done = command("up", "--yes", "--image", "arm")
    assert done.code == 1
    assert "The image arm is for arm64, but the tasks are x86_64" in done.err
    done = command("up", "--yes", "--image", "arm", "--architecture", "arm64")
    assert done.code == 0, done.err


def test_a_deployment_that_hangs_is_a_time_out(
    cloud: Cloud, up: Callable[..., Done], command: Command
) -> None:
    up()
    cloud.put_image("v2")
    cloud.ecs.agent = ecs.Stuck()
    done = command("up", "--yes", "--image", "v2", "--timeout", "1s")
    assert done.code == 3
    assert "unable to place a task" in done.err
    status = command("status")
    assert "NOT STEADY" in status.out
    assert "stack UPDATE_IN_PROGRESS" in status.out
    assert "UPDATE_IN_PROGRESS. Wait until that has ended" in command("restart").err
    again = command("up", "--yes", "--image", "v2", "--timeout", "1s")
    assert again.code == 3
    assert "is UPDATE_IN_PROGRESS; waiting until that ends" in again.err
    service = cloud.ecs.services["facemask", "facemask"]
    ecs.complete(service, service["deployments"][0], 1)
    again = command("up", "--yes", "--image", "v2")
    assert again.code == 0, again.err
    assert "No changes." in again.out


@pytest.mark.parametrize("gone", [False, True])
def test_a_rolled_back_deployment_is_a_failure(
    cloud: Cloud, up: Callable[..., Done], command: Command, *, gone: bool
) -> None:
    up()
    cloud.put_image("v2")
    cloud.ecs.agent = ecs.Crashing(gone=gone)
    done = command("up", "--yes", "--image", "v2")
    assert done.code == 2
    assert "failed and was rolled back to the previous state" in done.err
    assert "Essential container in task exited" in done.err
    assert "exit code 3" in done.err
    cloud.ecs.agent = ecs.Steady()
    again = command("up", "--yes", "--image", "v2")
    assert again.code == 0, again.err
    assert names(again) == ["change TaskDefinition", "change Service"]


def test_a_first_deployment_that_failed_is_made_again(cloud: Cloud, command: Command) -> None:
    command(*UP)
    cloud.put_image("v1")
    cloud.ecs.agent = ecs.Crashing()
    done = command(*UP)
    assert done.code == 2
    assert "The next `up` deletes its remains" in done.err
    assert "Essential container in task exited" in done.err
    assert len(command("plan", "--image", "v1").changes) == 21
    cloud.ecs.agent = ecs.Steady()
    done = command(*UP)
    assert done.code == 0, done.err
    assert "is ROLLBACK_COMPLETE; it is deleted and created again" in done.err


def test_no_wait_leaves_it_to_aws(up: Callable[..., Done], command: Command) -> None:
    done = up("--no-wait")
    assert "AWS continues by itself" in done.out
    assert command("status").code == 0


def test_status_tells_what_runs(up: Callable[..., Done], command: Command) -> None:
    up()
    found = json.loads(command("status", "--json").out)
    assert found["url"] == "https://d111111abcdef8.cloudfront.net"
    assert (found["running"], found["desired"], found["steady"]) == (1, 1, True)
    assert found["deployments"][0]["state"] == "COMPLETED"
    alarms = ["facemask-5xx", "facemask-outage", "facemask-p99", "facemask-unhealthy"]
    assert sorted(found["alarms"]) == alarms
    assert "steady state" in found["events"][0]["message"]
    lines = command("status").out
    assert found["url"] in lines
    assert "1 of 1 tasks running" in lines


def test_logs(cloud: Cloud, up: Callable[..., Done], command: Command) -> None:
    assert "The log group /ecs/other does not exist" in command("logs", "--name", "other").err
    up()
    logs, now = cloud.client("logs"), int(time.time() * 1000)
    for task, age_s in (("old", 4000), ("young", 30)):
        stream = f"facemask/facemask/{task}"
        logs.create_log_stream(logGroupName="/ecs/facemask", logStreamName=stream)
        logs.put_log_events(
            logGroupName="/ecs/facemask",
            logStreamName=stream,
            logEvents=[{"timestamp": now - age_s * 1000, "message": f"said by the {task}"}],
        )
    assert "said by the young" in command("logs").out
    assert "said by the old" not in command("logs").out
    assert command("logs", "--since", "2h").out.count("said by") == 2
    assert "ECS lists no stopped task" in command("logs", "--previous").err
    for task, at in (("old", 2), ("young", 1)):  # the old one stopped later, but wrote earlier
        arn = f"arn/{task}"
        cloud.ecs.tasks[arn] = {"taskArn": arn, "desiredStatus": "STOPPED", "stoppedAt": at}
    assert "said by the old" in command("logs", "--previous").out
    assert "10 is not" not in command("logs", "--since", "10").err
    assert "is not a time such as 90s" in command("logs", "--since", "soon").err


def test_logs_follow_until_interrupted(
    cloud: Cloud, up: Callable[..., Done], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    up()
    logs = cloud.client("logs")
    stream = {"logGroupName": "/ecs/facemask", "logStreamName": "facemask/facemask/one"}
    logs.create_log_stream(**stream)
    rounds = iter(range(3))

    def sleep(_: float) -> None:
        number = next(rounds, None)
        if number is None:
            raise KeyboardInterrupt
        event = {"timestamp": int(time.time() * 1000), "message": f"line {number}"}
        logs.put_log_events(**stream, logEvents=[event])

    monkeypatch.setattr("deploy.logs.time", type("", (), {"sleep": sleep, "time": time.time}))
    done = command("logs", "--follow")
    assert done.code == 0
    assert [line.split(maxsplit=3)[3] for line in done.out.splitlines()] == [
        "line 0",
        "line 1",
        "line 2",
    ]


def test_doctor_says_what_is_missing_and_how_to_get_it(
    cloud: Cloud, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("doctor", "--secrets", "API_KEYS=/mask/keys")
    assert done.code == 1
    assert re.search("ok       credentials: arn:.*, eu-central-1", done.out)
    assert "aws ssm put-parameter --type SecureString --name /mask/keys" in done.out
    assert "git failed" in done.out  # the test's folder is no checkout
    assert re.search(r"ok       permissions: all \d+ actions", done.out)
    DENIED.add("iam:PassRole")
    done = command("doctor")
    DENIED.clear()
    assert "not allowed on all resources of the deployment: iam:PassRole" in done.out
    assert cloud
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = command("doctor")
    assert done.code == 1
    assert "missing  credentials: No AWS credentials were found" in done.out


def test_doctor_finds_a_secret_and_a_certificate(
    cloud: Cloud, command: Command, certificate: str
) -> None:
    cloud.client("ssm").put_parameter(Name="/mask/keys", Value="hunter2", Type="SecureString")
    secret = cloud.client("secretsmanager").create_secret(Name="other", SecretString="hunter2")
    done = command(
        *("doctor", "--secrets", "API_KEYS=/mask/keys", "--secrets", f"OTHER={secret['ARN']}"),
        *with_certificate(certificate),
    )
    assert "ok       secrets: 2" in done.out
    assert "ok       access: https and API keys" in done.out
    assert "masks.example.org is PENDING_VALIDATION" in done.out
    assert "hunter2" not in done.out + done.err


@pytest.fixture
def vpc(cloud: Cloud) -> dict[str, str]:
    """A VPC with two public subnets, which lead to an internet gateway, and two private ones."""
    ec2 = cloud.client("ec2")
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(VpcId=made, InternetGatewayId=gateway)
    table = ec2.create_route_table(VpcId=made)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnets: dict[str, list[str]] = {"public": [], "private": []}
    for number in range(4):
        kind = "public" if number < 2 else "private"
        zone = f"{REGION}{'ab'[number % 2]}"
        subnet = ec2.create_subnet(
            VpcId=made, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=zone
        )["Subnet"]["SubnetId"]
        subnets[kind].append(subnet)
        if kind == "public":
            ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    return {"vpc": made} | {kind: ",".join(ids) for kind, ids in subnets.items()}


@pytest.mark.parametrize(
    ("tasks", "balancer", "flags", "words"),
    [
        ("public", "public", ("--https", "none"), "2 zones"),
        ("public", "private", ("--https", "none"), "the public load balancer cannot be reached"),
        (
            "private",
            "public",
            ("--https", "none"),
            "no route to an internet gateway: set public_ip",
        ),
        (
            "private",
            "public",
            ("--public-ip", "false"),
            "has no default route: the tasks need VPC endpoints",
        ),
        (
            "public",
            "public",
            ("--public-ip", "false"),
            "a task without a public address cannot use",
        ),
        ("public", "private", (), "2 zones"),
    ],
)
def test_doctor_follows_the_routes(
    command: Command,
    vpc: dict[str, str],
    tasks: str,
    balancer: str,
    flags: tuple[str, ...],
    words: str,
) -> None:
    where = ("--vpc", vpc["vpc"], "--subnets", vpc[tasks], "--balancer-subnets", vpc[balancer])
    done = command("doctor", *where, *flags)
    (line,) = [line for line in done.out.splitlines() if " network: " in line]
    assert words in line
    assert line.startswith("ok" if words == "2 zones" else "missing")


@pytest.mark.usefixtures("cloud")
def test_zones_without_vpc_origins_are_left_out() -> None:
    made = boto3.client("ec2", "us-east-1").describe_subnets()["Subnets"]
    zones = {subnet["SubnetId"]: subnet["AvailabilityZoneId"] for subnet in made}
    found = network.find(Aws("us-east-1", write=False), Config())
    assert {zones[subnet] for subnet in found.subnets} == set(zones.values()) - {"use1-az3"}
    assert "use1-az3" in zones.values()


@pytest.mark.usefixtures("cloud")
def test_a_region_without_cloudfront_is_reported(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.network.PREFIX_LIST", "com.example.nowhere")
    done = command("doctor")
    assert "missing  network: eu-central-1 has no prefix list of CloudFront's addresses" in done.out


def test_help_has_examples(command: Command) -> None:
    done = command("--help")
    assert done.code == 0
    assert "python -m deploy up" in done.out
    assert command("up", "--help").out.count("--max-tasks VALUE") == 2
    assert command("fly").code == 1
