"""The commands: `python -m deploy VERB`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deploy import (
    arguments,
    doctor,
    image,
    local,
    logs,
    network,
    policies,
    prices,
    registry,
    stack,
    status,
    tasks,
)
from deploy.aws import AGAIN, Aws, AwsError, connect, explain
from deploy.config import Config
from deploy.console import confirm, note, say
from deploy.errors import DeployError
from deploy.settings_file import load
from deploy.template import template

FILE = Path("deploy.toml")
INTERRUPTED = 130
Options = argparse.Namespace


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code; errors become messages here."""
    options, given = arguments.parse(argv)
    used: list[Aws] = []
    try:
        config = load(options.file or FILE, given, required=options.file is not None)

        def door(*, write: bool = False) -> Aws:
            used.append(connect(config, write=write))
            return used[-1]

        return VERBS[options.verb](door, config, options)
    except DeployError as error:
        note(f"python -m deploy: {error}", "red")
        return error.exit_code
    except AwsError as error:
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


def do_doctor(door: Door, config: Config, _: Options) -> int:
    """Check the requirements; exit code 1 if something is missing."""
    states = set()
    for what, state, words in doctor.findings(door(), config):
        say(f"{state:<7}  {what}: {words}", doctor.STYLES[state])
        states.add(state)
    return 1 if "missing" in states else 0


def do_template(_: Door, config: Config, __: Options) -> int:
    """Print the template."""
    print(text_of(config))
    return 0


def text_of(config: Config) -> str:
    """Return the template as the JSON text that is sent."""
    return json.dumps(template(config), indent=1)


def do_plan(door: Door, config: Config, options: Options) -> int:
    """Print what `up` would do."""
    plan(door(), config, options)
    say("Nothing was changed.")
    return 0


def plan(aws: Aws, config: Config, options: Options) -> int:
    """Print what `up` would do and what it costs; returns the number of changes."""
    doctor.require_protection(config)
    found = network.find(aws, config)
    say(f"{config.name} in {aws.region}, account {aws.identity['Account']}")
    for words in doctor.warnings(config):
        say(words, "yellow")
    there = registry.find(aws, config)
    tag = options.image or image.tag_of_checkout(config)
    digest = (
        registry.require(aws, config, tag)
        if options.image
        else registry.digest_of(aws, config, tag)
    )
    missing = ["image repository"] * (not there) + [f"image {tag}"] * (not digest)
    for what in missing:
        say(f"  + create   {what}", "green")
    address = there["repositoryUri"] if there else config.name
    wanted = f"{address}@{digest}" if digest else f"{address}:{tag}"
    told = stack.parameters(aws, config, wanted, found)
    changes = stack.preview(aws, config, stack.Wish(told, text_of(config), options.repair))
    stack.say_all(changes)
    count = len(missing) + len(changes)
    say(f"Plan: {count} changes.")
    for line in prices.month(config, aws.region, len(found.balancer_subnets)):
        say(line)
    return count


def do_up(door: Door, config: Config, options: Options) -> int:
    """Create or change the deployment, and wait."""
    doctor.require_protection(config)
    if not options.yes and plan(door(), config, options):
        confirm("Do this?", yes=False)
    aws = door(write=True)
    for words in doctor.warnings(config) if options.yes else ():
        note(words, "yellow")
    found = network.find(aws, config)
    stack.find(aws, config)  # raises before anything is created
    address = registry.ensure(aws, config)
    digest = (
        registry.require(aws, config, options.image)
        if options.image
        else image.push(aws, config, image.tag_of_checkout(config))
    )
    told = stack.parameters(aws, config, f"{address}@{digest}", found)
    return carry_out(aws, config, options, stack.Wish(told, text_of(config), options.repair))


def carry_out(aws: Aws, config: Config, options: Options, wish: stack.Wish) -> int:
    """Change the stack, wait, and print the service's address."""
    stack.carry_out(aws, config, wish, None if options.no_wait else options.timeout)
    if options.no_wait:
        say("AWS continues by itself; `python -m deploy status` shows the progress.")
        return 0
    found = status.read(aws, config)
    state = "Steady" if found["steady"] else "In progress"
    say(f"{state}: revision {found['revision']}, {found['url']}")
    return 0


def do_push(door: Door, config: Config, options: Options) -> int:
    """Build and push."""
    tag = image.tag_of(options.image) if options.image else image.tag_of_checkout(config)
    say(f"{tag} is {image.push(door(write=True), config, tag, options.image or '')}")
    return 0


