"""A whole life cycle against moto, from an empty account and back.

tests/deploy/engine.py says what moto's CloudFormation lacks. tests/deploy/ecs.py makes a service
become steady at once.
"""

import json
from collections.abc import Callable

import pytest

from tests.deploy import ecs
from tests.deploy.conftest import Cloud, Done

Command = Callable[..., Done]
UP = ("up", "--yes", "--image", "v1")
READS = ("Describe", "Get", "List", "BatchGet")
URL = "https://d111111abcdef8.cloudfront.net"


def calls(done: Done) -> dict[str, int]:
    """Read the table that --calls prints."""
    rows = [line.split(maxsplit=1) for line in done.err.splitlines() if line[:5].strip().isdigit()]
    return {name: int(count) for count, name in rows if ":" in name}


def writes(done: Done) -> list[str]:
    return [name for name in calls(done) if not name.split(":")[1].startswith(READS)]


@pytest.fixture
def deployed(cloud: Cloud, command: Command) -> Cloud:
    """An account in which v1 runs and v2 waits in the registry."""
    first = command(*UP)
    assert first.code == 1
    assert "no image v1" in first.err
    cloud.put_image("v1")
    cloud.put_image("v2")
    done = command(*UP)
    assert done.code == 0, done.err
    return cloud


def test_a_plan_writes_nothing_and_up_does_what_it_says(cloud: Cloud, command: Command) -> None:
    assert command(*UP).code == 1  # the repository now exists
    cloud.put_image("v1")
    plan = command("plan", "--image", "v1", "--calls")
    assert plan.code == 0, plan.err
    assert writes(plan) == []
    assert "US dollars a month" in plan.out
    up = command(*UP)
    assert up.code == 0, up.err
    assert up.changes == plan.changes
    assert len(plan.changes) == 21
    assert f"Steady: revision 1, {URL}" in up.out
    for words in ("Distribution     CREATE_COMPLETE", "has reached a steady state"):
        assert up.err.count(words) == 1  # each event of stack and service is shown once


def test_a_second_up_changes_nothing(deployed: Cloud, command: Command) -> None:
    again = command(*UP, "--calls")
    assert again.code == 0, again.err
    assert "No changes." in again.out
    assert set(writes(again)) <= {
        "cloudformation:CreateChangeSet",
        "cloudformation:DeleteChangeSet",
    }
    listed = deployed.client("ecs").list_task_definitions(familyPrefix="facemask")
    assert len(listed["taskDefinitionArns"]) == 1
    assert (
        deployed.client("cloudformation").list_change_sets(StackName="facemask")["Summaries"] == []
    )


@pytest.mark.usefixtures("deployed")
def test_a_new_image_changes_only_revision_and_service(command: Command) -> None:
    plan = command("plan", "--image", "v2")
    done = command("up", "--yes", "--image", "v2")
    assert done.code == 0, done.err
    assert [line.split()[2] for line in done.changes] == ["TaskDefinition", "Service"]
    assert plan.changes == done.changes
    assert "revision 2" in done.out


def test_the_number_of_tasks_stays_the_autoscalers(deployed: Cloud, command: Command) -> None:
    service = deployed.ecs.services["facemask", "facemask"]
    service["desiredCount"] = 3  # the autoscaler changed it
    assert command("up", "--yes", "--image", "v2").code == 0
    assert service["desiredCount"] == 3


@pytest.mark.usefixtures("deployed")
def test_scale_holds_until_the_next_up(command: Command) -> None:
    done = command("scale", "2", "6")
    assert done.code == 0, done.err
    assert [line.split()[2] for line in done.changes] == ["ScalableTarget"]
    assert "the next `up` restores them" in done.out
    status = json.loads(command("status", "--json").out)
    assert status["scaling"] == {"min": 2, "max": 6}
    assert "No changes." in command("scale", "2", "6").out
    assert len(command(*UP).changes) == 1
    assert json.loads(command("status", "--json").out)["scaling"] == {"min": 1, "max": 4}
    assert command("scale", "3", "2").code == 1
    assert command("scale", "0", "0").code == 0


