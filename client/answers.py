"""The service's answers, checked before use.

The service may be broken, hostile or not a mask service at all, so every text, number and list
has a limit. An answer that does not fit raises ValueError and is not used in part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

MOST_BYTES: Final = 4_000_000
MOST_FACES: Final = 1000  # the highest MAX_FACES that the service accepts
WORN_WRONG: Final = 0.5

FINITE: Final = ConfigDict(allow_inf_nan=False)
Side = Annotated[int, Field(ge=0, le=65_535)]  # the longest side of a JPEG
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Number = Annotated[int, Field(ge=0, le=2**53)]


@dataclass(frozen=True, config=FINITE)
class Box:
    """A rectangle in whole pixels of the frame; x and y are its upper left corner."""

    x: Side
    y: Side
    width: Side
    height: Side


@dataclass(frozen=True, config=FINITE)
class Face:
    """One face. label: mask, no_mask or uncertain. probabilities and confidence: 0..1.

    track_id: the person's number within a stream; None if the service does not track. state:
    tentative while the service is not sure that this is a person. incorrectly_worn: the probability
    of a mask that leaves nose or mouth bare, 0..1; None if the service does not tell.
    """

    box: Box
    label: Name
    probabilities: Annotated[Mapping[Name, Share], Field(max_length=20)]
    detection_confidence: Share
    track_id: Number | None = None
    state: Name = "confirmed"
    incorrectly_worn: Share | None = None

    @property
    def worn_wrong(self) -> bool:
        """Whether a mask is there, but more probably leaves nose or mouth bare than not."""
        return self.label == "no_mask" and (self.incorrectly_worn or 0) >= WORN_WRONG

    @property
    def tentative(self) -> bool:
        """Whether this may be no person; it is shown but does not count."""
        return self.state == "tentative"


@dataclass(frozen=True, config=FINITE)
class Answer:
    """The part of an answer that the client uses."""

    request_id: Annotated[str, Field(max_length=200)]
    faces: Annotated[tuple[Face, ...], Field(max_length=MOST_FACES)]


@dataclass(frozen=True, config=FINITE)
class Problem:
    """An error as RFC 9457 defines it; its texts are shortened when shown."""

    status: int | None = None
    title: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        """Return status, title and detail as one line."""
        line = f"{self.status} {self.title or 'without a reason'}"
        return line + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, config=FINITE)
class Verdicts:
    """The answer for one frame; `answer` is the whole answer as the service sent it.

    first_track_id: the lowest track_id that this connection can assign.
    """

    faces: tuple[Face, ...]
    round_trip_ms: float
    request_id: str
    answer: Mapping[str, Any]
    first_track_id: int = 0

    @property
    def people(self) -> tuple[Face, ...]:
        """The faces that count as people."""
        return tuple(face for face in self.faces if not face.tentative)

    def numbered_from(self, first: int) -> Verdicts:
        """Return the same with `first` added to every track_id."""
        faces = tuple(
            face if face.track_id is None else replace(face, track_id=face.track_id + first)
            for face in self.faces
        )
        return replace(self, faces=faces, first_track_id=first)


ANSWER = TypeAdapter(Answer)
PROBLEM = TypeAdapter(Problem)


def parsed(body: bytes | bytearray | str) -> dict[str, Any]:
    """Parse a JSON object; raises ValueError for anything else, for deep nesting, NaN and 1e999."""
    content = from_json(body, allow_inf_nan=False)
    if not isinstance(content, dict):
        raise ValueError("a JSON object is expected")  # noqa: TRY004 (the sender's error)
    json.dumps(content, allow_nan=False)  # 1e999 was read as infinity
    return content


def verdicts(content: dict[str, Any], round_trip_ms: float) -> Verdicts:
    """Check an answer; raises ValueError if it does not match the API."""
    answer = ANSWER.validate_python(content)
    return Verdicts(answer.faces, round_trip_ms, answer.request_id, content)


def problem(content: dict[str, Any], status: int, title: str) -> Problem:
    """Read a problem; if `content` is not one, return one with the given status and title."""
    try:
        found = PROBLEM.validate_python({"title": title, **content, "status": status})
    except ValueError:
        return Problem(status, title)
    return found
