"""The part of ECS that moto lacks: services with deployments, events and tasks.

moto (5.2) gives a service neither events nor a second deployment and drops many of its
settings. Here a service keeps its settings, and an agent carries out deployments: `Steady`
declares them done, `Stuck` does nothing, and tests/deploy/fargate.py runs them in Docker.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Protocol

import boto3
import pytest
from moto.core.responses import ActionResult
from moto.ecs.exceptions import (
    ClusterNotFoundException,
    InvalidParameterException,
    ServiceNotFoundException,
)
from moto.ecs.responses import EC2ContainerServiceResponse as Responses

Record = dict[str, Any]
# A change of these makes ECS start a new deployment.
DEPLOYED = ("taskDefinition", "networkConfiguration", "capacityProviderStrategy", "loadBalancers")


class Agent(Protocol):
    """Carries out a deployment, now or later."""

    def deploy(self, service: Record, deployment: Record) -> None: ...

    def delete(self, service: Record) -> None: ...


class Steady:
    """Declares every deployment done at once."""

    def deploy(self, service: Record, deployment: Record) -> None:
        complete(service, deployment, service["desiredCount"])

    def delete(self, service: Record) -> None:
        service["status"] = "INACTIVE"


class Stuck(Steady):
    """Leaves every deployment in progress."""

    def deploy(self, service: Record, deployment: Record) -> None:
        event(service, f"(service) was unable to place a task of {deployment['id']}.")


class Crashing(Steady):
    """Lets every deployment's task crash, and rolls back as ECS's circuit breaker does.

    gone: the failed deployment is no longer listed.
    """

    def __init__(self, *, gone: bool = False) -> None:
        self.gone = gone

    def deploy(self, service: Record, deployment: Record) -> None:
        crash(service, deployment, "Essential container in task exited", 3)
        fail(service, deployment)
        if self.gone:
            service["deployments"].remove(deployment)


class State:
    """All services, by cluster and name, and their tasks."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        self.agent: Agent = Steady()
        self.started: str | None = None  # the deployment that started last
        self.services: dict[tuple[str, str], Record] = {}
        self.history: list[Record] = []
        self.revisions: dict[str, Record] = {}
        self.tasks: dict[str, Record] = {}


STATE = State()


def now() -> datetime:
    return datetime.now(UTC)


def event(service: Record, message: str) -> None:
    service["events"].insert(0, {"id": str(uuid.uuid4()), "createdAt": now(), "message": message})


def complete(service: Record, deployment: Record, running: int) -> None:
    """Make a deployment the only one, with its tasks running."""
    deployment |= {"rolloutState": "COMPLETED", "runningCount": running, "updatedAt": now()}
    service["deployments"] = [deployment]
    service["runningCount"] = running
    record(service, deployment, "SUCCESSFUL")
    event(service, f"(service {service['serviceName']}) has reached a steady state.")


def record(service: Record, deployment: Record, status: str) -> None:
    """Record how a deployment ended, for ListServiceDeployments."""
    base = service["serviceArn"].replace(":service/", ":service-revision/")
    revision = f"{base}/{uuid.uuid4().int}"
    STATE.revisions[revision] = {
        "serviceRevisionArn": revision,
        "taskDefinition": deployment["taskDefinition"],
        "containerImages": [{"image": image_of(deployment)}],
    }
    STATE.history.append(
        {
            "serviceArn": service["serviceArn"],
            "status": status,
            "createdAt": now(),
            "targetServiceRevisionArn": revision,
        }
    )


def image_of(deployment: Record) -> str:
    found = boto3.client("ecs").describe_task_definition(
        taskDefinition=deployment["taskDefinition"]
    )
    return str(found["taskDefinition"]["containerDefinitions"][0]["image"])


def crash(service: Record, deployment: Record, reason: str, exit_code: int) -> str:
    """Record a stopped task of a deployment; return its ARN."""
    arn = f"{service['clusterArn'].replace(':cluster/', ':task/')}/{uuid.uuid4().hex}"
    STATE.tasks[arn] = {
        "taskArn": arn,
        "taskDefinitionArn": deployment["taskDefinition"],
        "startedBy": deployment["id"],
        "lastStatus": "STOPPED",
        "desiredStatus": "STOPPED",
        "stoppedAt": now(),
        "stoppedReason": reason,
        "containers": [{"name": service["serviceName"], "exitCode": exit_code}],
    }
    deployment["failedTasks"] += 1
    event(service, f"(service {service['serviceName']}) has stopped a task: {arn[-32:]}.")
    return arn


def fail(service: Record, deployment: Record) -> None:
    """Trip the circuit breaker: return to the previous deployment, if there is one."""
    deployment |= {
        "rolloutState": "FAILED",
        "rolloutStateReason": "ECS deployment circuit breaker: tasks failed to start.",
        "updatedAt": now(),
    }
    event(service, f"(service {service['serviceName']}) deployment failed: tasks failed to start.")
    before = [item for item in service["deployments"] if item is not deployment]
    if before:
        deployment["status"] = "ACTIVE"
        back = new_deployment(service, before[0]["taskDefinition"])
        back["rolloutStateReason"] = (
            f"ECS deployment circuit breaker: rolling back to deploymentId {back['id']}."
        )
        back |= {"rolloutState": "COMPLETED", "runningCount": service["runningCount"]}
        service["deployments"] = [back, deployment]
        service["taskDefinition"] = back["taskDefinition"]
        event(service, f"(service {service['serviceName']}) rolling back to {back['id']}.")


