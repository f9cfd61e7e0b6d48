"""Judge the stream on real clips, against what a person saw in them (clips.json)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE
from model.images import Box, open_picture
from model.pipeline import MaskPipeline, Verdict
from model.video.tracking import TrackedVerdict, Tracker

FOLDER = Path("../shared/video")
TRUTHS = Path(__file__).with_name("clips.json")
VIDEOS = {".mp4", ".mkv", ".avi", ".mov", ".webm"}
QUALITY = 90
IN_A_ROW = 5  # answers `no_mask` that make an alarm, as in the client
FEW = 4  # people in a clip up to which their ids are counted
NEAR, ALIKE = 0.6, 2.5  # of a face's side, and factor between two sides: the same face
NO_PERSON, UNCOUNTED, POSTER = "no person", "uncounted", "poster"


@dataclass(frozen=True)
class Clip:
    """A clip's frames as JPEG, and its frames per second."""

    name: str
    jpegs: list[bytes]
    fps: float


@dataclass(frozen=True)
class Person:
    """A person in a clip.

    mask: from which frame on the person wears a mask: true, false, or null if no one can say.
    seen: for each stretch of frames, key boxes (frame, x, y, width, height) in pixels, between
    which the face moves in a straight line.
    """

    who: str
    mask: list[tuple[int, bool | None]]
    seen: list[list[tuple[int, int, int, int, int]]]

    def box(self, frame: int) -> Box | None:
        """Return where the face is in a frame; None if it is not seen."""
        for keys in self.seen:
            if keys[0][0] <= frame <= keys[-1][0]:
                at = [key[0] for key in keys]
                sides = [np.interp(frame, at, [key[i] for key in keys]) for i in range(1, 5)]
                return Box(*(round(float(side)) for side in sides))
        return None

    def masked(self, frame: int) -> bool | None:
        """Tell whether the person wears a mask in a frame; None if no one can say."""
        return [worn for begin, worn in self.mask if begin <= max(frame, 0)][-1]


@dataclass
class Truth:
    """What there is to see in a clip.

    aside: zones (what, first and last frame, x, y, width, height) of people who are too small, too
    dark or too hidden to judge; what is found there counts neither way. pictures: zones of faces on
    posters, which no tracker can tell from people. Anything else that is found is no person.
    """

    persons: list[Person]
    aside: list[list[Any]] = field(default_factory=list)
    pictures: list[list[Any]] = field(default_factory=list)

    def whose(self, boxes: list[Box], frame: int) -> list[int | str]:
        """Return for each box the number of the person, or NO_PERSON, UNCOUNTED or POSTER."""
        there = {n: box for n, p in enumerate(self.persons) if (box := p.box(frame))}
        near = [
            (gap, index, number)
            for index, box in enumerate(boxes)
            for number, place in there.items()
            if (gap := apart(box, place)) is not None
        ]
        found: dict[int, int] = {}
        for _, index, number in sorted(near):
            if index not in found and number not in found.values():
                found[index] = number
        return [
            found[index] if index in found else self._besides(box, frame)
            for index, box in enumerate(boxes)
        ]

    def _besides(self, box: Box, frame: int) -> str:
        for name, zones in ((POSTER, self.pictures), (UNCOUNTED, self.aside)):
            for _, first, last, x, y, width, height in zones:
                inside = 0 <= box.x + box.width / 2 - x <= width
                inside = inside and 0 <= box.y + box.height / 2 - y <= height
                if first <= frame <= last and inside:
                    return name
        return NO_PERSON


def apart(box: Box, place: Box) -> float | None:
    """Return how far a found face is from a person's, in sides of it; None if it is another's."""
    dx = box.x + box.width / 2 - place.x - place.width / 2
    dy = box.y + box.height / 2 - place.y - place.height / 2
    gap = float(np.hypot(dx, dy)) / place.long_side
    alike = 1 / ALIKE <= box.long_side / place.long_side <= ALIKE
    return gap if gap <= NEAR and alike else None


def truths() -> dict[str, Truth]:
    """Read what there is to see in the clips, by file name."""
    content = json.loads(TRUTHS.read_text())
    return {
        name: Truth(
            [Person(**person) for person in clip["persons"]],
            clip.get("aside", []),
            clip.get("pictures", []),
        )
        for name, clip in content.items()
    }


def read(file: Path, every: int = 1) -> Clip:
    """Read each n-th frame of a clip as JPEG."""
    capture = cv2.VideoCapture(str(file))
    fps = capture.get(cv2.CAP_PROP_FPS) / every
    jpegs = []
    for number in count():
        if not capture.grab():
            break
        if number % every == 0:
            _, image = capture.retrieve()
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            jpegs.append(data.tobytes())
    return Clip(file.name, jpegs, fps)


