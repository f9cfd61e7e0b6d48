"""Following a deployment, against botocore's Stubber, which checks answers by ECS's model."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from deploy import follow
from deploy.aws import Aws, explain
from deploy.errors import DeploymentFailed, DeploymentTimedOut
from deploy.names import Names

NAMES = Names("facemask", "eu-central-1", "123456789012")
ARN = "arn:aws:ecs:eu-central-1:123456789012:task-definition/facemask"
START = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = {"cluster": "facemask", "services": ["facemask"], "include": ["TAGS"]}


def deployment(
    identity: str, revision: int, status: str, state: str, **more: Any
) -> dict[str, Any]:
    return {
        "id": f"ecs-svc/{identity}",
        "status": status,
        "taskDefinition": f"{ARN}:{revision}",
        "rolloutState": state,
        "desiredCount": 2,
        "runningCount": 1,
        "failedTasks": 0,
        "createdAt": START,
        **more,
    }


def described(*deployments: dict[str, Any], events: tuple[str, ...] = ()) -> dict[str, Any]:
    """Answer DescribeServices."""
    listed = [
        {"id": text, "createdAt": START + timedelta(seconds=1), "message": text} for text in events
    ]
    old = {"id": "old", "createdAt": START - timedelta(hours=1), "message": "of an hour ago"}
    service = {"serviceName": "facemask", "status": "ACTIVE", "events": [*listed[::-1], old]}
    return {"services": [service | {"deployments": list(deployments)}]}


class Clients(Aws):
    """An Aws whose clients are stubbed."""

    def __init__(self) -> None:
        self.stubbed = {
            name: boto3.client(
                name, "eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
            )
            for name in ("ecs", "logs")
        }

    def client(self, service: str) -> Any:
        return self.stubbed[service]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Clients:
    monkeypatch.setattr(follow, "POLL_S", 0.001)
    return Clients()


@pytest.fixture
def ecs(aws: Clients) -> Iterator[Stubber]:
    with Stubber(aws.client("ecs")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def logs(aws: Clients) -> Iterator[Stubber]:
    with Stubber(aws.client("logs")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def wait(aws: Aws, timeout_s: float = 30) -> None:
    follow.follow(aws, NAMES, "ecs-svc/new", f"{ARN}:2", timeout_s)


def test_steady(aws: Aws, ecs: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    old = deployment("old", 1, "ACTIVE", "COMPLETED")
    new = deployment("new", 2, "PRIMARY", "IN_PROGRESS")
    ecs.add_response("describe_services", described(new, old), ASKED)
    ecs.add_response("describe_services", described(new, old, events=("started a task",)), ASKED)
    done = deployment("new", 2, "PRIMARY", "COMPLETED")
    said = ("started a task", "has reached a steady state")
    ecs.add_response("describe_services", described(done, events=said), ASKED)
    wait(aws)
    printed = capsys.readouterr().err
    assert [printed.count(text) for text in said] == [1, 1]  # each event once
    assert "of an hour ago" not in printed


def stopped_task() -> dict[str, Any]:
    return {
        "taskArn": "arn:aws:ecs:eu-central-1:123456789012:task/facemask/0abc",
        "taskDefinitionArn": f"{ARN}:2",
        "stoppedReason": "Essential container in task exited",
        "stoppedAt": START,
        "containers": [{"name": "facemask", "exitCode": 3}],
    }


def expect_post_mortem(ecs: Stubber, logs: Stubber) -> None:
    other = stopped_task() | {"taskDefinitionArn": f"{ARN}:1", "stoppedReason": "Scaling activity"}
    asked = {"cluster": "facemask", "serviceName": "facemask", "desiredStatus": "STOPPED"}
    arns = ["one", "two"]
    ecs.add_response("list_tasks", {"taskArns": arns}, asked)
    ecs.add_response(
        "describe_tasks",
        {"tasks": [stopped_task(), other]},
        {"cluster": "facemask", "tasks": arns},
    )
    logs.add_response(
        "get_log_events",
        {"events": [{"message": "ModelError: the weights are not what the card says\n"}]},
        {
            "logGroupName": "/ecs/facemask",
            "logStreamName": "facemask/facemask/0abc",
            "limit": follow.LINES_SHOWN,
        },
    )


def expect_failure(aws: Aws) -> str:
    with pytest.raises(DeploymentFailed) as caught:
        wait(aws)
    assert caught.value.exit_code == 2
    words = str(caught.value)
    assert "facemask:2 did not become steady" in words
    assert "Essential container in task exited" in words
    assert "exit code 3" in words
    assert "ModelError: the weights" in words
    assert "Scaling activity" not in words  # a task of another revision
    return words


def test_rolled_back(aws: Aws, ecs: Stubber, logs: Stubber) -> None:
    old = deployment("old", 1, "ACTIVE", "COMPLETED")
    ecs.add_response(
        "describe_services", described(deployment("new", 2, "PRIMARY", "IN_PROGRESS"), old), ASKED
    )
    failed = deployment(
        "new", 2, "ACTIVE", "FAILED", rolloutStateReason="circuit breaker: tasks failed to start"
    )
    back = deployment("back", 1, "PRIMARY", "IN_PROGRESS")
    ecs.add_response("describe_services", described(back, failed), ASKED)
    expect_post_mortem(ecs, logs)
    words = expect_failure(aws)
    assert "circuit breaker: tasks failed to start" in words
    assert "The service runs facemask:1 again" in words


def test_rolled_back_between_two_polls(aws: Aws, ecs: Stubber, logs: Stubber) -> None:
    """botocore's own waiter would call this steady."""
    back = deployment("back", 1, "PRIMARY", "COMPLETED", runningCount=2)
    ecs.add_response("describe_services", described(back), ASKED)
    expect_post_mortem(ecs, logs)
    assert "The service runs facemask:1 again" in expect_failure(aws)


