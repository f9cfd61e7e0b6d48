"""The CloudFormation stack: show what would change, change it, and follow its events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from deploy import logs, network
from deploy.aws import Aws, code
from deploy.config import Config
from deploy.console import note, say, waiting
from deploy.document import pairs
from deploy.errors import DeployError, DeploymentFailed, DeploymentTimedOut
from deploy.template import template

POLL_S = 3.0
DELETION_S = 3600.0
KIND = "AWS::CloudFormation::Stack"
CAPABILITIES = ["CAPABILITY_NAMED_IAM"]
# A stack whose creation failed cannot be changed, only deleted and created again.
STILLBORN = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"}
GOOD = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}
ADVICE = {
    "DELETE_FAILED": "`python -m deploy down` continues the deletion.",
    "UPDATE_ROLLBACK_FAILED": (
        "Fix what its last event names, then: aws cloudformation continue-update-rollback "
        "--stack-name {name}"
    ),
}
NOTHING_NEW = ("didn't contain changes", "No updates are to be performed")
SIGNS = {"Add": "+ create", "Modify": "~ change", "Remove": "- delete", "Replace": "! replace"}
STYLES = {"Add": "green", "Modify": "yellow", "Remove": "red", "Replace": "yellow"}


@dataclass(frozen=True)
class Change:
    """The planned change of one resource."""

    action: str
    name: str
    kind: str
    detail: str = ""

    def __str__(self) -> str:
        about = f"{self.kind.removeprefix('AWS::'):<42}{self.detail}".rstrip()
        return f"  {SIGNS[self.action]:<10} {self.name:<16} {about}"


def find(aws: Aws, config: Config) -> Any:
    """Return the stack, or None; raises DeployError if it is not this deployment's."""
    try:
        stack = aws.cloudformation.describe_stacks(StackName=config.name)["Stacks"][0]
    except ClientError as error:
        if code(error) == "ValidationError":
            return None
        raise
    claim(config, f"stack {config.name}", stack["Tags"])
    return stack


def claim(config: Config, what: str, tags: list[dict[str, str]]) -> None:
    """Raise DeployError unless something has the tags of this deployment."""
    lacking = [f"{tag['Key']}={tag['Value']}" for tag in config.tags if tag not in tags]
    if lacking:
        raise DeployError(
            f"The {what} exists but does not belong to this deployment: it lacks the tags "
            f"{', '.join(lacking)}. Set another `name` in deploy.toml, or delete it yourself."
        )


def existing(aws: Aws, config: Config) -> Any:
    """Return the stack; raises DeployError if there is none, or if it cannot be changed now."""
    stack = find(aws, config)
    if not stack or stack["StackStatus"] in STILLBORN:
        raise DeployError(
            f"{config.name} is not deployed in {aws.region}. Deploy it: `python -m deploy up`"
        )
    check(config, stack)
    return stack


def check(config: Config, stack: Any) -> None:
    """Raise DeployError, saying what to do, if the stack cannot be changed now."""
    status = stack["StackStatus"]
    if status in GOOD | STILLBORN:
        return
    wait = "Wait until that has ended; `python -m deploy status` shows the progress."
    advice = ADVICE.get(status, wait if busy(stack) else "See the AWS console.")
    raise DeployError(f"The stack {config.name} is {status}. {advice.format(name=config.name)}")


def parameters(aws: Aws, config: Config, image: str, found: network.Network) -> dict[str, str]:
    """Return the values of the template's parameters; `Restart` keeps its value."""
    told = {
        "Image": image,
        "Vpc": found.vpc,
        "Subnets": ",".join(found.subnets),
        "BalancerSubnets": ",".join(found.balancer_subnets),
        "MinTasks": str(config.min_tasks),
        "MaxTasks": str(config.max_tasks),
    }
    if config.https == "cloudfront":
        told["CloudFrontPrefixList"] = network.prefix_list(aws)
    return told