def files(folder: Path) -> list[Path]:
    """Return the clips of a folder; none if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in VIDEOS)


def tracked(pipeline: MaskPipeline, clip: Clip) -> Iterator[list[TrackedVerdict]]:
    """Yield the stream's answers; the tracker's clock follows the clip, not the machine."""
    ticks = count()
    tracker = Tracker(DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE, lambda: next(ticks) / clip.fps)
    for jpeg in clip.jpegs:
        verdicts = tracker.analyse(pipeline, open_picture(jpeg)).verdicts
        yield [verdict for verdict in verdicts if isinstance(verdict, TrackedVerdict)]


def measured(pipeline: MaskPipeline, file: Path, every: int) -> dict[str, Any]:
    """Play a clip to the tracker and, frame by frame, to the pipeline; returns the figures."""
    clip = read(file, every)
    truth = truths().get(file.name)
    seen = Seen(truth or Truth([]), clip.fps, every)
    for number, (verdicts, jpeg) in enumerate(
        zip(tracked(pipeline, clip), clip.jpegs, strict=True)
    ):
        seen.add(number, number * every, verdicts, pipeline.analyse(open_picture(jpeg)).verdicts)
    known = {"clip": file.name, "frames": len(clip.jpegs), "known": truth is not None}
    return known | seen.figures()


class Seen:
    """Counts over the answers to one clip."""

    def __init__(self, truth: Truth, fps: float, every: int) -> None:
        self._truth, self._fps = truth, fps
        self._second = round(fps * every)  # frames of the clip; so long may a label take to follow
        # For each id, whose face it was in the last answers, all of them `no_mask`.
        self._runs: dict[int, deque[int | str]] = defaultdict(lambda: deque(maxlen=IN_A_ROW))
        self._alarms: dict[int | str, set[int]] = defaultdict(set)  # the ids that alarm
        self._ids: dict[int, set[int]] = defaultdict(set)
        self._labels: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
        self._there: dict[int, list[int]] = defaultdict(list)
        self._plain = self._shown = 0

    def add(
        self, number: int, frame: int, verdicts: list[TrackedVerdict], plain: list[Verdict]
    ) -> None:
        """Add the answers to a frame; number: among those sent; frame: among those of the clip."""
        truth = self._truth
        for index, person in enumerate(truth.persons):
            if person.box(frame):
                self._there[index].append(number)
        persons = [v for v in verdicts if v.counts]
        whose = truth.whose([v.face.box for v in persons], frame)
        for verdict, who in zip(persons, whose, strict=True):
            self._alarm(verdict, who, frame)
            if isinstance(who, int):
                self._ids[who].add(verdict.track_id)
                self._labels[who].append((number, frame, verdict.label))
        by_predict = {
            who for who in truth.whose([v.face.box for v in plain], frame) if isinstance(who, int)
        }
        self._plain += len(by_predict)
        self._shown += len(by_predict & set(whose))

    def _alarm(self, verdict: TrackedVerdict, who: int | str, frame: int) -> None:
        if isinstance(who, int):
            person = self._truth.persons[who]
            bare = False in {person.masked(frame), person.masked(frame - self._second)}
            who = who if bare else NO_PERSON if person.masked(frame) else UNCOUNTED
        run = self._runs[verdict.track_id]
        run.append(who)
        if verdict.label != "no_mask":
            run.clear()
        if len(run) == IN_A_ROW:
            (most, _), *_ = Counter(run).most_common(1)
            self._alarms[most].add(verdict.track_id)

    def figures(self) -> dict[str, Any]:
        """Return the figures."""
        persons = self._truth.persons
        bare = {n for n, p in enumerate(persons) if any(worn is False for _, worn in p.mask)}
        first, changes, minutes, worn = [], 0, 0.0, []
        for index, labels in self._labels.items():
            given = [(number, frame, label) for number, frame, label in labels]
            known = next((i for i, each in enumerate(given) if each[2] != "uncertain"), None)
            if known is None:
                continue
            first.append((given[known][0] - self._there[index][0]) / self._fps)
            person = persons[index]
            if len(person.mask) == 1:
                changes += sum(a[2] != b[2] for a, b in pairwise(given[known:]))
                minutes += len(given) / self._fps / 60
            elif begin := next((f for f, mask in person.mask if mask), 0):
                since = [each for each in given if each[1] >= begin]
                told = next((each for each in since if each[2] == "mask"), None)
                worn.append((told[0] - since[0][0]) / self._fps if told else None)
        return {
            "persons": len(persons),
            "found": sum(
                any(label != "uncertain" for *_, label in rows) for rows in self._labels.values()
            ),
            "shown": [self._shown, self._plain],
            "ids": [len(ids) for ids in self._ids.values()],
            "alarms": {
                "true": len(bare & self._alarms.keys()),
                "of": len(bare),
                "false": len(self._alarms[NO_PERSON]),
                "pictures": len(self._alarms[POSTER]),
            },
            "changes": changes,
            "minutes": minutes,
            "first_s": first,
            "worn_s": worn,
        }


def total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all clips of which it is known what there is to see."""
    rows = [row for row in rows if row["known"]]
    first = [second for row in rows for second in row["first_s"]]
    few = [ids for row in rows if row["persons"] <= FEW for ids in row["ids"]]
    return {
        "clip": "all",
        "frames": sum(row["frames"] for row in rows),
        "known": True,
        "persons": sum(row["persons"] for row in rows),
        "found": sum(row["found"] for row in rows),
        "shown": [sum(row["shown"][i] for row in rows) for i in (0, 1)],
        "ids": few,
        "alarms": {
            name: sum(row["alarms"][name] for row in rows)
            for name in ("true", "of", "false", "pictures")
        },
        "changes": sum(row["changes"] for row in rows),
        "minutes": sum(row["minutes"] for row in rows),
        "first_s": first,
        "worn_s": [second for row in rows for second in row["worn_s"]],
    }