def new_deployment(service: Record, task_definition: str) -> Record:
    return {
        "id": f"ecs-svc/{uuid.uuid4().int % 10**19}",
        "status": "PRIMARY",
        "taskDefinition": task_definition,
        "desiredCount": service["desiredCount"],
        "pendingCount": 0,
        "runningCount": 0,
        "failedTasks": 0,
        "createdAt": now(),
        "updatedAt": now(),
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": "ECS deployment in progress.",
    }


def start(service: Record) -> Record:
    """Start a deployment of the service's current settings; return the service as answered."""
    for deployment in service["deployments"]:
        deployment["status"] = "ACTIVE"
    deployment = new_deployment(service, service["taskDefinition"])
    STATE.started = deployment["id"]
    service["deployments"].insert(0, deployment)
    answer = deepcopy(service)
    STATE.agent.deploy(service, deployment)
    return answer


def cluster_of(self: Responses, name: str) -> Any:
    found, _ = self.ecs_backend.describe_clusters([name])
    if not found:
        raise ClusterNotFoundException
    return found[0]


def find(self: Responses) -> Record:
    cluster = cluster_of(self, self._get_param("cluster"))
    name = str(self._get_param("service")).split("/")[-1]
    service = STATE.services.get((cluster.name, name))
    if service is None or service["status"] == "INACTIVE":
        raise ServiceNotFoundException
    return service


def create_service(self: Responses) -> ActionResult:
    given = dict(self._get_params())
    cluster = cluster_of(self, given.pop("cluster"))
    name = given["serviceName"]
    held = STATE.services.get((cluster.name, name))
    if held and held["status"] != "INACTIVE":
        raise InvalidParameterException("Creation of service was not idempotent.")
    definition = self.ecs_backend.describe_task_definition(given["taskDefinition"])
    service: Record = given | {
        "serviceArn": cluster.arn.replace(":cluster/", ":service/") + f"/{name}",
        "clusterArn": cluster.arn,
        "status": "ACTIVE",
        "taskDefinition": definition.arn,
        "runningCount": 0,
        "pendingCount": 0,
        "deployments": [],
        "events": [],
        "createdAt": now(),
        "schedulingStrategy": "REPLICA",
    }
    # moto's autoscaler looks here.
    self.ecs_backend.create_service(cluster.name, name, 0, definition.arn)
    with STATE.lock:
        STATE.services[cluster.name, name] = service
        return ActionResult({"service": start(service)})


def update_service(self: Responses) -> ActionResult:
    given = dict(self._get_params())
    service = find(self)
    for key in ("cluster", "service"):
        given.pop(key)
    force = given.pop("forceNewDeployment", False)
    with STATE.lock:
        if "taskDefinition" in given:
            definition = self.ecs_backend.describe_task_definition(given["taskDefinition"])
            given["taskDefinition"] = definition.arn
        anew = force or any(key in given and given[key] != service.get(key) for key in DEPLOYED)
        service |= given
        return ActionResult({"service": start(service) if anew else deepcopy(service)})


def describe_services(self: Responses) -> ActionResult:
    cluster = cluster_of(self, self._get_param("cluster"))
    wanted = [str(name).split("/")[-1] for name in self._get_param("services")]
    with STATE.lock:
        found = [
            STATE.services[cluster.name, name]
            for name in wanted
            if (cluster.name, name) in STATE.services
        ]
        return ActionResult({"services": deepcopy(found), "failures": []})


def delete_service(self: Responses) -> ActionResult:
    service = find(self)
    with STATE.lock:
        service["status"] = "DRAINING"
        STATE.agent.delete(service)
    cluster = service["clusterArn"].split("/")[-1]
    self.ecs_backend.services.pop(f"{cluster}:{service['serviceName']}", None)
    return ActionResult({"service": service})


def list_service_deployments(self: Responses) -> ActionResult:
    service = find(self)
    wanted = self._get_param("status")
    found = [
        item
        for item in STATE.history
        if item["serviceArn"] == service["serviceArn"] and item["status"] in wanted
    ]
    return ActionResult({"serviceDeployments": found})


def describe_service_revisions(self: Responses) -> ActionResult:
    wanted = self._get_param("serviceRevisionArns")
    return ActionResult({"serviceRevisions": [STATE.revisions[arn] for arn in wanted]})


def list_tasks(self: Responses) -> ActionResult:
    wanted = self._get_param("desiredStatus", "RUNNING")
    return ActionResult(
        {"taskArns": [arn for arn, task in STATE.tasks.items() if task["desiredStatus"] == wanted]}
    )


def describe_tasks(self: Responses) -> ActionResult:
    return ActionResult({"tasks": [STATE.tasks[arn] for arn in self._get_param("tasks")]})


@contextmanager
def patched() -> Iterator[State]:
    """Make moto answer with the functions of this file."""
    STATE.clear()
    with pytest.MonkeyPatch.context() as patch:
        for call in (
            *(create_service, update_service, describe_services, delete_service),
            *(list_service_deployments, describe_service_revisions, list_tasks, describe_tasks),
        ):
            patch.setattr(Responses, call.__name__, call, raising=False)
        yield STATE
