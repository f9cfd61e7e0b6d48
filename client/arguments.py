"""The command line: every argument is checked before any work is done."""

from __future__ import annotations

import argparse
import math
import os
import sys
from itertools import product
from pathlib import Path
from typing import NoReturn

import requests

from client import mqtt, shown
from client.collect import MOST_PICTURES

# The command of the installed package, or what a checkout is run with.
PROGRAM = "facemask-client" if Path(sys.argv[0]).stem == "facemask-client" else "python -m client"
DESCRIPTION = (
    "Send frames of a camera, a video or pictures to a mask service and show its verdicts."
)
EXAMPLES = f"""examples:
  {PROGRAM}                                         the first webcam, in a window
  {PROGRAM} --source film.mp4 --output verdicts.mp4
  {PROGRAM} --source photos/ --no-window --answers answers.jsonl
  {PROGRAM} --source 0 --source rtsp://user:password@camera/stream --csv events.csv
  FACEMASK_WEBHOOK_SECRET=... {PROGRAM} --no-window --webhook https://alarm.example/masks

Files and folders: every frame is sent, and the client waits while the service is away. Cameras and
streams: the newest frame is sent and older ones are dropped. ESC, q or Ctrl-C ends the program;
the files written so far are complete. Exit code: 0 done or ended by you, 1 no frames, no verdicts,
given up or a full disk, 2 invalid arguments. In a password write / as %2F, ? as %3F, # as %23 and
@ as %40.

Events, in --jsonl and --csv, are first_seen, label_changed, no_mask_confirmed and last_seen of
each person. FACEMASK_API_KEY in the environment replaces --api-key and, unlike an argument, does
not appear in the list of processes.
"""


