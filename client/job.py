"""Process one source: open it, send its frames to the service, and write the results."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from client.annotate import annotated, blurred
from client.answers import Verdicts
from client.api import Service, as_jpeg
from client.collect import Collector
from client.events import Events
from client.frames import Frame, Image, Source, SourceError
from client.live import Live
from client.mqtt import Mqtt
from client.outputs import Film, Lines, OutputError, json_line
from client.progress import Progress
from client.session import GivenUp, Session
from client.sources import open_source
from client.stream import Stream
from client.tracks import Tracks

LABELS = ("mask", "no_mask", "uncertain")


class Task(NamedTuple):
    """A source as given on the command line, its name for messages, and its output video."""

    source: str
    name: str
    output: Path | None


class Job:
    """A source and its results; call run() in a thread of its own.

    session: None until the source is open. error: why it ended early, None if it did not.
    """

    def __init__(
        self,
        task: Task,
        options: argparse.Namespace,
        answers: Lines | None,
        events: Events,
        collector: Collector | None = None,
    ) -> None:
        self.name = task.name
        self.session: Session | None = None
        self.stills = False
        self.error: Exception | None = None
        self._source, self._output, self._options = task.source, task.output, options
        self._answers, self._events, self._collector = answers, events, collector

    def run(self, stop: threading.Event, progress: Progress) -> None:
        """Process the source until it ends or stop is set."""
        try:
            with ExitStack() as stack:
                self._run(stop, progress, stack)
        except (SourceError, OutputError, GivenUp, OSError) as error:
            self.error = error
        except Exception as error:
            self.error = error
            raise  # an internal error: the thread's hook prints the traceback

    def _run(self, stop: threading.Event, progress: Progress, stack: ExitStack) -> None:
        options = self._options
        mqtt = None
        if options.mqtt:
            mqtt = Mqtt(options.mqtt, self.name, progress.note)
            stack.callback(mqtt.close)
        source = open_source(self._source, self.name, stop, progress.note)
        if isinstance(source, Live):
            stack.callback(source.close)
        self.stills = source.stills
        film = self._film(source, progress.note, stack)
        tracks = Tracks(live=source.live, stills=source.stills)
        stack.callback(lambda: self._events.write(tracks.end()))

        def record(frame: Frame, verdicts: Verdicts | None, status: str) -> None:
            if verdicts:
                self._events.write(tracks.add(frame, verdicts))
                if self._answers:
                    self._answers.write(json_line(frame, verdicts) + "\n")
                if self._collector:
                    self._collector.keep(frame, tracks.doubtful(frame))
            if film:
                faces = verdicts.faces if verdicts else None
                pixels = blurred(frame.pixels, faces) if options.blur else frame.pixels
                film.add(annotated(pixels, faces or (), status), frame.at_s)

        session = self.session = Session(
            source,
            partial(as_jpeg, quality=options.jpeg_quality),
            self._asking(source, progress.note, stack),
            record,
            progress.note,
            paced=not (options.no_window or source.live),
            give_up_s=options.give_up,
        )
        bar = progress.add(self.name, source.total)
        while not stop.is_set() and session.step():
            progress.update(bar, session.done, session.status, self.faces)
            if mqtt:
                mqtt.put(tracks.counts() if session.up else None)
        progress.update(bar, session.done, session.status, self.faces)

    def _film(self, source: Source, note: Callable[[str], None], stack: ExitStack) -> Film | None:
        """Open the video of a source, if one is wanted."""
        if self._output is None:
            return None
        film = Film(self._output, source.fps, note, live=source.live)
        stack.callback(film.close)
        return film

    def _asking(
        self, source: Source, note: Callable[[str], None], stack: ExitStack
    ) -> Callable[[bytes], Verdicts]:
        """Return what asks the service about a frame of a source."""
        service = service_of(self._options)
        if source.stills:  # a stream would track people across unrelated pictures
            return service.predict
        stream = Stream(service, note)
        stack.callback(stream.close)
        return stream.ask

    @property
    def faces(self) -> str:
        """The count of faces by label."""
        labels = self.session.labels if self.session else {}
        return ", ".join(f"{label} {labels[label]}" for label in LABELS)

    @property
    def summary(self) -> str:
        """The result in one line."""
        session = self.session
        if session is None:
            return "0 frames answered"
        return (
            f"{session.answered} frames answered, {session.refused} refused, {session.dropped} "
            f"dropped; faces: {self.faces}; mean {session.mean_fps:.1f} fps"
        )

    @property
    def failed(self) -> bool:
        """Whether the source ended with an error, or the service refused every frame."""
        session = self.session
        refused = session is not None and session.refused > 0 and session.answered == 0
        return self.error is not None or refused

    @property
    def look(self) -> object:
        """A value that changes whenever the picture changes."""
        session = self.session
        if session is None:
            return None
        frame = session.judged[0] if self._options.blur else session.frame
        return frame.index if frame else None, session.faces

    def picture(self) -> Image | None:
        """Return the current picture for the window, BGR; None before the first frame."""
        session = self.session
        if session is None:
            return None
        if not self._options.blur:
            frame = session.frame
            pixels = frame.pixels if frame else None
        else:  # only a frame with an answer has known faces
            frame, faces = session.judged
            pixels = blurred(frame.pixels, faces) if frame else None
        return None if pixels is None else annotated(pixels, session.faces, session.status)


def service_of(options: argparse.Namespace) -> Service:
    """Make the Service from the arguments."""
    query = {
        "detector": options.detector,
        "min_confidence": options.min_confidence,
        "smallest_face": options.smallest_face,
        "ignore": ";".join(options.ignore) if options.ignore else None,
    }
    given = {name: str(value) for name, value in query.items() if value is not None}
    headers = {"X-API-Key": options.api_key} if options.api_key else {}
    return Service(options.url, options.timeout, given, headers)