def held(stack: Any) -> dict[str, str]:
    """Return the current parameters of a stack."""
    return {item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", [])}


def first(config: Config) -> list[Change]:
    """Return the changes of the stack's first creation."""
    resources = template(config)["Resources"]
    return [Change("Add", name, item["Type"]) for name, item in resources.items()]


@dataclass(frozen=True)
class Wish:
    """The wanted state of a stack.

    told: parameters; the others keep their values. text: the template; "" keeps the stack's own.
    repair: also undo changes made by hand.
    """

    told: dict[str, str]
    text: str = ""
    repair: bool = False


def propose(aws: Aws, config: Config, stack: Any, wish: Wish) -> tuple[str, list[Change]]:
    """Create a change set; returns its ARN and the changes, ("", []) if nothing would change."""
    known, told = held(stack), wish.told
    if "Vpc" in told and known.get("Vpc") != told["Vpc"]:
        raise DeployError(
            f"The deployment is in {known.get('Vpc')}, and AWS cannot move it to {told['Vpc']}. "
            "Run `down` first, then `up`."
        )
    names = json.loads(wish.text)["Parameters"] if wish.text else known
    body = {"TemplateBody": wish.text} if wish.text else {"UsePreviousTemplate": True}
    try:
        made = aws.cloudformation.create_change_set(
            StackName=config.name,
            ChangeSetName=f"deploy-{uuid.uuid4().hex}",
            ChangeSetType="UPDATE",
            Capabilities=CAPABILITIES,
            Tags=config.tags,
            Parameters=[
                {"ParameterKey": key, "ParameterValue": told[key]}
                if key in told
                else {"ParameterKey": key, "UsePreviousValue": True}
                for key in names
                if key in told or key in known
            ],
            **body,
            **({"DeploymentMode": "REVERT_DRIFT"} if wish.repair else {}),
        )
    except ClientError as error:  # moto reports an empty change set here
        if any(words in str(error) for words in NOTHING_NEW):
            return "", []
        raise
    found, changes = compared(aws, made["Id"])
    if found["Status"] != "FAILED":
        return made["Id"], changes
    withdraw(aws, made["Id"])
    reason = found.get("StatusReason", "")
    if any(words in reason for words in NOTHING_NEW):
        return "", []
    raise DeployError(f"AWS refuses the change: {reason}")


def compared(aws: Aws, change_set: str) -> tuple[Any, list[Change]]:
    """Wait until AWS has computed a change set; returns it and its changes."""
    pages = aws.cloudformation.get_paginator("describe_change_set")
    with waiting("AWS computes the changes"):
        while True:
            found = list(pages.paginate(ChangeSetName=change_set))
            if not found[0]["Status"].endswith(("_PENDING", "_IN_PROGRESS")):
                items = [item for page in found for item in page.get("Changes", [])]
                return found[0], [change(item["ResourceChange"]) for item in items]
            time.sleep(POLL_S)


def preview(aws: Aws, config: Config, wish: Wish) -> list[Change]:
    """Return the changes that carry_out() would make."""
    stack = find(aws, config)
    if not stack or stack["StackStatus"] in STILLBORN:
        return first(config)
    check(config, stack)
    change_set, changes = propose(aws, config, stack, wish)
    if change_set:
        withdraw(aws, change_set)
    return changes


def withdraw(aws: Aws, change_set: str) -> None:
    """Delete a change set without executing it."""
    aws.cloudformation.delete_change_set(ChangeSetName=change_set)


def change(item: Any) -> Change:
    """Return one resource's change from AWS's description."""
    replaces = item["Action"] == "Modify" and item.get("Replacement") == "True"
    targets = [detail.get("Target", {}) for detail in item.get("Details", [])]
    names = {str(target.get("Name") or target.get("Attribute") or "") for target in targets}
    return Change(
        "Replace" if replaces else SYNONYMS.get(item["Action"], item["Action"]),
        item["LogicalResourceId"],
        item["ResourceType"],
        ", ".join(sorted(names - {""})),
    )


SYNONYMS = {"Import": "Add", "Dynamic": "Modify", "SyncWithActual": "Modify"}


def say_all(changes: list[Change]) -> None:
    """Print the changes."""
    for item in changes:
        say(str(item), STYLES[item.action])


def carry_out(aws: Aws, config: Config, wish: Wish, timeout_s: float | None) -> None:
    """Create or change the stack, print the changes, and follow the events.

    timeout_s: longest wait; None to not wait.
    """
    stack = settled(aws, config, timeout_s) if wish.text else existing(aws, config)
    if not stack:
        say_all(first(config))
        call = partial(
            aws.cloudformation.create_stack,
            StackName=config.name,
            TemplateBody=wish.text,
            Parameters=pairs("ParameterKey", "ParameterValue", wish.told),
            Capabilities=CAPABILITIES,
            Tags=config.tags,
            OnFailure="ROLLBACK",
        )
        begin(aws, config, call, timeout_s)
        return
    change_set, changes = propose(aws, config, stack, wish)
    say_all(changes)
    if change_set:
        call = partial(aws.cloudformation.execute_change_set, ChangeSetName=change_set)
        begin(aws, config, call, timeout_s, stack)
    else:
        say("No changes.")


def settled(aws: Aws, config: Config, timeout_s: float | None) -> Any:
    """Wait until the stack can be changed and return it; returns None if it must be created."""
    stack = find(aws, config)
    if stack and busy(stack):
        note(f"The stack {config.name} is {stack['StackStatus']}; waiting until that ends.")
        attend(aws, config, stack, timeout_s or 0)
        stack = find(aws, config)
    if stack and stack["StackStatus"] in STILLBORN:
        note(f"The stack {config.name} is {stack['StackStatus']}; it is deleted and created again.")
        delete(aws, config, stack, timeout_s or DELETION_S)
        return None
    if stack:
        check(config, stack)
    return stack


def busy(stack: Any) -> bool:
    """Return whether an operation on the stack is in progress."""
    return stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] not in STILLBORN


