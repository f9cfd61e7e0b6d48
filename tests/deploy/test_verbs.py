"""The other verbs against moto, and what `up` leaves in the account."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from deploy import policies
from deploy.config import Config
from deploy.names import Names
from tests.deploy import ecs
from tests.deploy.conftest import DENIED, REGION, Cloud, Done

Command = Callable[..., Done]
UP = ("up", "--yes", "--image", "v1")


@pytest.fixture
def up(cloud: Cloud, command: Command) -> Callable[..., Done]:
    """Run `up` of image v1 with flags, in an account where the image is there."""
    assert command(*UP).code == 1
    cloud.put_image("v1")

    def run(*flags: str) -> Done:
        done = command(*UP, *flags)
        assert done.code == 0, done.err
        return done

    return run


@pytest.fixture
def certificate(cloud: Cloud) -> str:
    """The ARN of a certificate, which moto never issues."""
    made = cloud.client("acm").request_certificate(DomainName="masks.example.org")
    return str(made["CertificateArn"])


def container(cloud: Cloud) -> Any:
    found = cloud.client("ecs").describe_task_definition(taskDefinition="facemask")
    return found["taskDefinition"]["containerDefinitions"][0]


def test_the_task_may_do_as_little_as_it_may_locally(cloud: Cloud, up: Callable[..., Done]) -> None:
    up(
        "--drain-seconds",
        "30",
        "--environment",
        "DETECTOR=haar",
        "--secrets",
        "API_KEYS=/mask/keys",
    )
    found = container(cloud)
    assert found["readonlyRootFilesystem"]
    assert found["user"] == "10001:10001"
    assert found["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert [mount["containerPath"] for mount in found["linuxParameters"]["tmpfs"]] == ["/tmp"]
    assert re.search(r"/facemask@sha256:[0-9a-f]{64}$", found["image"])
    environment = {item["name"]: item["value"] for item in found["environment"]}
    assert environment == {
        "DETECTOR": "haar",
        "GRACEFUL_TIMEOUT": "30",
        "HOST": "0.0.0.0",
        "PORT": "8000",
        "TRUSTED_PROXIES": "1",
    }
    assert found["secrets"] == [{"name": "API_KEYS", "valueFrom": "/mask/keys"}]
    elb = cloud.client("elbv2")
    group = elb.describe_target_groups(Names=["facemask"])["TargetGroups"][0]
    attributes = elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])
    delay = {item["Key"]: item["Value"] for item in attributes["Attributes"]}
    assert delay["deregistration_delay.timeout_seconds"] == "30"
    assert found["stopTimeout"] == 40
    iam = cloud.client("iam")
    task = iam.list_role_policies(RoleName=f"facemask-{REGION}-task")["PolicyNames"]
    attached = iam.list_attached_role_policies(RoleName=f"facemask-{REGION}-task")
    assert (task, attached["AttachedPolicies"]) == ([], [])
    allowed = iam.get_role_policy(RoleName=f"facemask-{REGION}-execution", PolicyName="start-tasks")
    resources = {
        action: entry["Resource"]
        for entry in allowed["PolicyDocument"]["Statement"]
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
    up("--allowed-cidrs", "203.0.113.0/24,2001:db8::/32")
    ec2 = cloud.client("ec2")
    groups = {
        group["GroupName"]: group for group in ec2.describe_security_groups()["SecurityGroups"]
    }
    front, tasks = groups["facemask-lb"], groups["facemask-task"]
    into = front["IpPermissions"]
    assert {item["FromPort"] for item in into} == {80}
    assert [r["CidrIp"] for item in into for r in item["IpRanges"]] == ["203.0.113.0/24"]
    assert [r["CidrIpv6"] for item in into for r in item["Ipv6Ranges"]] == ["2001:db8::/32"]
    pairs = [
        (item["FromPort"], pair["GroupId"])
        for item in tasks["IpPermissions"]
        for pair in item["UserIdGroupPairs"]
    ]
    assert pairs == [(8000, front["GroupId"])]
    out = [
        (item["FromPort"], item["IpRanges"][0]["CidrIp"]) for item in tasks["IpPermissionsEgress"]
    ]
    assert out == [(443, "0.0.0.0/0")]


def test_https_sends_http_on_and_can_be_given_up_again(
    cloud: Cloud, up: Callable[..., Done], certificate: str
) -> None:
    done = up("--certificate-arn", certificate, "--domain", "masks.example.org")
    assert "https://masks.example.org" in done.out
    elb = cloud.client("elbv2")
    arn = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]

    def listeners() -> dict[int, str]:
        found = elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]
        return {item["Port"]: item["DefaultActions"][0]["Type"] for item in found}

    assert listeners() == {443: "forward", 80: "redirect"}
    assert up("--certificate-arn", certificate, "--domain", "masks.example.org").changes == []
    done = up()
    assert listeners() == {80: "forward"}
    assert [line.split()[1:3] for line in done.changes] == [
        ["change", "security"],  # port 443 is closed
        ["change", "listener"],
        ["delete", "listener"],
    ]


def test_what_someone_changed_by_hand_is_put_right(cloud: Cloud, up: Callable[..., Done]) -> None:
    up()
    ec2, elb = cloud.client("ec2"), cloud.client("elbv2")
    group = ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["facemask-task"]}]
    )["SecurityGroups"][0]["GroupId"]
    opened = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}]
    ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[opened[0] | {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    target = elb.describe_target_groups()["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group(TargetGroupArn=target, HealthCheckPath="/")
    cloud.client("logs").put_retention_policy(logGroupName="/ecs/facemask", retentionInDays=1)
    cloud.client("iam").put_role_policy(
        RoleName=f"facemask-{REGION}-task",
        PolicyName="more",
        PolicyDocument=json.dumps(policies.document(policies.statement(["s3:*"], ["*"]))),
    )
    cloud.client("cloudwatch").delete_alarms(AlarmNames=["facemask-p99"])
    done = up()
    assert [" ".join(line.split()[1:4]) for line in done.changes] == [
        f"change role facemask-{REGION}-task",
        "change log group",
        "change security group",
        "change target group",
        "create alarm facemask-p99",
    ]
    assert up().changes == []


def test_settings_reach_the_service_and_change_only_their_part(
    cloud: Cloud, up: Callable[..., Done]
) -> None:
    up()
    done = up("--spot", "true", "--container-insights", "true", "--target-cpu-percent", "50")
    assert [" ".join(line.split()[1:4]) for line in done.changes] == [
        "change cluster facemask",
        "change service facemask",
        "change scaling policy",
    ]
    service = cloud.ecs.services["facemask", "facemask"]
    assert service["capacityProviderStrategy"] == [
        {"capacityProvider": "FARGATE", "weight": 0, "base": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0},
    ]
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"]["rollback"]


@pytest.mark.parametrize("verb", ["up", "down"])
def test_what_is_not_ours_is_not_touched(cloud: Cloud, command: Command, verb: str) -> None:
    logs, iam = cloud.client("logs"), cloud.client("iam")
    logs.create_log_group(logGroupName="/ecs/facemask", tags={"team": "another"})
    iam.create_role(RoleName=f"facemask-{REGION}-task", AssumeRolePolicyDocument="{}")
    cloud.client("ec2").create_security_group(GroupName="facemask-lb", Description="another")
    if verb == "up":
        done = command(*UP)
        assert done.code == 1
        assert f"The role facemask-{REGION}-task exists and is not this deployment's" in done.err
        assert "another `name` in deploy.toml" in done.err
        iam.delete_role(RoleName=f"facemask-{REGION}-task")
        command(*UP)
        cloud.put_image("v1")
        assert "The log group /ecs/facemask exists" in command(*UP).err
    else:
        done = command("down", "--yes")
        assert done.code == 0
        assert done.changes == []
        assert done.err.count("kept: ") == 3
        assert iam.get_role(RoleName=f"facemask-{REGION}-task")
    assert logs.describe_log_groups()["logGroups"][0]["logGroupName"] == "/ecs/facemask"


def test_a_zone_or_subnet_that_is_not_there_is_said(cloud: Cloud, command: Command) -> None:
    command(*UP)
    cloud.put_image("v1")
    done = command(*UP, "--zones", f"{REGION}a,{REGION}x")
    assert "has no subnet in eu-central-1x" in done.err
    assert (
        "There is no VPC vpc-0123456789abcdef0"
        in command(*UP, "--vpc", "vpc-0123456789abcdef0").err
    )
    done = command(*UP, "--zones", f"{REGION}a,{REGION}b", "--yes")
    assert done.code == 0
    assert "in 2 zones" in done.out


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
    assert command("up", "--yes", "--image", "v2", "--no-wait").code == 0
    again = command("up", "--yes", "--image", "v2", "--timeout", "1s")
    assert again.changes == []
    assert again.code == 3  # it goes on waiting for the same deployment


@pytest.mark.parametrize("gone", [False, True])
def test_a_rolled_back_deployment_is_a_failure(
    cloud: Cloud, up: Callable[..., Done], command: Command, *, gone: bool
) -> None:
    up()
    cloud.put_image("v2")
    cloud.ecs.agent = ecs.Crashing(gone=gone)
    done = command("up", "--yes", "--image", "v2")
    assert done.code == 2
    assert "facemask:2 did not become steady" in done.err
    assert "The service runs facemask:1 again" in done.err
    cloud.ecs.agent = ecs.Steady()
    again = command("up", "--yes", "--image", "v2")
    assert again.code == 0
    assert len(again.changes) == 1  # the same revision is tried, no new one is made


def test_a_first_deployment_that_failed_is_tried_again(cloud: Cloud, command: Command) -> None:
    command(*UP)
    cloud.put_image("v1")
    cloud.ecs.agent = ecs.Crashing()
    assert command(*UP).code == 2
    cloud.ecs.agent = ecs.Steady()
    done = command(*UP)
    assert done.code == 0
    assert "facemask:1 again, its deployment failed" in done.out


def test_status_tells_what_runs(up: Callable[..., Done], command: Command) -> None:
    up()
    found = json.loads(command("status", "--json").out)
    assert found["url"].startswith("http://facemask-")
    assert (found["running"], found["desired"], found["steady"]) == (1, 1, True)
    assert found["deployments"][0]["state"] == "COMPLETED"
    assert sorted(found["alarms"]) == ["facemask-5xx", "facemask-p99", "facemask-unhealthy"]
    assert "steady state" in found["events"][0]["message"]
    lines = command("status").out
    assert found["url"] in lines
    assert "1 of 1 tasks running" in lines


def test_logs(cloud: Cloud, up: Callable[..., Done], command: Command) -> None:
    assert "There is no log group" in command("logs", "--name", "other").err
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
    cloud.ecs.tasks["arn/young"] = {"desiredStatus": "RUNNING"}
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
    del cloud
    done = command("doctor", "--secrets", "API_KEYS=/mask/keys")
    assert done.code == 1
    assert "ok       region: eu-central-1" in done.out
    assert "aws ssm put-parameter --type SecureString --name /mask/keys" in done.out
    assert "create-service-linked-role --aws-service-name ecs.amazonaws.com" in done.out
    assert "3 zones" in done.out
    assert "git says" in done.out  # the test's folder is no checkout
    assert re.search(r"ok       permissions: all \d+ actions", done.out)
    DENIED.add("iam:PassRole")
    done = command("doctor")
    DENIED.clear()
    assert "not allowed on all that the deployment makes: iam:PassRole" in done.out
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
        *("--certificate-arn", certificate),
    )
    assert "ok       secrets: 2" in done.out
    assert "masks.example.org is PENDING_VALIDATION" in done.out
    assert "hunter2" not in done.out + done.err


ACTIONS = {  # where IAM's word is not the service's and the operation's
    "api.ecr": "ecr",
    "monitoring": "cloudwatch",
}
SILENT = {  # not called by the commands themselves
    *("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload"),
    *("ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage"),
    "ecr:UploadLayerPart",  # docker push and pull
    *("ecr:TagResource", "elasticloadbalancing:AddTags", "iam:TagRole", "logs:TagResource"),
    *("cloudwatch:TagResource", "ec2:CreateTags", "ecs:TagResource"),  # tags given at the creation
    *("iam:PassRole", "iam:CreateServiceLinkedRole"),  # needed by calls of other names
}


def test_the_policy_holds_each_call_and_no_other(
    cloud: Cloud,
    up: Callable[..., Done],
    command: Command,
    certificate: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Live a whole life with all drifts and compare the calls with `iam-policy`."""
    called: set[str] = set()

    def note(_: Any, model: Any, **__: object) -> None:
        prefix = model.service_model.endpoint_prefix
        called.add(f"{ACTIONS.get(prefix, prefix)}:{model.name}")

    monkeypatch.setattr("deploy.aws.Aws._count", note)
    policy = json.loads(command("iam-policy", "--secrets", "API_KEYS=/a/b").out)
    allowed = set(policies.actions(policy))
    assert "iam:PassRole" in allowed
    up("--certificate-arn", certificate, "--secrets", "API_KEYS=/a/b")
    test_what_someone_changed_by_hand_is_put_right(cloud, up)
    spoil(cloud)
    up("--zones", f"{REGION}a,{REGION}b", "--container-insights", "true")
    cloud.put_image("v2")
    cloud.ecs.agent = ecs.Crashing()
    command("up", "--yes", "--image", "v2")
    cloud.ecs.agent = ecs.Steady()
    cloud.client("ssm").put_parameter(Name="/a/b", Value="x", Type="SecureString")
    for arguments in (
        ("up", "--yes", "--image", "v2"),
        ("rollback",),
        ("scale", "1", "2"),
        ("status",),
        ("logs",),
        ("logs", "--previous"),
        ("doctor", "--secrets", "API_KEYS=/a/b", "--certificate-arn", certificate),
        ("down", "--yes"),
        UP,
    ):
        command(*arguments)
    called.add("ecr:GetAuthorizationToken")  # with a Docker engine only, see test_docker.py
    assert called - allowed == set()
    assert allowed - called - SILENT == set()