def test_the_first_deployment_fails_with_nothing_to_go_back_to(
    aws: Aws, ecs: Stubber, logs: Stubber
) -> None:
    ecs.add_response(
        "describe_services", described(deployment("new", 2, "PRIMARY", "FAILED")), ASKED
    )
    expect_post_mortem(ecs, logs)
    assert "runs" not in expect_failure(aws)


def test_the_failure_is_told_where_the_tasks_may_not_be_read(aws: Aws, ecs: Stubber) -> None:
    ecs.add_response(
        "describe_services", described(deployment("new", 2, "PRIMARY", "FAILED")), ASKED
    )
    ecs.add_client_error("list_tasks", "AccessDeniedException", "no")
    with pytest.raises(DeploymentFailed, match=r"did not become steady(.|\n)*AccessDenied"):
        wait(aws)


def test_timed_out(aws: Aws, ecs: Stubber) -> None:
    new = deployment("new", 2, "PRIMARY", "IN_PROGRESS", failedTasks=1)
    ecs.add_response("describe_services", described(new), ASKED)
    with pytest.raises(
        DeploymentTimedOut, match=r"facemask:2: 1 of 2 tasks running, 1 failed"
    ) as caught:
        wait(aws, timeout_s=0)
    assert caught.value.exit_code == 3


def test_access_denied(aws: Aws, ecs: Stubber) -> None:
    ecs.add_client_error("describe_services", "AccessDeniedException", "User may not.")
    with pytest.raises(aws.ecs.exceptions.ClientError) as caught:
        wait(aws)
    assert "AWS does not allow DescribeServices: User may not." in explain(caught.value)


def test_a_service_that_was_deleted_meanwhile(aws: Aws, ecs: Stubber) -> None:
    ecs.add_response("describe_services", {"services": []}, ASKED)
    with pytest.raises(DeploymentFailed, match="is gone"):
        wait(aws)
