"""What the tasks wrote: of late, as it comes, or what the task that stopped last wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from deploy.aws import Aws, code
from deploy.errors import DeployError
from deploy.names import Names

POLL_S = 2.0
LATE_S = 60  # events come in out of order, by up to this


def read(aws: Aws, names: Names, since_s: float, *, follow: bool) -> Iterator[str]:
    """Yield the lines of all tasks of the last seconds and, with follow, those to come."""
    start = int((time.time() - since_s) * 1000)
    seen: dict[str, int] = {}
    while True:
        for event in events(aws, names, startTime=start):
            if event["eventId"] not in seen:
                seen[event["eventId"]] = event["timestamp"]
                yield line(event)
        if not follow:
            return
        newest = max(seen.values(), default=start)
        start = max(start, newest - LATE_S * 1000)
        seen = {key: at for key, at in seen.items() if at >= start}
        time.sleep(POLL_S)


def previous(aws: Aws, names: Names) -> Iterator[str]:
    """Yield all that the task wrote that stopped last; raises DeployError if none is known."""
    running = aws.ecs.list_tasks(cluster=names.name, serviceName=names.name)["taskArns"]
    alive = {arn.split("/")[-1] for arn in running}
    pages = aws.logs.get_paginator("describe_log_streams").paginate(
        logGroupName=names.log_group, orderBy="LastEventTime", descending=True
    )
    streams = (stream["logStreamName"] for page in pages for stream in page["logStreams"])
    stream = next((name for name in streams if name.split("/")[-1] not in alive), None)
    if stream is None:
        raise DeployError("No task has stopped yet that wrote anything.")
    for event in events(aws, names, logStreamNames=[stream]):
        yield line(event | {"logStreamName": stream})


def events(aws: Aws, names: Names, **which: Any) -> Iterator[dict[str, Any]]:
    """Yield log events in the order of their time; raises DeployError without a log group."""
    pages = aws.logs.get_paginator("filter_log_events").paginate(
        logGroupName=names.log_group, **which
    )
    try:
        for page in pages:
            yield from page["events"]
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        raise DeployError(
            f"There is no log group {names.log_group}. `python -m deploy up`"
        ) from None


def line(event: dict[str, Any]) -> str:
    """Write an event as time, task and message."""
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    task = event.get("logStreamName", "").split("/")[-1][:8]
    return f"{at:%Y-%m-%d %H:%M:%S} {task} {event['message'].rstrip()}"