def spoil(cloud: Cloud) -> None:
    """Change by hand what `up` compares and no other test changes."""
    elb, ecr, iam = cloud.client("elbv2"), cloud.client("ecr"), cloud.client("iam")
    arn = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    other = cloud.client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"]
    elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=[other])
    elb.modify_load_balancer_attributes(
        LoadBalancerArn=arn, Attributes=[{"Key": "idle_timeout.timeout_seconds", "Value": "9"}]
    )
    ecr.put_image_tag_mutability(repositoryName="facemask", imageTagMutability="MUTABLE")
    ecr.put_image_scanning_configuration(
        repositoryName="facemask", imageScanningConfiguration={"scanOnPush": False}
    )
    other_account = policies.trust(Names("facemask", REGION, "210987654321"))
    iam.update_assume_role_policy(
        RoleName=f"facemask-{REGION}-task", PolicyDocument=json.dumps(other_account)
    )
    cloud.client("ecs").put_cluster_capacity_providers(
        cluster="facemask", capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
    )


def test_the_policy_is_of_one_deployment() -> None:
    policy = policies.operator(Config(), Names("facemask", REGION, "123456789012"))
    for entry in policy["Statement"]:
        if entry["Resource"] == ["*"]:
            assert all(
                re.match(r"\w[\w-]*:(Describe|Get|List|Simulate)", action)
                or action == "ecs:DeregisterTaskDefinition"
                for action in entry["Action"]
            )
    size = len(json.dumps(policy, separators=(",", ":")))
    assert size < 6144  # of a managed policy


def test_help_has_examples(command: Command) -> None:
    done = command("--help")
    assert done.code == 0
    assert "python -m deploy up" in done.out
    assert command("up", "--help").out.count("--max-tasks VALUE") == 2
    assert command("fly").code == 1