def attend(aws: Aws, config: Config, stack: Any, timeout_s: float) -> None:
    """Follow the operation that is in progress."""
    events = aws.cloudformation.describe_stack_events(StackName=stack["StackId"])["StackEvents"]
    follow(aws, config, stack["StackId"], events[0].get("ClientRequestToken"), timeout_s)


def delete(aws: Aws, config: Config, stack: Any, timeout_s: float | None) -> None:
    """Delete the stack and follow it."""
    if stack["StackStatus"] == "DELETE_IN_PROGRESS":  # AWS would not start it again
        attend(aws, config, stack, timeout_s or 0)
        return
    call = partial(aws.cloudformation.delete_stack, StackName=config.name)
    begin(aws, config, call, timeout_s, stack)


def begin(
    aws: Aws, config: Config, call: Callable[..., Any], timeout_s: float | None, stack: Any = None
) -> None:
    """Start an operation and follow it by its token; stack: None if the call creates it."""
    token = uuid.uuid4().hex
    made = call(ClientRequestToken=token)
    if timeout_s is not None:
        follow(aws, config, (stack or made)["StackId"], token, timeout_s)


def follow(aws: Aws, config: Config, stack_id: str, token: str | None, timeout_s: float) -> None:
    """Wait until an operation on the stack has ended; print its events and the service's.

    token: marks the operation's events. Raises DeploymentFailed with the reasons, including those
    of stopped tasks, and DeploymentTimedOut after timeout_s.
    """
    deadline = time.monotonic() + timeout_s
    seen: set[str] = set()
    autopsy: list[str] = []
    with waiting(f"the stack {config.name}") as update:
        while True:
            events = operation(aws, stack_id, token)
            of_stack = [e["ResourceStatus"] for e in events if e["ResourceType"] == KIND]
            status = of_stack[-1] if of_stack else ""
            tell(events, logs.service_events(aws, config) if events else [], seen)
            # Once the rollback has ended, the tasks and their log are gone.
            if "ROLLBACK" in status and not autopsy:
                autopsy = list(logs.autopsy(aws, config, events[0]["Timestamp"]))
            if status and not status.endswith("_IN_PROGRESS"):
                break
            update(f"the stack {config.name}: {status or 'starting'}")
            if time.monotonic() + POLL_S > deadline:
                raise DeploymentTimedOut(
                    f"Not done after {timeout_s:.0f} s: {status or 'no event yet'}. AWS continues; "
                    "`python -m deploy status` shows the progress, `python -m deploy logs` the "
                    "tasks' log."
                )
            time.sleep(POLL_S)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}:
        reasons = [f"  {line(e)}" for e in events if e["ResourceStatus"].endswith("_FAILED")]
        raise DeploymentFailed("\n".join([outcome(config, status), *reasons, *autopsy]))


def tell(events: list[Any], of_service: list[Any], seen: set[str]) -> None:
    """Print the events that are not in `seen`, and add them to it."""
    said = [(e["Timestamp"], e["EventId"], line(e)) for e in events]
    said += [
        (e["createdAt"], e["id"], e["message"])
        for e in of_service
        if e["createdAt"] >= events[0]["Timestamp"]
    ]
    for at, identity, words in sorted(said, key=lambda item: item[0]):
        if identity not in seen:
            seen.add(identity)
            note(f"  {at:%H:%M:%S} {words}")


def operation(aws: Aws, stack_id: str, token: str | None) -> list[Any]:
    """Return an operation's events, the oldest first."""
    pages = aws.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    found: list[Any] = []
    for page in pages:
        ours = [item for item in page["StackEvents"] if item.get("ClientRequestToken") == token]
        found += ours
        if len(ours) < len(page["StackEvents"]):
            break
    return found[::-1]


def line(event: Any) -> str:
    """Return an event as a line."""
    reason = f": {event['ResourceStatusReason']}" if event.get("ResourceStatusReason") else ""
    return f"{event['LogicalResourceId']:<16} {event['ResourceStatus']}{reason}"


def outcome(config: Config, status: str) -> str:
    """Return how a failed operation ended, and what to do."""
    if status in STILLBORN:
        return (
            f"The deployment failed: the stack {config.name} is {status}. The next `up` deletes "
            "its remains and creates it again."
        )
    if status == "UPDATE_ROLLBACK_COMPLETE":
        return "The deployment failed and was rolled back to the previous state."
    advice = ADVICE.get(status, "See its events in the AWS console.").format(name=config.name)
    return f"The stack {config.name} is {status}. {advice}"