MOST_ZONES = 20  # that the service takes


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage and without passwords.

    given: the arguments, whose secrets are removed from argparse's messages.
    """

    given: list[str]

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with code 2."""
        for given in sorted(self.given, key=len, reverse=True):
            if given and (safe := shown.address(given)) != given:
                message = message.replace(given, safe).replace(repr(given)[1:-1], safe)
        self.exit(2, f"{self.prog}: {shown.plain(message)} (see --help)\n")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read and check the arguments, those of the command line by default."""
    parser = Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--url",
        type=service_url,
        default="http://localhost:8000",
        help="root of the service (%(default)s)",
    )
    add(
        "--source",
        action="append",
        help="camera number, video file, picture, folder of pictures, rtsp:// or http:// stream "
        "(0); may be given several times",
    )
    add(
        "--output",
        type=video_path,
        metavar="FILE.mp4",
        help="write the annotated video (H.264), replacing an existing file; with several sources "
        "FILE-1.mp4, FILE-2.mp4 and so on",
    )
    add(
        "--jsonl",
        type=writable_path,
        metavar="FILE",
        help="write a line of JSON per event, replacing an existing file",
    )
    add(
        "--csv",
        type=writable_path,
        metavar="FILE",
        help="write the events as a table, replacing an existing file",
    )
    add(
        "--answers",
        type=writable_path,
        metavar="FILE",
        help="write a line of JSON per answered frame, replacing an existing file",
    )
    add(
        "--webhook",
        type=web_address,
        metavar="URL",
        help="post each no_mask_confirmed event to URL, signed with FACEMASK_WEBHOOK_SECRET from "
        "the environment",
    )
    add(
        "--mqtt",
        metavar="ADDRESS",
        help="publish the state of each source to mqtt[s]://[user@]broker[:port][/topic-prefix], "
        "where Home Assistant finds it; the environment's FACEMASK_MQTT_PASSWORD is the password",
    )
    add(
        "--mqtt-ca",
        metavar="FILE",
        help="certificates to trust for mqtts:// (the system's)",
    )
    add(
        "--collect",
        type=folder_to_write,
        metavar="FOLDER",
        help="keep pictures of people with uncertain or changing labels there, faces included; "
        "%(prog)s label FOLDER labels them for training",
    )
    add(
        "--collect-most",
        type=count,
        default=MOST_PICTURES,
        metavar="N",
        help="stop collecting when FOLDER holds this many pictures, or 1 GB (%(default)s)",
    )
    add("--blur", action="store_true", help="blur faces in the window and in the video")
    add("--no-window", action="store_true", help="print the progress instead of showing a window")
    add(
        "--detector",
        choices=("facemask", "yunet", "haar", "ssd"),
        help="face detector (the service's setting)",
    )
    add(
        "--min-confidence",
        type=share,
        metavar="0..1",
        help="minimum confidence of a detection (the service's setting)",
    )
    add(
        "--smallest-face",
        type=pixels,
        metavar="PIXELS",
        help="leave out faces whose shorter side is smaller",
    )
    add(
        "--ignore",
        type=zone,
        action="append",
        metavar="X,Y,W,H",
        help="leave out faces in this part of the frame, such as a poster or a mirror: left, top, "
        "width and height in fractions from 0 to 1; may be given up to 20 times",
    )
    add(
        "--timeout",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="longest wait for an answer (%(default)g)",
    )
    add(
        "--give-up",
        type=seconds,
        default=math.inf,
        metavar="SECONDS",
        help="end with exit code 1 after the service or the camera was away this long (never)",
    )
    add(
        "--jpeg-quality",
        type=quality,
        default=90,
        metavar="1..100",
        help="JPEG quality of the frames sent (%(default)s)",
    )
    add(
        "--api-key",
        type=api_key,
        metavar="KEY",
        default=os.environ.get("FACEMASK_API_KEY"),
        help="API key for the service, sent as X-API-Key",
    )
    parser.given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(parser.given)
    options.source = options.source or ["0"]
    if len(options.ignore or []) > MOST_ZONES:
        parser.error(f"--ignore is given {len(options.ignore)} times; allowed: {MOST_ZONES}")
    options.webhook_secret = os.environ.get("FACEMASK_WEBHOOK_SECRET", "")
    if options.webhook and not options.webhook_secret:
        parser.error(
            "--webhook requires a secret for its signature: set FACEMASK_WEBHOOK_SECRET in the "
            "environment"
        )
    if options.mqtt_ca and not options.mqtt:
        parser.error("--mqtt-ca needs --mqtt")
    if options.mqtt:
        password = os.environ.get("FACEMASK_MQTT_PASSWORD")
        try:
            options.mqtt = mqtt.broker(options.mqtt, password, options.mqtt_ca)
        except ValueError as error:
            parser.error(f"--mqtt: {error}")
    written = outputs(options.output, len(options.source))
    written += [options.jsonl, options.csv, options.answers]
    paths = [path for path in written if path is not None]
    if len({path.resolve() for path in paths}) < len(paths):
        parser.error("two outputs name the same file; give each its own")
    for path, source in product(paths, options.source):
        if same_file(path, Path(source)):
            parser.error(f"{path} is a source and would be overwritten; write to another file")
    return options


def outputs(output: Path | None, sources: int) -> list[Path | None]:
    """Return the output video of each source; several sources get numbered files."""
    if output is None or sources == 1:
        return [output] * sources
    return [output.with_stem(f"{output.stem}-{number}") for number in range(1, sources + 1)]


def same_file(path: Path, other: Path) -> bool:
    """Return whether two paths name the same existing file."""
    return path.exists() and other.exists() and path.samefile(other)


def service_url(text: str) -> str:
    """Check the address of the service."""
    if not is_web_address(text):
        raise argparse.ArgumentTypeError(
            f"{shown.address(text)} is not the address of a service, such as http://localhost:8000"
        )
    return text


def web_address(text: str) -> str:
    """Check the address of a webhook; errors do not repeat it, as it may hold a token."""
    if not is_web_address(text):
        raise argparse.ArgumentTypeError("the address does not start with http:// or https://")
    return text


def is_web_address(text: str) -> bool:
    """Return whether a request can be sent to an address."""
    try:
        requests.Request("POST", text).prepare()
    except (requests.RequestException, ValueError):
        return False
    return text.lower().startswith(("http://", "https://"))


def api_key(text: str) -> str:
    """Check that a key can be sent in a header; errors do not repeat it."""
    if not text.isascii() or not text.isprintable() or text != text.strip() or not text:
        raise argparse.ArgumentTypeError("the key contains characters that a header cannot hold")
    return text


def writable_path(text: str) -> Path:
    """Check that a file can be written."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; give a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"you have no permission to write {path}")
    return path


def folder_to_write(text: str) -> Path:
    """Check that a folder can be written to, or made."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a file, a folder is wanted")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent} to make {path} in")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} may not be written to")
    return path


def video_path(text: str) -> Path:
    """Check that a video can be written."""
    if not text.lower().endswith(".mp4"):
        raise argparse.ArgumentTypeError(f"{text} does not end in .mp4, the only video format")
    return writable_path(text)


def number(text: str, low: float, high: float) -> float:
    """Read a number from low to high, both included."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not a number from {low:g} to {high:g}")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    return number(text, 0, 1)


def pixels(text: str) -> int:
    """Read a number of pixels."""
    return int(number(text, 1, 65_500))


def zone(text: str) -> str:
    """Check the four numbers of a zone and write them as the service reads them."""
    try:
        numbers = [number(part, 0, 1) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        numbers = []
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError(
            f"{text} is not four numbers from 0 to 1 for left, top, width and height, "
            "such as 0,0.5,0.25,0.5"
        )
    return ",".join(f"{value:.6f}" for value in numbers)


def seconds(text: str) -> float:
    """Read a timeout."""
    return number(text, 0.1, 3600)


def count(text: str) -> int:
    """Read a number of pictures."""
    return int(number(text, 1, 1_000_000))


def quality(text: str) -> int:
    """Read a JPEG quality."""
    return int(number(text, 1, 100))
