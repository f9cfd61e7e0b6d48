"""A whole life against moto, where services become steady at once: from nothing and back."""

import json
from collections.abc import Callable

import pytest

from tests.deploy import ecs
from tests.deploy.conftest import Cloud, Done

Command = Callable[..., Done]
READS = ("Describe", "Get", "List")


def calls(done: Done) -> dict[str, int]:
    """Read the table that --calls prints."""
    rows = [line.split(maxsplit=1) for line in done.err.splitlines() if line[:5].strip().isdigit()]
    return {name: int(count) for count, name in rows if ":" in name}


@pytest.fixture
def deployed(cloud: Cloud, command: Command) -> Cloud:
    """An account in which v1 runs and v2 waits in the registry."""
    first = command("up", "--yes", "--image", "v1")
    assert first.code == 1
    assert "no image v1" in first.err
    cloud.put_image("v1")
    cloud.put_image("v2")
    done = command("up", "--yes", "--image", "v1")
    assert done.code == 0, done.err
    return cloud


def test_a_plan_writes_nothing_and_up_does_what_it_says(cloud: Cloud, command: Command) -> None:
    assert command("up", "--yes", "--image", "v1").code == 1  # the repository is there now
    cloud.put_image("v1")
    plan = command("plan", "--image", "v1", "--calls")
    assert plan.code == 0
    assert all(name.split(":")[1].startswith(READS) for name in calls(plan))
    assert "US dollars a month" in plan.out
    again = command("plan", "--image", "v1")
    assert again.changes == plan.changes
    up = command("up", "--yes", "--image", "v1")
    assert up.code == 0, up.err
    kinds = [line[:30] for line in plan.changes]
    assert [line[:30] for line in up.changes] == kinds
    assert len(kinds) == 15
    assert "Steady: revision 1, http://" in up.out


def test_a_second_up_only_reads(deployed: Cloud, command: Command) -> None:
    again = command("up", "--yes", "--image", "v1", "--calls")
    assert again.code == 0
    assert again.changes == []
    assert "0 created, 0 changed, 0 deleted" in again.out
    assert all(name.split(":")[1].startswith(READS) for name in calls(again))
    listed = deployed.client("ecs").list_task_definitions(familyPrefix="facemask")
    assert len(listed["taskDefinitionArns"]) == 1


@pytest.mark.usefixtures("deployed")
def test_a_new_image_changes_only_revision_and_service(command: Command) -> None:
    done = command("up", "--yes", "--image", "v2")
    assert done.code == 0
    assert [line.split()[2:4] for line in done.changes] == [
        ["task", "definition"],
        ["service", "facemask"],
    ]
    assert "another image" in done.changes[0]
    assert "revision 2" in done.out


def test_the_number_of_tasks_stays_the_autoscalers(deployed: Cloud, command: Command) -> None:
    service = deployed.ecs.services["facemask", "facemask"]
    service["desiredCount"] = 3  # the autoscaler was at work
    assert command("up", "--yes", "--image", "v2").code == 0
    assert service["desiredCount"] == 3


@pytest.mark.usefixtures("deployed")
def test_scale_holds_until_the_next_up(command: Command) -> None:
    done = command("scale", "2", "6")
    assert done.code == 0
    assert "1 to 4 -> 2 to 6" in done.out
    assert "the next `up` sets them back" in done.out
    status = json.loads(command("status", "--json").out)
    assert status["scaling"] == {"min": 2, "max": 6}
    assert command("scale", "2", "6").changes == []
    assert len(command("up", "--yes", "--image", "v1").changes) == 1
    assert command("scale", "3", "2").code == 1


def test_rollback_goes_to_what_was_steady_and_not_to_what_crashed(
    deployed: Cloud, command: Command
) -> None:
    deployed.ecs.agent = ecs.Crashing()
    assert command("up", "--yes", "--image", "v2").code == 2
    deployed.ecs.agent = ecs.Steady()
    deployed.put_image("v3")
    assert command("up", "--yes", "--image", "v3").code == 0
    back = command("rollback")
    assert back.code == 0, back.err
    assert "facemask:3 -> facemask:1" in back.out
    assert "facemask:1 -> facemask:2" in command("rollback", "2").out
    missing = command("rollback", "9")
    assert missing.code == 1
    assert "There is no revision 9; there are: 3, 2, 1" in missing.err


def test_rollback_says_when_the_image_is_gone(deployed: Cloud, command: Command) -> None:
    assert command("up", "--yes", "--image", "v2").code == 0
    deployed.client("ecr").batch_delete_image(
        repositoryName="facemask", imageIds=[{"imageTag": "v1"}]
    )
    done = command("rollback")
    assert done.code == 1
    assert "image of revision 1 is gone" in done.err


def test_down_takes_all_away_and_up_works_again(deployed: Cloud, command: Command) -> None:
    assert command("down").code == 1  # nobody is there to be asked
    down = command("down", "--yes")
    assert down.code == 0, down.err
    assert leftovers(deployed) == []
    again = command("down", "--yes")
    assert again.code == 0
    assert again.changes == []
    assert command("status").code == 1
    assert "create" in command("up", "--yes", "--image", "v1").out
    deployed.put_image("v1")
    assert command("up", "--yes", "--image", "v1").code == 0


def test_down_keeps_the_images_if_told(deployed: Cloud, command: Command) -> None:
    assert command("down", "--yes", "--keep-images").code == 0
    assert leftovers(deployed) == ["ecr facemask"]
    assert command("down", "--yes", "--keep-images").changes == []
    assert command("up", "--yes", "--image", "v1").code == 0


def leftovers(cloud: Cloud) -> list[str]:
    """Name what is left in the account of all that `up` makes."""
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
    for status in ("ACTIVE", "INACTIVE"):
        left += client("ecs").list_task_definitions(status=status)["taskDefinitionArns"]
    left += client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")[
        "ScalableTargets"
    ]
    left += [a["AlarmName"] for a in client("cloudwatch").describe_alarms()["MetricAlarms"]]
    return left
