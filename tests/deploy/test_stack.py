"""Answers of CloudFormation; botocore's Stubber checks them against AWS's model."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from deploy import stack
from deploy.aws import Aws, explain
from deploy.config import Config
from deploy.errors import DeployError, DeploymentFailed, DeploymentTimedOut

CONFIG = Config(open=True)
ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/facemask/0abc"
DEFINITION = "arn:aws:ecs:eu-central-1:123456789012:task-definition/facemask"
START = datetime(2026, 1, 1, tzinfo=UTC)
SERVICES = {"cluster": "facemask", "services": ["facemask"]}
BREAKER = "Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'."


class Clients(Aws):
    """An Aws whose clients are stubbed."""

    def __init__(self) -> None:
        self.stubbed = {
            name: boto3.client(
                name, "eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
            )
            for name in ("cloudformation", "ecs", "logs")
        }

    def client(self, service: str) -> Any:
        return self.stubbed[service]

    @property
    def region(self) -> str:
        return "eu-central-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Clients:
    monkeypatch.setattr(stack, "POLL_S", 0.001)
    return Clients()


def stubbed(aws: Clients, name: str) -> Iterator[Stubber]:
    with Stubber(aws.client(name)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def cloudformation(aws: Clients) -> Iterator[Stubber]:
    yield from stubbed(aws, "cloudformation")


@pytest.fixture
def ecs(aws: Clients) -> Iterator[Stubber]:
    yield from stubbed(aws, "ecs")


@pytest.fixture
def logs(aws: Clients) -> Iterator[Stubber]:
    yield from stubbed(aws, "logs")


def event(
    status: str, name: str = "facemask", reason: str = "", token: str = "ours"
) -> dict[str, Any]:
    kind = "AWS::ECS::Service" if name == "Service" else stack.KIND
    made = {"StackId": ID, "StackName": "facemask", "LogicalResourceId": name}
    made |= {"ResourceType": kind, "ResourceStatus": status, "ClientRequestToken": token}
    made |= {"EventId": f"{name}-{status}-{token}", "PhysicalResourceId": name}
    return made | {"Timestamp": START, **({"ResourceStatusReason": reason} if reason else {})}


BEFORE = event("CREATE_COMPLETE", token="an earlier one's")


def poll(cloudformation: Stubber, *events: dict[str, Any]) -> None:
    """Stub one look at the events, newest first as AWS returns them."""
    answer = {"StackEvents": [*events[::-1], BEFORE]}
    cloudformation.add_response("describe_stack_events", answer, {"StackName": ID})


def said_by_ecs(ecs: Stubber, *messages: str) -> None:
    old = {"id": "old", "createdAt": START - timedelta(hours=1), "message": "of an hour ago"}
    listed = [{"id": text, "createdAt": START, "message": text} for text in messages]
    service = {"serviceName": "facemask", "status": "ACTIVE", "events": [*listed[::-1], old]}
    ecs.add_response("describe_services", {"services": [service]}, SERVICES)


def follow(aws: Aws, timeout_s: float = 30) -> None:
    stack.follow(aws, CONFIG, ID, "ours", timeout_s)


def test_the_events_of_stack_and_service_are_printed_once(
    aws: Aws, cloudformation: Stubber, ecs: Stubber, capsys: pytest.CaptureFixture[str]
) -> None:
    poll(cloudformation)  # the operation's first event is not listed yet
    begun, made = event("UPDATE_IN_PROGRESS"), event("UPDATE_COMPLETE", "Service")
    poll(cloudformation, begun)
    said_by_ecs(ecs, "started a task")
    poll(cloudformation, begun, made, event("UPDATE_COMPLETE"))
    said_by_ecs(ecs, "started a task", "has reached a steady state")
    follow(aws)
    printed = capsys.readouterr().err
    for words in ("started a task", "steady state", "Service          UPDATE_COMPLETE"):
        assert printed.count(words) == 1
    assert "of an hour ago" not in printed
    assert "CREATE_COMPLETE" not in printed


def autopsy(ecs: Stubber, logs: Stubber) -> None:
    """Stub the reasons why tasks stopped, the last one first."""
    arn = "arn:aws:ecs:eu-central-1:123456789012:task/facemask/"
    tasks = [
        {
            "taskArn": f"{arn}{name}",
            "stoppedReason": reason,
            "stoppedAt": START + timedelta(seconds=at),
            "containers": [{"name": "facemask", "exitCode": 3}],
        }
        for name, reason, at in (("1", "Scaling", 1), ("2", "Essential container exited", 2))
    ]
    asked = {"cluster": "facemask", "serviceName": "facemask", "desiredStatus": "STOPPED"}
    ecs.add_response("list_tasks", {"taskArns": ["1", "2"]}, asked)
    ecs.add_response(
        "describe_tasks", {"tasks": tasks}, {"cluster": "facemask", "tasks": ["1", "2"]}
    )
    for name in ("2", "1"):
        stream = f"facemask/facemask/{name}"
        logs.add_response(
            "get_log_events",
            {"events": [{"message": f"ModelError in {name}\n"}]},
            {"logGroupName": "/ecs/facemask", "logStreamName": stream, "limit": 15},
        )


def test_an_update_that_is_rolled_back(
    aws: Aws, cloudformation: Stubber, ecs: Stubber, logs: Stubber
) -> None:
    failing = [
        event("UPDATE_IN_PROGRESS"),
        event("UPDATE_FAILED", "Service", BREAKER),
        event("UPDATE_ROLLBACK_IN_PROGRESS"),
    ]
    poll(cloudformation, *failing)
    said_by_ecs(ecs, "tasks failed to start")
    autopsy(ecs, logs)
    poll(cloudformation, *failing, event("UPDATE_ROLLBACK_COMPLETE"))
    said_by_ecs(ecs)
    with pytest.raises(DeploymentFailed) as caught:
        follow(aws)
    words = str(caught.value)
    assert caught.value.exit_code == 2
    assert "failed and was rolled back to the previous state" in words
    assert "Circuit Breaker" in words
    assert words.index("ModelError in 2") < words.index("ModelError in 1")
    assert "exit code 3" in words


def test_a_creation_that_failed(
    aws: Aws, cloudformation: Stubber, ecs: Stubber, logs: Stubber
) -> None:
    """The reasons are read while tasks and log still exist."""
    failing = [
        event("CREATE_IN_PROGRESS"),
        event("CREATE_FAILED", "Service", BREAKER),
        event("ROLLBACK_IN_PROGRESS"),
    ]
    poll(cloudformation, *failing)
    said_by_ecs(ecs)
    autopsy(ecs, logs)
    poll(cloudformation, *failing, event("ROLLBACK_COMPLETE"))
    ecs.add_client_error("describe_services", "ClusterNotFoundException")
    with pytest.raises(DeploymentFailed, match=r"The next `up` deletes(.|\n)*ModelError in 2"):
        follow(aws)


def test_the_failure_is_reported_where_the_tasks_may_not_be_read(
    aws: Aws, cloudformation: Stubber, ecs: Stubber
) -> None:
    poll(cloudformation, event("UPDATE_ROLLBACK_COMPLETE"))
    said_by_ecs(ecs)
    ecs.add_client_error("list_tasks", "AccessDeniedException", "no")
    with pytest.raises(DeploymentFailed, match="could not be read: AccessDenied"):
        follow(aws)


def test_timed_out(aws: Aws, cloudformation: Stubber, ecs: Stubber) -> None:
    poll(cloudformation, event("UPDATE_IN_PROGRESS"))
    said_by_ecs(ecs)
    with pytest.raises(DeploymentTimedOut, match="UPDATE_IN_PROGRESS") as caught:
        follow(aws, timeout_s=0)
    assert caught.value.exit_code == 3


def test_a_deletion_that_failed(aws: Aws, cloudformation: Stubber, ecs: Stubber) -> None:
    poll(cloudformation, event("DELETE_FAILED", reason="sg-1 has a dependent object"))
    ecs.add_client_error("describe_services", "ClusterNotFoundException")
    with pytest.raises(
        DeploymentFailed, match=r"`python -m deploy down` continues(.|\n)*sg-1 has a"
    ):
        follow(aws)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("AccessDenied", "AWS does not allow DescribeStackEvents: it says. `python -m deploy iam"),
        ("Throttling", "AWS limits the rate of calls"),
    ],
)
def test_denied_and_throttled(aws: Aws, cloudformation: Stubber, error: str, words: str) -> None:
    cloudformation.add_client_error("describe_stack_events", error, "it says.")
    with pytest.raises(aws.cloudformation.exceptions.ClientError) as caught:
        follow(aws)
    assert words in explain(caught.value)


def described(status: str) -> dict[str, Any]:
    return {
        "StackName": "facemask",
        "StackId": ID,
        "CreationTime": START,
        "StackStatus": status,
        "Tags": CONFIG.tags,
        "Parameters": [{"ParameterKey": "Image", "ParameterValue": "old"}],
    }


STATES = {
    "CREATE_IN_PROGRESS": "Wait until that has ended",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "Wait until that has ended",
    "UPDATE_ROLLBACK_FAILED": "continue-update-rollback --stack-name facemask",
    "DELETE_FAILED": "`python -m deploy down` continues",
    "DELETE_IN_PROGRESS": "Wait until that has ended",
    "UPDATE_FAILED": "See the AWS console",
    "IMPORT_ROLLBACK_FAILED": "See the AWS console",
    "ROLLBACK_COMPLETE": "is not deployed",
    "CREATE_FAILED": "is not deployed",
    "REVIEW_IN_PROGRESS": "is not deployed",
}


@pytest.mark.parametrize(
    "status",
    boto3.client("cloudformation", "eu-central-1").meta.service_model.shape_for("StackStatus").enum,
)
def test_each_state_says_what_to_do(aws: Aws, cloudformation: Stubber, status: str) -> None:
    cloudformation.add_response("describe_stacks", {"Stacks": [described(status)]})
    if status in {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
    }:
        assert stack.existing(aws, CONFIG)["StackId"] == ID
        return
    with pytest.raises(DeployError) as caught:
        stack.existing(aws, CONFIG)
    assert STATES.get(status, "") in str(caught.value)
    assert re_ends(str(caught.value))


def re_ends(words: str) -> bool:
    """Tell whether a message is a full sentence that says what to do."""
    return words[0].isupper() or "`python -m deploy up`" in words


def test_a_stack_of_someone_else_is_not_touched(aws: Aws, cloudformation: Stubber) -> None:
    other = described("CREATE_COMPLETE") | {"Tags": [{"Key": "deployment", "Value": "facemask"}]}
    cloudformation.add_response("describe_stacks", {"Stacks": [other]})
    with pytest.raises(
        DeployError, match="does not belong to this deployment: it lacks the tags managed-by="
    ):
        stack.find(aws, CONFIG)


def change_set(status: str, reason: str = "", *changes: Any) -> dict[str, Any]:
    listed = [{"Type": "Resource", "ResourceChange": change} for change in changes]
    return {"Status": status, "StatusReason": reason, "Changes": listed}


def test_a_change_set_is_put_into_words(aws: Aws, cloudformation: Stubber) -> None:
    cloudformation.add_response(
        "create_change_set",
        {"Id": "arn:changeset"},
        {
            "StackName": "facemask",
            "ChangeSetName": ANY,
            "ChangeSetType": "UPDATE",
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": CONFIG.tags,
            "Parameters": [{"ParameterKey": "Image", "ParameterValue": "new"}],
            "UsePreviousTemplate": True,
            "DeploymentMode": "REVERT_DRIFT",
        },
    )
    image = {"Target": {"Attribute": "Properties", "Name": "ContainerDefinitions"}}
    replaced = {
        "Action": "Modify",
        "Replacement": "True",
        "LogicalResourceId": "TaskDefinition",
        "ResourceType": "AWS::ECS::TaskDefinition",
        "Details": [image],
    }
    gone = {"Action": "Remove", "LogicalResourceId": "Redirect", "ResourceType": "AWS::X::Y"}
    by_hand = {"Action": "SyncWithActual", "LogicalResourceId": "Z", "ResourceType": "AWS::X::Z"}
    answers = (
        change_set("CREATE_IN_PROGRESS"),
        change_set("CREATE_COMPLETE", "", replaced) | {"NextToken": "more"},
        change_set("CREATE_COMPLETE", "", gone, by_hand),
    )
    for answer in answers:
        cloudformation.add_response("describe_change_set", answer)
    wish = stack.Wish({"Image": "new"}, repair=True)
    found = stack.propose(aws, CONFIG, described("CREATE_COMPLETE"), wish)
    assert found[0] == "arn:changeset"
    assert [str(change).split() for change in found[1]] == [
        ["!", "replace", "TaskDefinition", "ECS::TaskDefinition", "ContainerDefinitions"],
        ["-", "delete", "Redirect", "X::Y"],
        ["~", "change", "Z", "X::Z"],
    ]


NOTHING = "The submitted information didn't contain changes. Submit different information"


@pytest.mark.parametrize("reason", [NOTHING, "No updates are to be performed.", "Access denied"])
def test_a_change_set_that_fails_is_deleted(aws: Aws, cloudformation: Stubber, reason: str) -> None:
    """AWS ends an empty change set as failed; moto refuses to make one."""
    cloudformation.add_response("create_change_set", {"Id": "arn:changeset"})
    cloudformation.add_response("describe_change_set", change_set("FAILED", reason))
    cloudformation.add_response("delete_change_set", {}, {"ChangeSetName": "arn:changeset"})
    held = described("CREATE_COMPLETE")
    if reason == "Access denied":
        with pytest.raises(DeployError, match="AWS refuses the change: Access denied"):
            stack.propose(aws, CONFIG, held, stack.Wish({"Image": "new"}))
    else:
        assert stack.propose(aws, CONFIG, held, stack.Wish({"Image": "new"})) == ("", [])
