"""Send frames to the service one at a time and keep the last answer."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial

from client import backoff
from client.answers import Face, Verdicts
from client.api import Refused, Unreachable
from client.frames import Frame, Image, Source

TICK_S = 1 / 60
LONGEST_PAUSE_S = 5.0  # between two frames, even if a damaged file has a longer gap
BUSY_S = 0.1  # the shortest wait, for a service that sends Retry-After: 0
REPEATS = 3  # the same reason, frame after frame, is printed at most this many times


class GivenUp(Exception):
    """The service or the source was away for longer than --give-up allows."""


class Session:
    """Sends a source's frames to the service; call step() until it returns False.

    One request is in flight at a time. Meanwhile, a recording's next frame is read and encoded and
    its last one is recorded, so that the service need not wait. While the service is away, a
    recording keeps its frame and waits; a live source drops it and sends the newest one later.

    encode: turns a frame's pixels into the bytes to send. ask: sends them and returns the
    verdicts. record: called with each frame, its verdicts (None if refused) and the status line.
    paced: show a recording no faster than it was filmed. give_up_s: seconds without verdicts from
    the service, or frames from the source, until GivenUp is raised.
    """

    def __init__(  # noqa: PLR0913 (all parts meet here)
        self,
        source: Source,
        encode: Callable[[Image], bytes],
        ask: Callable[[bytes], Verdicts],
        record: Callable[[Frame, Verdicts | None, str], None],
        note: Callable[[str], None],
        *,
        paced: bool = False,
        give_up_s: float = math.inf,
    ) -> None:
        self.source = source
        self.answered = 0
        self.refused = 0
        self.labels: Counter[str] = Counter()
        self.faces: tuple[Face, ...] = ()
        self._encode, self._ask, self._record = encode, ask, record
        self._note, self._paced, self._give_up_s = note, paced, give_up_s
        self._frames = source.frames()
        self._frame: Frame | None = None
        self._jpeg: bytes | None = None
        self._next: tuple[Frame, bytes | None] | None = None
        self._shown: Frame | None = None
        self._judged: tuple[Frame | None, tuple[Face, ...] | None] = None, None
        self._request: Future[Verdicts] | None = None
        self._not_before = 0.0
        self._retries = backoff.delays()
        self._away: tuple[float, str] | None = None  # since when, and why
        self._lost: float | None = None
        self._shown_at: tuple[float, float] | None = None
        self._missed = 0
        self._reason, self._repeats = "", 0
        self._round_trip_ms = 0.0
        self._began: float | None = None
        self._ended = 0.0
        self._recent: deque[float] = deque(maxlen=30)

    @property
    def done(self) -> int:
        """The frames that were answered or refused."""
        return self.answered + self.refused

    @property
    def dropped(self) -> int:
        """The frames of a live source that were never answered because a newer one came."""
        return self.source.dropped + self._missed

    @property
    def up(self) -> bool:
        """Whether there are answers, and neither the service nor the source is away."""
        return self.answered > 0 and self._away is None and self._lost is None

    @property
    def frame(self) -> Frame | None:
        """The frame to show: a live source's newest, otherwise the one the faces belong to."""
        if self.source.live:
            return self.source.newest
        return self._frame if self._away or self._shown is None else self._shown

    @property
    def mean_fps(self) -> float:
        """Answered frames per second since the first was sent."""
        elapsed = self._ended - (self._began or 0.0)
        return self.answered / elapsed if self._began is not None and elapsed > 0 else 0.0

    @property
    def status(self) -> str:
        """The status in one line: frames per second, round trip, and what is being reconnected."""
        rate = 0.0
        if len(self._recent) > 1:
            rate = (len(self._recent) - 1) / max(time.monotonic() - self._recent[0], 1e-6)
        parts = [f"{rate:.1f} fps", f"{self._round_trip_ms:.0f} ms"]
        if self._away:
            parts.append("reconnecting to the service")
        if self._lost:
            parts.append("reconnecting to the camera")
        return "  ".join(parts)

    @property
    def judged(self) -> tuple[Frame | None, tuple[Face, ...] | None]:
        """The last frame that was answered or refused, and its faces, None if it was refused."""
        return self._judged

    def step(self) -> bool:
        """Do what is due and wait for at most 1/60 s; returns False once the source has ended.

        Raises SourceError if the source gives no frame at all, and GivenUp.
        """
        self._watch_source()
        self._watch_service()
        if self._request is None and not self._send():
            return False
        if self._request is not None:
            self._prepare()
            wait([self._request], timeout=TICK_S)
            if self._request.done():
                self._settle(self._request)
        return True

    def _watch_source(self) -> None:
        name, lost = self.source.name, self.source.lost
        if lost and self._lost is None:
            self._lost = time.monotonic()
            self._note(f"{name} is lost; reopening it.")
        elif self._lost is not None and not lost:
            self._lost = None
            self._note(f"{name} is back.")
        if self._lost is not None and time.monotonic() - self._lost > self._give_up_s:
            raise GivenUp(
                f"{name} has given no picture for {self._give_up_s:g} s (--give-up): given up."
            )

    def _watch_service(self) -> None:
        if self._away is None:
            return
        since, why = self._away
        if time.monotonic() - since > self._give_up_s:
            raise GivenUp(
                f"The service has given no verdicts for {self._give_up_s:g} s ({why}): given up."
            )

    def _prepare(self) -> None:
        """Read and encode the frame after the one in flight."""
        if self.source.live or self._next is not None:
            return
        frame = next(self._frames, None)
        if frame is not None:
            jpeg = None
            with suppress(Refused):  # reported when the frame is sent
                jpeg = self._encode(frame.pixels)
            self._next = frame, jpeg

    def _send(self) -> bool:
        idle = self._not_before - time.monotonic()
        if idle > 0:
            time.sleep(min(idle, TICK_S))
            return True
        if self._frame is None and self._next is not None:
            (self._frame, self._jpeg), self._next = self._next, None
        if self._frame is None:
            self._jpeg = None
            try:
                self._frame = next(self._frames)
            except StopIteration:
                return False
        if self._frame is not None:
            now = time.monotonic()
            if self._paced and self._too_early(self._frame, now):
                return True
            self._began = now if self._began is None else self._began
            call = partial(self._encode_and_ask, self._frame, self._jpeg)
            self._request = in_background(call)
        return True

    def _too_early(self, frame: Frame, now: float) -> bool:
        """Return whether a recording would run too fast, and set when its frame is due."""
        if self._shown_at is not None:
            last, at_s = self._shown_at
            due = last + min(frame.at_s - at_s, LONGEST_PAUSE_S)
            if frame.at_s != at_s and due > now:
                self._not_before = due
                return True
        self._shown_at = now, frame.at_s
        return False

    def _encode_and_ask(self, frame: Frame, jpeg: bytes | None) -> Verdicts:
        return self._ask(self._encode(frame.pixels) if jpeg is None else jpeg)

    def _settle(self, request: Future[Verdicts]) -> None:
        frame, self._request = self._frame, None
        if frame is None:  # never: step() sends no request without a frame
            return
        verdicts = None
        try:
            verdicts = request.result()
        except Unreachable as error:
            self._retry(error)
            return
        except Refused as error:
            self._refuse(frame, error)
        else:
            self._accept(verdicts)
        if self._away:
            self._note("The service answers again.")
        self._away, self._retries = None, backoff.delays()
        self._frame, self._shown = None, frame
        self._judged = frame, verdicts.faces if verdicts else None
        status = self.status
        if self._next is not None:
            self._send()
        self._record(frame, verdicts, status)

    def _accept(self, verdicts: Verdicts) -> None:
        self.answered += 1
        self.faces = verdicts.faces
        self.labels.update(face.label for face in verdicts.people)
        self._round_trip_ms = verdicts.round_trip_ms
        self._ended = time.monotonic()
        self._recent.append(self._ended)

    def _refuse(self, frame: Frame, error: Refused) -> None:
        self.refused += 1
        self.faces = ()
        self._repeats = self._repeats + 1 if str(error) == self._reason else 1
        self._reason = str(error)
        if self._repeats <= REPEATS:
            self._note(f"Frame {frame.index} of {frame.name} is skipped: {error}")
        if self._repeats == REPEATS:
            self._note("Further frames refused for this reason are only counted.")

    def _retry(self, error: Unreachable) -> None:
        if self._away is None:
            self._note(
                f"The service gives no verdicts ({error}); trying again"
                + ("." if math.isfinite(self._give_up_s) else " until it does (see --give-up).")
            )
        since = time.monotonic() if self._away is None else self._away[0]
        self._away = since, str(error)
        self.faces = ()  # old boxes would be wrong on a moving picture
        delay = next(self._retries)
        if error.retry_after_s is not None:
            delay = max(error.retry_after_s, BUSY_S)
        self._not_before = time.monotonic() + delay
        if self.source.live:
            self._frame = None
            self._missed += 1


def in_background(call: Callable[[], Verdicts]) -> Future[Verdicts]:
    """Call in a daemon thread; unlike an executor's, it does not delay the program's end."""
    future: Future[Verdicts] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (raised again where the result is taken)
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
