from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from client import arguments, shown, window
from client.events import Events
from client.frames import SourceError
from client.job import Job
from client.progress import Progress
from client.webhook import Webhook

REDRAWS_PER_S = 4  # when nothing but the status changes
TICK_S = 1 / 60


def main() -> int:
    """Run the client and return its exit code."""
    options = arguments.parse()
    stop = threading.Event()

    def end(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C need not wait for anything

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    try:
        with ExitStack() as stack:
            return run(options, stop, stack)
    except (SourceError, window.WindowUnavailable, OSError) as error:
        print(f"python -m client: {shown.plain(str(error))}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace, stop: threading.Event, stack: ExitStack) -> int:
    """Walk through the sources until they end or the user does; what is opened is on the stack."""
    progress = Progress()
    stack.callback(progress.close)
    if not options.no_window:
        stack.enter_context(window.display())
    jobs = made_jobs(options, stack, progress)
    threads = [threading.Thread(target=job.run, args=(stop, progress)) for job in jobs]
    refresh = nothing if options.no_window else viewer(jobs, stop)
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            refresh()
            time.sleep(TICK_S)
        while not options.no_window and any(job.stills for job in jobs):
            if stop.wait(1 / REDRAWS_PER_S):
                break
            refresh()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    progress.close()
    for job in jobs:
        if job.error is not None:
            print(f"python -m client: {shown.plain(str(job.error))}", file=sys.stderr)
        else:
            name = f"{job.name}: " if len(jobs) > 1 else ""
            print(shown.plain(f"{name}{job.summary}"), flush=True)
    return 1 if any(job.failed for job in jobs) else 0


def made_jobs(options: argparse.Namespace, stack: ExitStack, progress: Progress) -> list[Job]:
    """Make a job of each source, all of which write into the same files but for the videos."""

    def opened(path: Path | None) -> TextIO | None:
        if path is None:
            return None
        return stack.enter_context(path.open("w", buffering=1, encoding="utf-8", newline=""))

    webhook = None
    if options.webhook:
        webhook = Webhook(options.webhook, options.webhook_secret, progress.note)
        stack.callback(webhook.close)
    events = Events(opened(options.jsonl), opened(options.csv), webhook)
    answers = opened(options.answers)
    outputs = arguments.outputs(options.output, len(options.source))
    return [
        Job(source, options, output, answers, events)
        for source, output in zip(options.source, outputs, strict=True)
    ]


def viewer(jobs: list[Job], stop: threading.Event) -> Callable[[], None]:
    """Make the function that brings the window up to date and heeds what the user does there."""
    seen: tuple[object, ...] = ()

    def refresh() -> None:
        nonlocal seen
        quits, redraws = window.events()
        if quits:
            stop.set()
        look = (*(job.look for job in jobs), int(time.monotonic() * REDRAWS_PER_S))
        if redraws or look != seen:
            seen = look
            pictures = [picture for job in jobs if (picture := job.picture()) is not None]
            if pictures:
                window.show(window.tiled(pictures))

    return refresh


def nothing() -> None:
    """Stand for the window where none is wanted."""


if __name__ == "__main__":
    sys.exit(main())
