"""How it goes: what runs, how healthy it is and what happened last."""

from __future__ import annotations

from typing import Any

from deploy import balancer, compute, scaling
from deploy.aws import Aws
from deploy.config import Config
from deploy.errors import DeployError
from deploy.names import Names

EVENTS_SHOWN = 5


def url_of(config: Config, found: Any) -> str:
    """Return where clients ask: the certificate's name if one is set, else the balancer's own."""
    scheme = "https" if config.certificate_arn else "http"
    return f"{scheme}://{config.domain or found['DNSName']}"


def read(aws: Aws, config: Config, names: Names) -> dict[str, Any]:
    """Read everything that `status` tells; raises DeployError where nothing is deployed."""
    service = compute.find_service(aws, names)
    front = balancer.find(aws, names)
    if not service or not front or not names.owns(service.get("tags", [])):
        raise DeployError(f"{names.name} is not deployed in {names.region}. `python -m deploy up`")
    definition = aws.ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
    limits = scaling.find_bounds(aws, names)
    return {
        "name": names.name,
        "region": names.region,
        "url": url_of(config, front),
        "revision": compute.revision(service["taskDefinition"]),
        "image": definition["taskDefinition"]["containerDefinitions"][0]["image"],
        "running": service["runningCount"],
        "desired": service["desiredCount"],
        "pending": service["pendingCount"],
        "scaling": {"min": limits["MinCapacity"], "max": limits["MaxCapacity"]} if limits else None,
        "steady": compute.primary(service).get("rolloutState") == "COMPLETED",
        "deployments": [
            {
                "id": item["id"],
                "status": item["status"],
                "revision": compute.revision(item["taskDefinition"]),
                "state": item.get("rolloutState"),
                "reason": item.get("rolloutStateReason"),
                "running": item["runningCount"],
                "desired": item["desiredCount"],
                "failed": item.get("failedTasks", 0),
            }
            for item in service["deployments"]
        ],
        "health": health(aws, names),
        "alarms": {
            name: alarm["StateValue"] for name, alarm in scaling.find_alarms(aws, config).items()
        },
        "events": [
            {"at": event["createdAt"].isoformat(timespec="seconds"), "message": event["message"]}
            for event in service["events"][:EVENTS_SHOWN]
        ],
    }


def health(aws: Aws, names: Names) -> list[dict[str, str]]:
    """Return what the load balancer thinks of each task."""
    group = balancer.find_target_group(aws, names)
    if not group:
        return []
    found = aws.elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
    return [
        {
            "target": item["Target"]["Id"],
            "state": item["TargetHealth"]["State"],
            "reason": item["TargetHealth"].get("Description", ""),
        }
        for item in found["TargetHealthDescriptions"]
    ]


def lines(status: dict[str, Any]) -> list[str]:
    """Say the status in lines."""
    limits = status["scaling"]
    bounds = f", the autoscaler keeps {limits['min']} to {limits['max']}" if limits else ""
    tasks = f"{status['running']} of {status['desired']} tasks running, {status['pending']} pending"
    return [
        f"{status['name']} in {status['region']}: {status['url']}",
        f"revision {status['revision']}, {'steady' if status['steady'] else 'NOT STEADY'}",
        f"image {status['image']}",
        tasks + bounds,
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