def test_restart_replaces_the_tasks_and_nothing_else(deployed: Cloud, command: Command) -> None:
    service = deployed.ecs.services["facemask", "facemask"]
    before = service["deployments"][0]
    done = command("restart")
    assert done.code == 0, done.err
    assert [line.split()[2] for line in done.changes] == ["Service"]
    after = service["deployments"][0]
    assert after["id"] != before["id"]
    assert after["taskDefinition"] == before["taskDefinition"]
    assert "No changes." in command(*UP).out  # that change is kept


def test_rollback_goes_to_what_was_steady_and_not_to_what_crashed(
    deployed: Cloud, command: Command
) -> None:
    deployed.ecs.agent = ecs.Crashing()
    assert command("up", "--yes", "--image", "v2").code == 2
    deployed.ecs.agent = ecs.Steady()
    digest = deployed.put_image("v3")
    assert command("up", "--yes", "--image", "v3").code == 0
    first = json.loads(command("status", "--json").out)["image"]
    assert first.endswith(digest)
    back = command("rollback")
    assert back.code == 0, back.err
    held = deployed.client("ecr").describe_images(
        repositoryName="facemask", imageIds=[{"imageTag": "v1"}]
    )["imageDetails"][0]["imageDigest"]
    assert json.loads(command("status", "--json").out)["image"].endswith(held)
    assert command("rollback", "3").code == 0
    assert json.loads(command("status", "--json").out)["image"] == first
    missing = command("rollback", "9")
    assert missing.code == 1
    assert "There is no revision 9" in missing.err


def test_rollback_says_when_the_image_is_gone(deployed: Cloud, command: Command) -> None:
    assert "No other image was ever steady" in command("rollback").err
    assert command("up", "--yes", "--image", "v2").code == 0
    deployed.client("ecr").batch_delete_image(
        repositoryName="facemask", imageIds=[{"imageTag": "v1"}]
    )
    done = command("rollback")
    assert done.code == 1
    assert "is no longer in the registry" in done.err


def test_down_takes_all_away_and_up_works_again(deployed: Cloud, command: Command) -> None:
    assert command("down").code == 1  # there is no terminal to ask on
    down = command("down", "--yes")
    assert down.code == 0, down.err
    assert "What remains: " in down.out
    assert leftovers(deployed) == []
    again = command("down", "--yes")
    assert again.code == 0
    assert "nothing to delete" in again.out
    assert command("status").code == 1
    assert "create" in command(*UP).out
    deployed.put_image("v1")
    assert command(*UP).code == 0


def test_down_keeps_the_images_if_told(deployed: Cloud, command: Command) -> None:
    done = command("down", "--yes", "--keep-images")
    assert done.code == 0
    assert "What remains: the image repository facemask" in done.out
    assert leftovers(deployed) == ["ecr facemask"]
    assert "nothing to delete" in command("down", "--yes", "--keep-images").out
    assert command(*UP).code == 0


def leftovers(cloud: Cloud) -> list[str]:
    """List what `up` made and the account still holds."""
    client = cloud.client
    left = [
        f"ecr {r['repositoryName']}" for r in client("ecr").describe_repositories()["repositories"]
    ]
    left += [f"role {r['RoleName']}" for r in client("iam").list_roles()["Roles"]]
    left += [f"logs {g['logGroupName']}" for g in client("logs").describe_log_groups()["logGroups"]]
    left += [
        f"group {g['GroupName']}"
        for g in client("ec2").describe_security_groups()["SecurityGroups"]
        if g["GroupName"] != "default"
    ]
    elb = client("elbv2")
    left += [
        f"balancer {b['LoadBalancerName']}" for b in elb.describe_load_balancers()["LoadBalancers"]
    ]
    left += [f"target {t['TargetGroupName']}" for t in elb.describe_target_groups()["TargetGroups"]]
    left += [
        f"cluster {c['clusterName']}"
        for c in client("ecs").describe_clusters(clusters=["facemask"])["clusters"]
        if c["status"] != "INACTIVE"
    ]
    left += client("ecs").list_task_definitions()["taskDefinitionArns"]
    left += client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")[
        "ScalableTargets"
    ]
    left += [a["AlarmName"] for a in client("cloudwatch").describe_alarms()["MetricAlarms"]]
    return left + client("cloudformation").describe_stacks()["Stacks"]
