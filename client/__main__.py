from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from client import arguments, overlay, window
from client.api import Face, Service, Verdicts
from client.frames import Frame, SourceError
from client.live import Live
from client.outputs import Film, json_line
from client.progress import Progress
from client.session import Session
from client.sources import open_source

LABELS = ("mask", "no_mask", "uncertain")
REDRAWS_PER_S = 4  # when nothing but the status changes


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
        print(f"python -m client: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace, stop: threading.Event, stack: ExitStack) -> int:
    """Walk through the source until it ends or the user does; what is opened goes on the stack."""
    progress = Progress()
    stack.callback(progress.close)
    if not options.no_window:
        stack.enter_context(window.display())
    source = open_source(options.source, stop, progress.note)
    if isinstance(source, Live):
        stack.callback(source.close)
    lines = stack.enter_context(options.jsonl.open("w", buffering=1)) if options.jsonl else None
    film = Film(options.output, source.fps, live=source.live) if options.output else None
    if film:
        stack.callback(film.close)

    def record(frame: Frame, verdicts: Verdicts | None, status: str) -> None:
        if lines and verdicts:
            lines.write(json_line(frame, verdicts) + "\n")
        if film:
            film.add(overlay.draw(frame.pixels, verdicts.faces if verdicts else (), status))

    pace_s = 0.0 if options.no_window or source.live else 1 / source.fps
    session = Session(source, service(options).predict, record, progress.note, pace_s)
    refresh = nothing if options.no_window else viewer(session, stop)
    while not stop.is_set() and session.step():
        progress.update(f"{session.answered} frames  {faces(session)}  {session.status}")
        refresh()
    while source.stills and not options.no_window and not stop.wait(1 / REDRAWS_PER_S):
        refresh()
    progress.close()
    print(summary(session), flush=True)
    return 1 if session.refused and not session.answered else 0


def service(options: argparse.Namespace) -> Service:
    """Make the service that the arguments name."""
    query = {"detector": options.detector, "min_confidence": options.min_confidence}
    given = {name: str(value) for name, value in query.items() if value is not None}
    return Service(options.url, options.timeout, options.jpeg_quality, given)


def viewer(session: Session, stop: threading.Event) -> Callable[[], None]:
    """Make the function that brings the window up to date and heeds what the user does there."""
    seen: tuple[int, tuple[Face, ...], int] | None = None

    def refresh() -> None:
        nonlocal seen
        quits, redraws = window.events()
        if quits:
            stop.set()
        frame = session.frame
        if frame is None:
            return
        look = (frame.index, session.faces, int(time.monotonic() * REDRAWS_PER_S))
        if redraws or look != seen:
            seen = look
            window.show(overlay.draw(frame.pixels, session.faces, session.status))

    return refresh


def nothing() -> None:
    """Stand for the window where none is wanted."""


def summary(session: Session) -> str:
    """Sum up a session in a line."""
    return (
        f"{session.answered} frames answered, {session.refused} refused, {session.dropped} "
        f"dropped; faces: {faces(session)}; mean {session.mean_fps:.1f} fps"
    )


def faces(session: Session) -> str:
    """Count the faces by label."""
    return ", ".join(f"{label} {session.labels[label]}" for label in LABELS)


if __name__ == "__main__":
    sys.exit(main())
