"""The command line: verbs, and a flag for each setting of deploy.toml."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from deploy.config import Config
from deploy.settings_file import flag_value

DESCRIPTION = "Run the mask service on AWS ECS Fargate, and take it away again."
EXAMPLES = """examples:
  python -m deploy doctor                what is missing, and how to get it
  python -m deploy plan                  what `up` would do and what it costs; writes nothing
  python -m deploy up                    build, push and run this checkout; again after each change
  python -m deploy up --cpu 2048 --memory 4096 --max-tasks 10
  python -m deploy status --json
  python -m deploy logs --follow --since 10m
  python -m deploy restart               new tasks with the same image, which read secrets again
  python -m deploy rollback              back to the image that was steady before
  python -m deploy template > stack.json to deploy it with tools of your own
  python -m deploy down                  delete all of it

Settings come from deploy.toml; a flag of the same name overrides it (`VERB --help`). The stack in
AWS CloudFormation is the only state: run an interrupted command again.
Exit code: 0 done, 1 not done (the message says why), 2 the deployment failed or was rolled back,
3 it has neither succeeded nor failed in the time given.
"""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TABLES = ("environment", "secrets")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit with 1, as 2 means a failed deployment."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit."""
        self.exit(1, f"{self.prog}: {message} (see --help)\n")


def duration(text: str) -> float:
    """Read seconds from a number with s, m, h or d after it, seconds if without."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 90s, 10m, 2h or 1d")
    return float(match[1]) * UNITS[match[2] or "s"]


def whole(low: int, high: int) -> Any:
    """Make the reader of a whole number between two others."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {low} to {high}")
        return int(text)

    return read


def settings() -> Parser:
    """Make the part of the command line that every verb has."""
    parser = Parser(add_help=False)
    parser.add_argument("--file", type=Path, help="the settings (deploy.toml)")
    parser.add_argument("--calls", action="store_true", help="list the calls to AWS at the end")
    group = parser.add_argument_group("settings, over those of the file")
    for key, field in Config.model_fields.items():
        words = (field.description or "").replace("%", "%%")
        flag = f"--{key.replace('_', '-')}"
        if key in TABLES:
            group.add_argument(flag, action="append", metavar="NAME=VALUE", help=words)
        else:
            group.add_argument(flag, metavar="VALUE", help=f"{words} ({default(field.default)})")
    return parser


def default(value: Any) -> str:
    """Write a default as deploy.toml would."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return "none" if value is None else str(value)


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags; raises ValueError for a bad NAME=VALUE."""
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
            raise ValueError(f"--{key} takes NAME=VALUE")
        given[key] = {name: text for name, _, text in pairs}
    return given


def parse(arguments: list[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Read the command line; returns the options and the settings among them."""
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
# Each verb with its words and options; the options themselves follow.
VERBS = {
    "doctor": ("say what is missing before `up` can work, and how to get it",),
    "template": ("print the CloudFormation template; needs no AWS account",),
    "plan": ("say what `up` would change and what it costs", "--image", "--repair"),
    "push": ("bring the image of this checkout, or a local one, into the registry", "--image"),
    "up": (
        "make or change the deployment, and wait until it is steady",
        *("--image", "--repair", "--yes", *WAIT),
    ),
    "status": ("say what runs, how healthy it is and what happened last", "--json"),
    "logs": ("show what the tasks wrote", "--follow", "--since", "--previous"),
    "restart": ("replace all tasks, so that they read changed secrets", *WAIT),
    "rollback": ("go back to the image that was steady before", "revision", *WAIT),
    "scale": (
        "set the autoscaler's bounds until the next `up`; 0 0 stops all",
        "min",
        "max",
        *WAIT,
    ),
    "run-local": (
        "run the registered task definition in local Docker until Ctrl-C",
        *("--revision", "--port"),
    ),
    "down": ("delete the deployment, and say what remains", *("--keep-images", "--yes", *WAIT)),
    "iam-policy": ("print the permissions that an operator needs", "--part", "--boundary"),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "--image": {"help": "the tag or digest of an image instead of this checkout's"},
    "--repair": FLAG | {"help": "also undo what was changed by hand in AWS"},
    "--yes": FLAG | {"help": "do not ask"},
    "--timeout": {"type": duration, "default": 3600, "help": "longest wait, such as 15m (1h)"},
    "--no-wait": FLAG | {"help": "do not wait for the end"},
    "--json": FLAG | {"help": "as JSON"},
    "--follow": FLAG | {"help": "go on until Ctrl-C"},
    "--since": {"type": duration, "default": 600, "help": "how far back (10m)"},
    "--previous": FLAG | {"help": "all of the task that stopped last instead"},
    "--revision": {"type": whole(1, 10**9), "help": "another than the newest"},
    "--port": {"type": whole(1, 65535), "default": 8000, "help": "here (8000)"},
    "--keep-images": FLAG | {"help": "leave the image repository"},
    "--part": {"type": whole(1, 9), "default": 1, "help": "which part (1)"},
    "--boundary": FLAG | {"help": "print the permissions boundary of the tasks' roles"},
    "revision": {"nargs": "?", "type": whole(1, 10**9), "help": "or that of a revision"},
    "min": {"type": whole(0, 5000)},
    "max": {"type": whole(0, 5000)},
}
