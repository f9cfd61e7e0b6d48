from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy import (
    arguments,
    compute,
    doctor,
    down,
    follow,
    image,
    local,
    logs,
    policies,
    prices,
    registry,
    rollback,
    scaling,
    status,
    up,
)
from deploy.aws import AGAIN, Aws, connect, explain
from deploy.changes import Changes
from deploy.config import Config
from deploy.console import confirm, note, say
from deploy.errors import DeployError
from deploy.settings_file import load

FILE = Path("deploy.toml")
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code; every error is a message here."""
    options, given = arguments.parse(argv)
    used: list[Aws] = []
    try:
        config = load(options.file or FILE, given, required=options.file is not None)

        def door(*, write: bool) -> Aws:
            used.append(connect(config, write=write))
            return used[-1]

        return VERBS[options.verb](door, config, options)
    except DeployError as error:
        note(f"python -m deploy: {error}", "red")
        return error.exit_code
    except (BotoCoreError, ClientError) as error:
        note(f"python -m deploy: {explain(error)}", "red")
        return 1
    except KeyboardInterrupt:
        note(f"Interrupted. {AGAIN}")
        return INTERRUPTED
    finally:
        if options.calls:
            calls = sum((aws.calls for aws in used), start=Counter[str]())
            for name, count in sorted(calls.items()):
                note(f"{count:5}  {name}")
            note(f"{calls.total():5}  calls to AWS")


Door = Callable[..., Aws]


def do_doctor(door: Door, config: Config, _: argparse.Namespace) -> int:
    """Check what is needed; 1 if something is missing."""
    found = []
    for finding in doctor.findings(door(write=False), config):
        say(str(finding), doctor.STYLES[finding.state])
        found.append(finding.state)
    return 1 if "missing" in found else 0


def do_plan(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Say what `up` would do."""
    plan(door, config, options.image)
    say("Nothing was written.")
    return 0


def plan(door: Door, config: Config, tag: str | None) -> up.Walked | None:
    """Walk without writing; returns what was found where nothing is to be changed, else None."""
    aws, changes = door(write=False), Changes(write=False)
    names = aws.names(config)
    say(f"{names.name} in {names.region}, account {names.account}")
    walked = up.walk(aws, config, names, changes, tag)
    say(f"Plan: {changes.summary}.")
    for line in prices.month(config, names.region, walked.zones):
        say(line)
    return None if changes.made else walked


def do_up(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Bring everything about and wait."""
    walked = None
    if not options.yes:
        walked = plan(door, config, options.image)
        if walked is None:
            confirm("Do this?", yes=False)
    aws = door(write=True)
    names = aws.names(config)
    if walked is None:
        changes = Changes(write=True)
        walked = up.walk(aws, config, names, changes, options.image)
        say(f"Done: {changes.summary}.")
    return wait(aws, config, options, (str(walked.deployment), walked.revision))


def wait(aws: Aws, config: Config, options: argparse.Namespace, deployment: tuple[str, str]) -> int:
    """Follow the deployment, unless told not to, and say where the service answers."""
    names = aws.names(config)
    if not options.no_wait:
        follow.follow(aws, names, *deployment, options.timeout)
    found = status.read(aws, config, names)
    state = "Steady" if found["steady"] else "On its way"
    say(f"{state}: revision {found['revision']}, {found['url']}")
    return 0


def do_push(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Build and push."""
    aws = door(write=True)
    names = aws.names(config)
    tag = image.tag_of(options.image) if options.image else image.tag_of_checkout()
    registry.repository(aws, config, names, Changes(write=True))
    say(f"{tag} is {image.push(aws, config, names, tag, options.image or '')}")
    return 0


def do_status(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Say how it goes; 0 even where it is not steady, since it was said."""
    aws = door(write=False)
    found = status.read(aws, config, aws.names(config))
    for line in [json.dumps(found, indent=2)] if options.json else status.lines(found):
        say(line)
    return 0


def do_logs(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Show the log."""
    aws = door(write=False)
    names = aws.names(config)
    lines = (
        logs.previous(aws, names)
        if options.previous
        else logs.read(aws, names, options.since, follow=options.follow)
    )
    with suppress(KeyboardInterrupt):
        for line in lines:
            say(line)
    return 0


def do_rollback(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Go back and wait."""
    aws, changes = door(write=True), Changes(write=True)
    deployment = rollback.rollback(aws, aws.names(config), options.revision, changes)
    if not changes.made:
        say(f"Revision {options.revision} runs already.")
    return wait(aws, config, options, deployment)


def do_scale(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Set the autoscaler's bounds."""
    aws, changes = door(write=True), Changes(write=True)
    names = aws.names(config)
    service = compute.find_service(aws, names)
    if not service or not scaling.find_bounds(aws, names):
        raise DeployError(f"{names.name} is not deployed in {names.region}. `python -m deploy up`")
    names.claim("service", names.name, service.get("tags", []))
    scaling.bounds(aws, names, options.min, options.max, changes)
    say(f"Done: {changes.summary}.")
    if (options.min, options.max) != (config.min_tasks, config.max_tasks):
        say(
            f"The settings say {config.min_tasks} to {config.max_tasks}: change min_tasks and "
            "max_tasks there too, or the next `up` sets them back."
        )
    return 0


def do_run_local(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Run the task definition here."""
    aws = door(write=False)
    with suppress(KeyboardInterrupt):
        local.run(aws, config, aws.names(config), options.revision, options.port)
    return 0


def do_down(door: Door, config: Config, options: argparse.Namespace) -> int:
    """Delete everything."""
    keep = options.keep_images
    if not options.yes:
        aws, changes = door(write=False), Changes(write=False)
        down.walk(aws, config, aws.names(config), changes, keep_images=keep)
        say(f"Plan: {changes.summary}.")
        if not changes.made:
            return 0
        confirm("Delete all this?", yes=False)
    aws, changes = door(write=True), Changes(write=True)
    down.walk(aws, config, aws.names(config), changes, keep_images=keep)
    say(f"Done: {changes.summary}.")
    return 0


def do_iam_policy(door: Door, config: Config, _: argparse.Namespace) -> int:
    """Print the operator's policy."""
    print(json.dumps(policies.operator(config, door(write=False).names(config)), indent=2))
    return 0


VERBS: dict[str, Callable[[Door, Config, argparse.Namespace], int]] = {
    "doctor": do_doctor,
    "plan": do_plan,
    "push": do_push,
    "up": do_up,
    "status": do_status,
    "logs": do_logs,
    "rollback": do_rollback,
    "scale": do_scale,
    "run-local": do_run_local,
    "down": do_down,
    "iam-policy": do_iam_policy,
}

if __name__ == "__main__":
    sys.exit(main())
