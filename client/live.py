"""Cameras and streams: a thread reads all the time, so that the next frame is always new."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from client import backoff, video
from client.frames import Frame, Image

FPS = 15.0
TICK_S = 1 / 60
GOODBYE_S = 1.0

Pictures = Iterator[tuple[Image, float | None]]


class Live:
    """A source that does not wait: only the newest frame that was not taken is kept.

    A lost source is reopened with back-off until it is back. failed: set if it gave no frame the
    first time. why: the reason of the last failure, "" if unknown.
    """

    live = True
    stills = False
    fps = FPS
    total = 0

    def __init__(self, name: str, pictures: Callable[[], Pictures], stop: threading.Event) -> None:
        self.name = name
        self.dropped = 0
        self.lost = False
        self.newest: Frame | None = None
        self.failed = threading.Event()
        self.why = ""
        self._pictures = pictures
        self._stop = stop
        self._fresh: Frame | None = None
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[Frame | None]:
        """Yield the newest frame that was not yet taken, or None if none came for 1/60 s."""
        while True:
            with self._arrived:
                if self._fresh is None:
                    self._arrived.wait(TICK_S)
                frame, self._fresh = self._fresh, None
            yield frame

    def close(self) -> None:
        """Stop reading; does not wait longer than a second for a camera that hangs."""
        self._stop.set()
        self._thread.join(GOODBYE_S)

    def _read(self) -> None:
        waits = backoff.delays()
        index = 0
        while not self._stop.is_set():
            try:
                for pixels, time_s in self._pictures():
                    at_s = time.monotonic() if time_s is None else time_s
                    self._put(Frame(index, self.name, pixels, at_s))
                    waits = backoff.delays()
                    index += 1
                    if self._stop.is_set():
                        return
            except Exception as error:  # noqa: BLE001 (a bad stream can make decoders raise any)
                self.why = video.reason(error)
            if self.newest is None:
                self.failed.set()
                return
            self.lost = True
            self._stop.wait(next(waits))

    def _put(self, frame: Frame) -> None:
        with self._arrived:
            self.dropped += self._fresh is not None
            self._fresh = self.newest = frame
            self.lost = False
            self._arrived.notify()
