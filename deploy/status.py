"""Read the state of the deployment, and find the previous steady image."""

from __future__ import annotations

from typing import Any

from deploy import stack as stacks
from deploy.aws import Aws, absent
from deploy.config import Config
from deploy.errors import DeployError
from deploy.logs import find_service
from deploy.stack import held

EVENTS_SHOWN = 5
DESCRIBED = 20  # service revisions that AWS describes at once


def read(aws: Aws, config: Config) -> dict[str, Any]:
    """Read everything that `status` shows; raises DeployError if nothing is deployed."""
    stack = stacks.find(aws, config)
    service = find_service(aws, config)
    if not stack or not service:
        raise DeployError(
            f"{config.name} is not deployed in {aws.region}. Deploy it: `python -m deploy up`"
        )
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}
    parameters = held(stack)
    newest = next(item for item in service["deployments"] if item["status"] == "PRIMARY")
    group = service["loadBalancers"][0]["targetGroupArn"]
    alarms = aws.cloudwatch.describe_alarms(AlarmNamePrefix=f"{config.name}-")["MetricAlarms"]
    return {
        "name": config.name,
        "region": aws.region,
        "url": outputs.get("Url", ""),
        "stack": stack["StackStatus"],
        "revision": revision(service["taskDefinition"]),
        "image": parameters["Image"],
        "running": service["runningCount"],
        "desired": service["desiredCount"],
        "pending": service["pendingCount"],
        "scaling": {"min": int(parameters["MinTasks"]), "max": int(parameters["MaxTasks"])},
        "steady": newest.get("rolloutState") == "COMPLETED",
        "deployments": [
            {
                "id": item["id"],
                "status": item["status"],
                "revision": revision(item["taskDefinition"]),
                "state": item.get("rolloutState"),
                "reason": item.get("rolloutStateReason"),
                "running": item["runningCount"],
                "desired": item["desiredCount"],
                "failed": item.get("failedTasks", 0),
            }
            for item in service["deployments"]
        ],
        "health": health(aws, group),
        "alarms": {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms},
        "events": [
            {"at": event["createdAt"].isoformat(timespec="seconds"), "message": event["message"]}
            for event in service["events"][:EVENTS_SHOWN]
        ],
    }


def revision(arn: str) -> int:
    """Return the number of a task definition's revision."""
    return int(arn.rpartition(":")[2])


def health(aws: Aws, group: str) -> list[dict[str, str]]:
    """Return each task's health as the load balancer sees it."""
    found = aws.elbv2.describe_target_health(TargetGroupArn=group)
    return [
        {
            "target": item["Target"]["Id"],
            "state": item["TargetHealth"]["State"],
            "reason": item["TargetHealth"].get("Description", ""),
        }
        for item in found["TargetHealthDescriptions"]
    ]


def lines(status: dict[str, Any]) -> list[str]:
    """Return the status as lines of text."""
    limits = status["scaling"]
    steady = "steady" if status["steady"] else "NOT STEADY"
    tasks = f"{status['running']} of {status['desired']} tasks running, {status['pending']} pending"
    return [
        f"{status['name']} in {status['region']}: {status['url']}",
        f"stack {status['stack']}, revision {status['revision']}, {steady}",
        f"image {status['image']}",
        f"{tasks}, the autoscaler keeps {limits['min']} to {limits['max']}",
        *(
            f"deployment {item['id']} {item['status']}: revision {item['revision']}, "
            f"{item['state']}, {item['running']} of {item['desired']} running, "
            f"{item['failed']} failed"
            for item in status["deployments"]
        ),
        *(
            f"target {item['target']}: {item['state']}  {item['reason']}".rstrip()
            for item in status["health"]
        ),
        *(f"alarm {name}: {state}" for name, state in status["alarms"].items()),
        *(f"{event['at']}  {event['message']}" for event in status["events"]),
    ]


def image_of(aws: Aws, config: Config, number: int) -> str:
    """Return the image of a revision; raises DeployError if the revision does not exist."""
    found = absent(
        lambda: aws.ecs.describe_task_definition(taskDefinition=f"{config.name}:{number}"),
        *("ClientException", "InvalidParameterException"),
    )
    if not found:
        raise DeployError(f"There is no revision {number} of {config.name}.")
    return str(found["taskDefinition"]["containerDefinitions"][0]["image"])


def steady_before(aws: Aws, config: Config, running: str) -> str:
    """Return the image of the newest successful deployment with an image other than the running.

    The previous revision is no safe choice, as it may be the one that crashed. ECS keeps 90 days
    of deployments.
    """
    found: list[Any] = []
    token: dict[str, str] = {}
    while True:  # boto3 has no paginator for this
        page = aws.ecs.list_service_deployments(
            cluster=config.name, service=config.name, status=["SUCCESSFUL"], **token
        )
        found += page["serviceDeployments"]
        if not page.get("nextToken"):
            break
        token = {"nextToken": page["nextToken"]}
    found.sort(key=lambda item: item["createdAt"], reverse=True)
    order = list(dict.fromkeys(item["targetServiceRevisionArn"] for item in found))
    for start in range(0, len(order), DESCRIBED):
        batch = order[start : start + DESCRIBED]
        told = aws.ecs.describe_service_revisions(serviceRevisionArns=batch)["serviceRevisions"]
        images = {item["serviceRevisionArn"]: item["containerImages"][0]["image"] for item in told}
        for arn in batch:
            if images.get(arn, running) != running:
                return str(images[arn])
    raise DeployError("No other image was ever steady. Name a revision: rollback REVISION.")