def do_status(door: Door, config: Config, options: Options) -> int:
    """Print the status; exit code 0 even if the service is not steady."""
    found = status.read(door(), config)
    for line in [json.dumps(found, indent=2)] if options.json else status.lines(found):
        say(line)
    return 0


def do_logs(door: Door, config: Config, options: Options) -> int:
    """Show the log."""
    aws = door()
    lines = (
        logs.previous(aws, config)
        if options.previous
        else logs.read(aws, config, options.since, follow=options.follow)
    )
    with suppress(KeyboardInterrupt):
        for line in lines:
            say(line)
    return 0


def do_restart(door: Door, config: Config, options: Options) -> int:
    """Replace all tasks and wait."""
    aws = door(write=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return carry_out(aws, config, options, stack.Wish({"Restart": now}))


def do_rollback(door: Door, config: Config, options: Options) -> int:
    """Go back to an earlier image and wait."""
    aws = door(write=True)
    running = stack.held(stack.existing(aws, config))["Image"]
    wanted = (
        status.image_of(aws, config, options.revision)
        if options.revision
        else status.steady_before(aws, config, running)
    )
    if not registry.digest_of(aws, config, wanted.rpartition("@")[2]):
        raise DeployError(
            f"The image {wanted} is no longer in the registry, which keeps the newest "
            "`images_kept`. Check out its commit and run `up`."
        )
    return carry_out(aws, config, options, stack.Wish({"Image": wanted}))


def do_scale(door: Door, config: Config, options: Options) -> int:
    """Set the autoscaler's bounds."""
    told = {"MinTasks": str(options.min), "MaxTasks": str(options.max)}
    carry_out(door(write=True), config, options, stack.Wish(told))
    if (options.min, options.max) != (config.min_tasks, config.max_tasks):
        say(
            f"The settings are {config.min_tasks} to {config.max_tasks}. Change min_tasks and "
            "max_tasks there too; otherwise the next `up` restores them."
        )
    return 0


def do_run_local(door: Door, config: Config, options: Options) -> int:
    """Run the task definition in local Docker."""
    with suppress(KeyboardInterrupt):
        local.run(door(), config, options.revision, options.port)
    return 0


def do_down(door: Door, config: Config, options: Options) -> int:
    """Delete the deployment."""
    aws = door(write=True)
    there, images = stack.find(aws, config), registry.find(aws, config)
    doomed = [f"the stack {config.name} with all its resources"] if there else []
    if images and not options.keep_images:
        doomed.append(f"the image repository {config.name} with its images")
    for what in doomed:
        say(f"  - delete   {what}", "red")
    if not doomed:
        say("There is nothing to delete.")
        return 0
    confirm("Delete all this?", yes=options.yes)
    if there:
        stack.delete(aws, config, there, options.timeout)
    if images and not options.keep_images:
        aws.ecr.delete_repository(repositoryName=config.name, force=True)
    kept = f"the image repository {config.name}, and " if images and options.keep_images else ""
    say(f"Deleted. What remains: {kept}old task definitions and linked roles, which cost nothing.")
    return 0


def do_iam_policy(door: Door, config: Config, options: Options) -> int:
    """Print the operator's policy, or the permissions boundary that it requires."""
    aws = door()
    if options.boundary:
        parts = [policies.resolve(tasks.execution_policy(config), aws.values)]
    elif config.permissions_boundary:
        parts = policies.operator(config, aws.values)
    else:
        raise DeployError(
            "The policy is safe only with a boundary for the roles that the operator creates. Let "
            "an administrator create it: python -m deploy iam-policy --boundary > boundary.json; "
            f"aws iam create-policy --policy-name {config.name}-boundary --policy-document "
            "file://boundary.json. Set permissions_boundary in deploy.toml to its ARN."
        )
    if options.part > len(parts):
        raise DeployError(f"There is no part {options.part}; there are {len(parts)}.")
    print(json.dumps(parts[options.part - 1], indent=2))
    if len(parts) > 1:
        note(
            f"Part {options.part} of {len(parts)}, as IAM limits a policy's length; print the "
            "others with --part N"
        )
    return 0


VERBS: dict[str, Callable[[Door, Config, Options], int]] = {
    "doctor": do_doctor,
    "template": do_template,
    "plan": do_plan,
    "push": do_push,
    "up": do_up,
    "status": do_status,
    "logs": do_logs,
    "restart": do_restart,
    "rollback": do_rollback,
    "scale": do_scale,
    "run-local": do_run_local,
    "down": do_down,
    "iam-policy": do_iam_policy,
}

if __name__ == "__main__":
    sys.exit(main())
