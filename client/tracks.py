"""Turn verdicts per frame into events per person: arrived, changed, confirmed, left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from client.answers import Box, Face, Verdicts
from client.frames import Frame

Kind = Literal["first_seen", "label_changed", "no_mask_confirmed", "last_seen"]

GONE_S = 3.0  # a person not seen for this long has left
CONFIRMED = 5  # no_mask answers in a row
MOST_PEOPLE = 1000  # tracked at once, even if a service reports more
SAME_FACE = 0.3  # least intersection over union, if the service gives no track_id


@dataclass(frozen=True)
class Event:
    """An event of one person. position_s: the frame's time in a video file, None for others."""

    event: Kind
    source: str
    track_id: int
    time: datetime
    frame: int
    position_s: float | None
    label: str
    previous: str | None
    mask: float | None
    box: Box

    def flat(self) -> dict[str, Any]:
        """Return the event as a flat dict of plain values, for a table row or a line of JSON."""
        sides = {side: getattr(self.box, side) for side in ("x", "y", "width", "height")}
        own = {name: getattr(self, name) for name in COLUMNS if name not in sides}
        own["time"] = self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return own | sides


COLUMNS = (
    *("event", "source", "track_id", "time", "frame", "position_s", "label", "previous", "mask"),
    *("x", "y", "width", "height"),
)


@dataclass
class Person:
    """A tracked face; face and frame are the last ones. told: the label last reported.

    looks: answers with it. changed: the index of the frame in which its label last changed.
    kept_at_s: when a picture of it was last collected, on the source's clock.
    """

    face: Face
    frame: Frame
    told: str
    looks: int = 0
    changed: int = -1
    kept_at_s: float | None = None
    unmasked: int = 0
    confirmed: bool = False


@dataclass
class Tracks:
    """The people of one source.

    live: times are by the clock; otherwise by the video file. stills: unrelated pictures, so no
    person is tracked from one to the next, and none is confirmed.
    """

    live: bool
    stills: bool = False
    people: dict[int, Person] = field(default_factory=dict)
    next_id: int = 0

    def add(self, frame: Frame, verdicts: Verdicts) -> Iterator[Event]:
        """Add a frame's verdicts and yield the resulting events."""
        for number in [n for n, p in self.people.items() if self._gone(p, frame)]:
            yield self._leave(number)
        for number, face in list(self._numbered(verdicts)):
            person = self.people.get(number)
            if person is None:
                person = self.people[number] = Person(face, frame, face.label)
                yield self._event("first_seen", number)
            person.face, person.frame = face, frame
            person.looks += 1
            if face.label != person.told:
                previous, person.told = person.told, face.label
                person.changed = frame.index
                yield self._event("label_changed", number, previous)
            person.unmasked = person.unmasked + 1 if face.label == "no_mask" else 0
            if face.label != "no_mask":
                person.confirmed = False
            elif not person.confirmed and person.unmasked >= CONFIRMED:
                person.confirmed = True
                yield self._event("no_mask_confirmed", number)
        longest_unseen = sorted(self.people, key=lambda number: self.people[number].frame.index)
        for number in longest_unseen[: max(len(self.people) - MOST_PEOPLE, 0)]:
            yield self._leave(number)

    def end(self) -> Iterator[Event]:
        """Yield a last_seen event for every remaining person."""
        for number in list(self.people):
            yield self._leave(number)

    def counts(self) -> dict[str, object]:
        """Count the people in sight by label, and tell whether a no-mask is confirmed.

        Someone counts after CONFIRMED answers, in a still picture at once. compliance: percent of
        those with a known label who wear a mask, None if there are none.
        """
        found = Counter(person.told for person in self.people.values() if self._known(person))
        mask, no_mask = found["mask"], found["no_mask"]
        return {
            "mask": mask,
            "no_mask": no_mask,
            "uncertain": found["uncertain"],
            "compliance": round(100 * mask / (mask + no_mask), 1) if mask + no_mask else None,
            "no_mask_confirmed": any(person.confirmed for person in self.people.values()),
        }

    def doubtful(self, frame: Frame) -> list[tuple[int, Person]]:
        """Return the people of the newest frame who are uncertain or whose label just changed.

        The first answers on a person, of which a stream makes its first label, do not count.
        """
        return [
            (number, person)
            for number, person in self.people.items()
            if person.frame is frame
            and self._known(person)
            and (person.told == "uncertain" or person.changed == frame.index)
        ]

    def _known(self, person: Person) -> bool:
        return self.stills or person.looks >= CONFIRMED

    def _gone(self, person: Person, frame: Frame) -> bool:
        if self.stills:
            return True
        if self.live:
            return (frame.time - person.frame.time).total_seconds() > GONE_S
        return frame.at_s - person.frame.at_s > GONE_S

    def _leave(self, number: int) -> Event:
        event = self._event("last_seen", number)
        del self.people[number]
        return event

    def _event(self, kind: Kind, number: int, previous: str | None = None) -> Event:
        person = self.people[number]
        frame, face = person.frame, person.face
        position_s = None if self.live or self.stills else round(frame.at_s, 3)
        mask = face.probabilities.get("mask")
        return Event(
            *(kind, frame.name, number, frame.time, frame.index, position_s),
            *(face.label, previous, mask, face.box),
        )

    def _numbered(self, verdicts: Verdicts) -> Iterator[tuple[int, Face]]:
        """Yield each person's face with a number; a new person gets a new number.

        The service's track_id identifies the person. If there is none, or if numbers start again
        on a new connection, a face belongs to the person whose last box it overlaps most.
        """
        known = {p.face.track_id: n for n, p in self.people.items() if p.face.track_id is not None}
        present = {
            known.get(-1 if face.track_id is None else face.track_id) for face in verdicts.people
        }
        free = {number: p.face for number, p in self.people.items() if number not in present}
        for face in verdicts.people:
            if face.track_id is not None and face.track_id in known:
                yield known[face.track_id], face
                continue
            overlaps = {
                number: iou(other.box, face.box)
                for number, other in free.items()
                if None in {face.track_id, other.track_id}
                or (other.track_id or 0) < verdicts.first_track_id
            }
            number = max(overlaps, key=overlaps.__getitem__, default=-1)
            if overlaps.get(number, 0.0) < SAME_FACE:
                number, self.next_id = self.next_id, self.next_id + 1
            free.pop(number, None)
            yield number, face


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(across, 0) * max(down, 0)
    union = a.width * a.height + b.width * b.height - shared
    return shared / union if union else 0.0
