"""The command line: verbs, and a flag for each setting in deploy.toml."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from deploy.config import Config
from deploy.settings_file import flag_value

DESCRIPTION = "Run the mask service on AWS ECS Fargate, and delete it again."
EXAMPLES = """examples:
  python -m deploy doctor                show what is missing, and how to get it
  python -m deploy plan                  show what `up` would do and what it costs; writes nothing
  python -m deploy up                    build, push and run this checkout; repeat after changes
  python -m deploy up --cpu 2048 --memory 4096 --max-tasks 10
  python -m deploy status --json
  python -m deploy logs --follow --since 10m
  python -m deploy restart               replace all tasks, so that they read changed secrets
  python -m deploy rollback              return to the previous steady image
  python -m deploy template > stack.json deploy it with your own tools
  python -m deploy down                  delete everything

Settings come from deploy.toml; a flag of the same name overrides it (`VERB --help`). The stack in
AWS CloudFormation is the only state: run an interrupted command again.
Exit code: 0 done, 1 not done (the message says why), 2 the deployment failed or was rolled back,
3 it neither succeeded nor failed before the timeout.
"""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TABLES = ("environment", "secrets")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with exit code 1; 2 means a failed deployment."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with code 1."""
        self.exit(1, f"{self.prog}: {message} (see --help)\n")


def duration(text: str) -> float:
    """Return the seconds of a text such as 90s, 10m, 2h or 1d; a plain number is in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 90s, 10m, 2h or 1d")
    return float(match[1]) * UNITS[match[2] or "s"]


def whole(low: int, high: int) -> Any:
    """Return a function that reads a whole number from low to high."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {low} to {high}")
        return int(text)

    return read


def settings() -> Parser:
    """Make the options that all verbs share."""
    parser = Parser(add_help=False)
    parser.add_argument("--file", type=Path, help="the settings file (deploy.toml)")
    parser.add_argument("--calls", action="store_true", help="list the calls to AWS at the end")
    group = parser.add_argument_group("settings, which override the file's")
    for key, field in Config.model_fields.items():
        words = (field.description or "").replace("%", "%%")
        flag = f"--{key.replace('_', '-')}"
        if key in TABLES:
            group.add_argument(flag, action="append", metavar="NAME=VALUE", help=words)
        else:
            group.add_argument(flag, metavar="VALUE", help=f"{words} ({default(field.default)})")
    return parser


def default(value: Any) -> str:
    """Return a default as deploy.toml would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return "none" if value is None else str(value)


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings given as flags; raises ValueError for an invalid NAME=VALUE."""
    given: dict[str, Any] = {}
    for key in Config.model_fields:
        value = getattr(options, key)
        if value is None:
            continue
        if key not in TABLES:
            given[key] = flag_value(key, value)
            continue
        pairs = [pair.partition("=") for pair in value]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError(f"--{key} requires NAME=VALUE")
        given[key] = {name: text for name, _, text in pairs}
    return given


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line; returns all options, and the settings given as flags."""
    parser = Parser(
        prog="python -m deploy",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    common = settings()
    for name, (words, *names) in VERBS.items():
        verb = verbs.add_parser(name, help=words, description=words, parents=[common])
        for option in names:
            verb.add_argument(option, **OPTIONS[option])
    options = parser.parse_args(arguments)
    try:
        given = overrides(options)
    except ValueError as error:
        parser.error(str(error))
    if options.verb == "scale" and options.max < options.min:
        parser.error(f"MAX {options.max} is below MIN {options.min}")
    return options, given


FLAG: dict[str, Any] = {"action": "store_true"}
WAIT = ("--timeout", "--no-wait")
# Each verb with its help text and options; OPTIONS defines the options.
VERBS = {
    "doctor": ("show what `up` still requires, and how to get it",),
    "template": ("print the CloudFormation template; requires no AWS account",),
    "plan": ("show what `up` would change and what it costs", "--image", "--repair"),
    "push": ("push the image of this checkout, or a local one, to the registry", "--image"),
    "up": (
        "create or change the deployment, and wait until it is steady",
        *("--image", "--repair", "--yes", *WAIT),
    ),
    "status": ("show what runs, how healthy it is and what happened last", "--json"),
    "logs": ("show the tasks' log", "--follow", "--since", "--previous"),
    "restart": ("replace all tasks, so that they read changed secrets", *WAIT),
    "rollback": ("return to the previous steady image", "revision", *WAIT),
    "scale": (
        "set the autoscaler's limits until the next `up`; 0 0 stops all tasks",
        "min",
        "max",
        *WAIT,
    ),
    "run-local": (
        "run the registered task definition in local Docker until Ctrl-C",
        *("--revision", "--port"),
    ),
    "down": ("delete the deployment, and list what remains", *("--keep-images", "--yes", *WAIT)),
    "iam-policy": ("print the permissions that an operator needs", "--part", "--boundary"),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "--image": {"help": "tag or digest of the image to use instead of this checkout's"},
    "--repair": FLAG | {"help": "also undo changes made by hand in AWS"},
    "--yes": FLAG | {"help": "do not ask for confirmation"},
    "--timeout": {"type": duration, "default": 3600, "help": "longest wait, such as 15m (1h)"},
    "--no-wait": FLAG | {"help": "start the change and do not wait until it is done"},
    "--json": FLAG | {"help": "print as JSON"},
    "--follow": FLAG | {"help": "show new lines until Ctrl-C"},
    "--since": {"type": duration, "default": 600, "help": "how far back to start (10m)"},
    "--previous": FLAG | {"help": "show the whole log of the task that stopped last"},
    "--revision": {"type": whole(1, 10**9), "help": "the revision to run (the newest)"},
    "--port": {"type": whole(1, 65535), "default": 8000, "help": "local port (8000)"},
    "--keep-images": FLAG | {"help": "keep the image repository"},
    "--part": {"type": whole(1, 9), "default": 1, "help": "which part of the policy (1)"},
    "--boundary": FLAG | {"help": "print the permissions boundary of the tasks' roles"},
    "revision": {
        "nargs": "?",
        "type": whole(1, 10**9),
        "help": "use the image of this revision instead",
    },
    "min": {"type": whole(0, 5000), "help": "fewest tasks"},
    "max": {"type": whole(0, 5000), "help": "most tasks"},
}
