from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from client import arguments, label, shown, sources, window
from client.arguments import PROGRAM
from client.collect import Collector
from client.events import Events
from client.frames import SourceError
from client.job import Job, Task
from client.outputs import Lines, OutputError
from client.progress import Progress
from client.webhook import Webhook

REDRAWS_PER_S = 4  # when nothing but the status changes
TICK_S = 1 / 60
ENDINGS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


def main() -> int:
    """Run the client and return its exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # libraries log addresses
    sys.excepthook = tell
    threading.excepthook = lambda fault: tell(fault.exc_type, fault.exc_value, fault.exc_traceback)
    if sys.argv[1:2] == ["label"]:
        return label.main(sys.argv[2:])
    options = arguments.parse()
    stop = threading.Event()
    signals: list[str] = []

    def end(number: int, _: object) -> None:
        signals.append(signal.Signals(number).name)
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C ends the program at once
        if number == getattr(signal, "SIGHUP", None):  # the terminal is gone
            for stream in (sys.stdout, sys.stderr):
                if stream.isatty():
                    silence(stream)

    for name in ENDINGS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
            signal.signal(number, end)
    try:
        with ExitStack() as stack:
            code = run(options, stop, stack)
    except (SourceError, OutputError, window.WindowUnavailable, OSError) as error:
        say(f"{PROGRAM}: {error}", sys.stderr)
        return 1
    for name in signals:
        say(f"Ended by {name}; the files written so far are complete.", sys.stderr)
    return code


def run(options: argparse.Namespace, stop: threading.Event, stack: ExitStack) -> int:
    """Process the sources until they or the user end; the stack closes what was opened."""
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
            say(f"{PROGRAM}: {job.error}", sys.stderr)
        if job.error is None or job.session is not None:
            say((f"{job.name}: " if len(jobs) > 1 else "") + job.summary, sys.stdout)
    return 1 if any(job.failed for job in jobs) else 0


def made_jobs(options: argparse.Namespace, stack: ExitStack, progress: Progress) -> list[Job]:
    """Make a job for each source; all share the output files except the videos."""

    def opened(path: Path | None) -> Lines | None:
        if path is None:
            return None
        lines = Lines(path)
        stack.callback(lines.close)
        return lines

    webhook = None
    if options.webhook:
        webhook = Webhook(options.webhook, options.webhook_secret, progress.note)
        stack.callback(webhook.close)
    collector = None
    if options.collect:
        collector = Collector(options.collect, options.collect_most, progress.note)
    events = Events(opened(options.jsonl), opened(options.csv), webhook)
    answers = opened(options.answers)
    outputs = arguments.outputs(options.output, len(options.source))
    return [
        Job(Task(*task), options, answers, events, collector)
        for task in zip(options.source, names(options.source), outputs, strict=True)
    ]


def names(given: list[str]) -> list[str]:
    """Return the name of each source; equal names are numbered."""
    seen: Counter[str] = Counter()
    told = []
    for name in map(sources.name_of, given):
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def viewer(jobs: list[Job], stop: threading.Event) -> Callable[[], None]:
    """Make the function that redraws the window and handles what the user does there."""
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
    """Do nothing; replaces the window's refresh with --no-window."""


def say(text: str, stream: TextIO) -> None:
    """Print a line; a closed terminal or pipe does not change the exit code."""
    try:
        print(shown.plain(text), file=stream, flush=True)
    except OSError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Discard further output; otherwise Python's flush at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tell(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """Print an internal error's traceback without its text, which may hold a password."""
    with suppress(OSError):
        sys.stderr.write("".join(traceback.format_tb(trace)))
    say(f"{PROGRAM}: internal error: {kind.__name__}. Please report this bug.", sys.stderr)
    if error is not None and (cause := error.__cause__ or error.__context__) is not None:
        tell(type(cause), cause, cause.__traceback__)


if __name__ == "__main__":
    sys.exit(main())
