"""Read the tasks' logs, the reasons of stopped tasks, and the events of the ECS service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from deploy.aws import Aws, absent, code
from deploy.config import Config
from deploy.errors import DeployError

POLL_S = 2.0
LATE_S = 60  # events can arrive out of order, late by up to this
TASKS_SHOWN = 3
LINES_SHOWN = 15
GONE = ("ClusterNotFoundException", "ServiceNotFoundException", "ResourceNotFoundException")


def read(aws: Aws, config: Config, since_s: float, *, follow: bool) -> Iterator[str]:
    """Yield the log lines of all tasks of the last `since_s` seconds and, with follow, new ones."""
    start = int((time.time() - since_s) * 1000)
    seen: dict[str, int] = {}
    while True:
        for event in events(aws, config, startTime=start):
            if event["eventId"] not in seen:
                seen[event["eventId"]] = event["timestamp"]
                yield line(event)
        if not follow:
            return
        newest = max(seen.values(), default=start)
        start = max(start, newest - LATE_S * 1000)
        seen = {key: at for key, at in seen.items() if at >= start}
        time.sleep(POLL_S)


def previous(aws: Aws, config: Config) -> Iterator[str]:
    """Yield the whole log of the task that stopped last; raises DeployError if none is known."""
    tasks = stopped(aws, config)
    if not tasks:
        raise DeployError(
            "ECS lists no stopped task; it forgets them after about an hour. "
            "`python -m deploy logs --since 1d` shows the logs of all tasks."
        )
    stream = stream_of(config, tasks[0]["taskArn"])
    for event in events(aws, config, logStreamNames=[stream]):
        yield line(event | {"logStreamName": stream})


def stream_of(config: Config, task: str) -> str:
    """Return the log stream of a task."""
    return f"{config.name}/{config.name}/{task.rpartition('/')[2]}"


def events(aws: Aws, config: Config, **which: Any) -> Iterator[dict[str, Any]]:
    """Yield log events ordered by time; raises DeployError if the log group does not exist."""
    pages = aws.logs.get_paginator("filter_log_events").paginate(
        logGroupName=config.log_group, **which
    )
    try:
        for page in pages:
            yield from page["events"]
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        raise DeployError(
            f"The log group {config.log_group} does not exist. Deploy first: `python -m deploy up`"
        ) from None


def line(event: dict[str, Any]) -> str:
    """Return an event as a line: time, task and message."""
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    task = event.get("logStreamName", "").split("/")[-1][:8]
    return f"{at:%Y-%m-%d %H:%M:%S} {task} {event['message'].rstrip()}"


def stopped(aws: Aws, config: Config) -> list[Any]:
    """Return the stopped tasks that ECS still lists, the latest first."""
    found = absent(
        lambda: aws.ecs.list_tasks(
            cluster=config.name, serviceName=config.name, desiredStatus="STOPPED"
        ),
        *GONE,
    )
    arns = found["taskArns"][:100] if found else []
    tasks = aws.ecs.describe_tasks(cluster=config.name, tasks=arns)["tasks"] if arns else []
    return sorted(tasks, key=lambda task: str(task.get("stoppedAt", "")), reverse=True)


def autopsy(aws: Aws, config: Config, since: datetime) -> Iterator[str]:
    """Yield why tasks stopped since a time, the latest first, and the last lines of their logs."""
    try:
        late = [task for task in stopped(aws, config) if task.get("stoppedAt", since) >= since]
        for task in late[:TASKS_SHOWN]:
            yield f"  task {task['taskArn'].split('/')[-1]}: {task.get('stoppedReason', 'stopped')}"
            for container in task.get("containers", []):
                if container.get("reason"):
                    yield f"    {container['reason']}"
                if container.get("exitCode") is not None:
                    yield f"    exit code {container['exitCode']}"
            for text in last_lines(aws, config, task["taskArn"]):
                yield f"    | {text}"
    except ClientError as error:  # must not hide the failure that is being reported
        yield f"  The stopped tasks could not be read: {code(error)}."


def last_lines(aws: Aws, config: Config, task: str) -> list[str]:
    """Return the last log lines of a task."""
    found = absent(
        lambda: aws.logs.get_log_events(
            logGroupName=config.log_group, logStreamName=stream_of(config, task), limit=LINES_SHOWN
        ),
        "ResourceNotFoundException",
    )
    return [event["message"].rstrip() for event in found["events"]] if found else []


def find_service(aws: Aws, config: Config) -> Any:
    """Return the ECS service, None if there is none."""
    found = absent(
        lambda: aws.ecs.describe_services(cluster=config.name, services=[config.name]), *GONE
    )
    services = found["services"] if found else []
    return next((item for item in services if item["status"] != "INACTIVE"), None)


def service_events(aws: Aws, config: Config) -> list[Any]:
    """Return the ECS service's events, the oldest first."""
    service = find_service(aws, config)
    return service["events"][::-1] if service else []
