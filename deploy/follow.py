"""Wait for a deployment, by its id, until it is steady, has failed or takes too long."""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import ClientError

from deploy import compute
from deploy.aws import Aws, absent, code
from deploy.console import note, waiting
from deploy.errors import DeploymentFailed, DeploymentTimedOut
from deploy.names import Names

POLL_S = 3.0
TASKS_SHOWN = 3
LINES_SHOWN = 15


def follow(aws: Aws, names: Names, deployment_id: str, revision: str, timeout_s: float) -> None:
    """Wait until the deployment is steady, saying the service's events as they come.

    revision: the ARN of the task definition that it brings; a rollback brings another.
    Raises DeploymentFailed when it failed, was rolled back, or is no longer there, with the reasons
    of the tasks that stopped and their last lines; DeploymentTimedOut after timeout_s.
    """
    deadline = time.monotonic() + timeout_s
    seen: set[str] = set()
    first = True
    with waiting(f"deployment {deployment_id}") as update:
        while True:
            service = compute.find_service(aws, names)
            if service is None:
                raise DeploymentFailed(f"The service {names.name} is gone.")
            ours = next((d for d in service["deployments"] if d["id"] == deployment_id), None)
            if first:  # what happened before is not of this deployment
                begun = ours["createdAt"] if ours else None
                seen |= {e["id"] for e in service["events"] if begun and e["createdAt"] < begun}
                if steady(ours) and not failed(ours, revision):
                    return
                first = False
            for event in reversed(service["events"]):
                if event["id"] not in seen:
                    seen.add(event["id"])
                    note(f"  {event['createdAt']:%H:%M:%S} {event['message']}")
            if failed(ours, revision):
                break
            if steady(ours):
                return
            update(progress(ours))
            if time.monotonic() + POLL_S > deadline:
                raise DeploymentTimedOut(
                    f"Not steady after {timeout_s:.0f} s: {progress(ours)}. ECS goes on; "
                    "`python -m deploy status` shows how, `python -m deploy logs` why."
                )
            time.sleep(POLL_S)
    raise DeploymentFailed(why(aws, names, service, ours, revision))


def failed(deployment: Any, revision: str) -> bool:
    """Tell whether a deployment came to nothing: gone, given up, or never of the revision."""
    return (
        deployment is None
        or deployment.get("rolloutState") == "FAILED"
        or deployment["taskDefinition"] != revision
    )


def steady(deployment: Any) -> bool:
    """Tell whether a deployment is done and still the service's own."""
    return bool(
        deployment
        and deployment["status"] == "PRIMARY"
        and deployment.get("rolloutState") == "COMPLETED"
    )


def progress(deployment: Any) -> str:
    """Say how far a deployment is."""
    return (
        f"{deployment['taskDefinition'].split('/')[-1]}: {deployment['runningCount']} of "
        f"{deployment['desiredCount']} tasks running, {deployment.get('failedTasks', 0)} failed"
    )


def why(aws: Aws, names: Names, service: Any, ours: Any, revision: str) -> str:
    """Explain a failed deployment: ECS's reason, the stopped tasks' reasons and last lines."""
    newest = compute.primary(service)
    lines = [f"The deployment failed: {revision.rpartition('/')[2]} did not become steady."]
    if ours and ours.get("rolloutStateReason"):
        lines.append(f"  {ours['rolloutStateReason']}")
    if newest["taskDefinition"] != revision:
        lines.append(f"  The service runs {newest['taskDefinition'].split('/')[-1]} again.")
    try:
        for task in stopped(aws, names, revision)[:TASKS_SHOWN]:
            lines += [f"  {line}" for line in post_mortem(aws, names, task)]
    except ClientError as error:  # the failure itself is what must be told
        lines.append(f"  The stopped tasks could not be read: {code(error)}.")
    lines.append("  `python -m deploy logs --previous` has all that they wrote.")
    return "\n".join(lines)


def stopped(aws: Aws, names: Names, revision: str = "") -> list[Any]:
    """Return the tasks that stopped within the last hour, the last first."""
    arns = aws.ecs.list_tasks(cluster=names.name, serviceName=names.name, desiredStatus="STOPPED")[
        "taskArns"
    ]
    tasks = aws.ecs.describe_tasks(cluster=names.name, tasks=arns[:100])["tasks"] if arns else []
    ours = [task for task in tasks if not revision or task["taskDefinitionArn"] == revision]
    return sorted(ours, key=lambda task: str(task.get("stoppedAt", "")), reverse=True)


def post_mortem(aws: Aws, names: Names, task: Any) -> list[str]:
    """Say why a task stopped, with the last lines of its log."""
    identity = task["taskArn"].split("/")[-1]
    lines = [f"task {identity}: {task.get('stoppedReason', 'stopped')}"]
    for container in task.get("containers", []):
        if container.get("reason"):
            lines.append(f"  {container['reason']}")
        if container.get("exitCode") is not None:
            lines.append(f"  exit code {container['exitCode']}")
    return lines + [f"  | {line}" for line in last_lines(aws, names, identity)]


def last_lines(aws: Aws, names: Names, task: str) -> list[str]:
    """Return the last lines that a task wrote."""
    found = absent(
        lambda: aws.logs.get_log_events(
            logGroupName=names.log_group,
            logStreamName=f"{names.name}/{names.name}/{task}",
            limit=LINES_SHOWN,
        ),
        "ResourceNotFoundException",
    )
    return [event["message"].rstrip() for event in found["events"]] if found else []
