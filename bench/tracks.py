"""Compare tracking with separate classification of each frame: recall, stability, delay, work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

from bench.films import Noise, Person, Shot, film
from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE
from model.detectors.faces import Face
from model.images import Box, Image, open_picture
from model.pipeline import MaskPipeline, Verdict
from model.video.tracking import Tracker, iou

FPS = 10
FOUND = 0.4  # IoU with the true box
MAX_PIXELS = 10_000_000
LIGHT = Noise(grain=4, light=0.03, blur=1, quality=80)
HEAVY = Noise(grain=20, light=0.15, blur=9, quality=50)


class Counting(MaskPipeline):
    """A pipeline that counts its detections and classifications."""

    finds = looks = 0

    def find(self, *args: Any) -> list[Face]:
        """Find faces and count the call."""
        self.finds += 1
        return super().find(*args)

    def judge(self, image: Image, faces: Iterable[Face]) -> list[Verdict]:
        """Classify faces and count them."""
        faces = list(faces)
        self.looks += len(faces)
        return super().judge(image, faces)


def new_tracker() -> Tracker:
    """Return a tracker whose clock follows the film's frames and not the machine's time."""
    ticks = count()
    return Tracker(DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE, lambda: next(ticks) / FPS)


@dataclass
class Tally:
    """Counts over films. there: faces present. shown: of these, found. extra: false detections."""

    frames: int = 0
    there: int = 0
    shown: int = 0
    extra: int = 0
    changes: int = 0
    finds: int = 0
    looks: int = 0
    ids: int = 0

    def rates(self) -> dict[str, float]:
        """Return the figures computed from the counts."""
        return {
            "recall": round(self.shown / self.there, 4),
            "false_boxes_per_frame": round(self.extra / self.frames, 4),
            "label_changes_per_minute": round(self.changes / (self.there / FPS / 60), 2),
            "detections_per_frame": round(self.finds / self.frames, 3),
            "classifications_per_face_and_frame": round(self.looks / self.there, 3),
            "ids_per_person": self.ids,
        }


@dataclass
class Comparison:
    """The counts for the same films, frame by frame and with tracking."""

    frames: Tally = field(default_factory=Tally)
    tracks: Tally = field(default_factory=Tally)


def compare(people: list[Person], frames: int, noise: Noise, seed: int, into: Comparison) -> None:
    """Classify a film both ways and add the counts."""
    shots = list(film(people, frames, noise, seed))
    single, tracked = Counting.load(), Counting.load()
    tracker = new_tracker()
    by_track = [tracker.analyse(tracked, open_picture(shot.jpeg)).verdicts for shot in shots]
    by_frame = [single.analyse(open_picture(shot.jpeg)).verdicts for shot in shots]
    tally(into.frames, shots, by_frame, single)
    tally(into.tracks, shots, by_track, tracked)


def tally(into: Tally, shots: list[Shot], answers: list[list[Verdict]], pipeline: Any) -> None:
    """Add the counts for a film; changes from the initial `uncertain` are not counted."""
    into.frames += len(shots)
    into.finds += pipeline.finds
    into.looks += pipeline.looks
    found = 0
    for person in range(len(shots[0].boxes)):
        labels, ids = [], set()
        for shot, faces in zip(shots, answers, strict=True):
            box = shot.boxes[person]
            match = best(box, faces) if box else None
            into.there += box is not None
            if match:
                found += 1
                labels.append(match.label)
                ids.add(getattr(match, "track_id", None))
        judged = next((n for n, label in enumerate(labels) if label != "uncertain"), 0)
        into.changes += sum(a != b for a, b in pairwise(labels[judged:]))
        into.ids = max(into.ids, len(ids))
    into.shown += found
    into.extra += sum(len(faces) for faces in answers) - found


def best(box: Box, faces: list[Verdict]) -> Verdict | None:
    """Return the face that overlaps a box most, if its IoU is at least FOUND."""
    face = max(faces, key=lambda j: iou(j.face.box, box), default=None)
    return face if face and iou(face.face.box, box) >= FOUND else None


def steadiness(frames: int = 150) -> Comparison:
    """Compare on faces that do not change, in three sizes, with and without a mask."""
    into = Comparison()
    for seed, face in enumerate((24, 32, 48)):
        for masked in (False, True):
            if face == 24 and masked:
                continue  # too small for the detector
            person = Person((320, 240), face, masked=lambda _, m=masked: m)  # type: ignore[misc]
            compare([person], frames, HEAVY, seed, into)
    return into


def movement(frames: int = 120) -> Comparison:
    """Compare on people who move fast, enter and leave."""
    into = Comparison()
    people = [
        Person((180, 220), 100, sway=70, period=24),
        Person((470, 200), 60, sway=40, period=18, masked=lambda _: True),
        Person((330, 330), 45, sway=25, period=15, present=lambda n: n % 40 >= 12),
    ]
    for seed in range(2):
        compare(people, frames, Noise(grain=8, light=0.06, blur=5, quality=70), seed, into)
    return into


def delays(noises: tuple[Noise, ...] = (LIGHT, HEAVY)) -> list[float]:
    """Return the seconds from taking a mask off to `no_mask`, for each offset and noise."""
    pipeline = MaskPipeline.load()
    found = []
    for noise in noises:
        for offset in range(6):
            off = 20 + offset
            person = Person((320, 240), 90, masked=lambda n, o=off: n < o)  # type: ignore[misc]
            tracker = new_tracker()
            delay = float("inf")
            for number, shot in enumerate(film([person], off + 30, noise, seed=offset)):
                faces = tracker.analyse(pipeline, open_picture(shot.jpeg)).verdicts
                if number >= off and any(face.label == "no_mask" for face in faces):
                    delay = (number - off) / FPS
                    break
            found.append(delay)
    return found


def evidence() -> dict[str, list[float]]:
    """Return the probability of mask over a film in which the mask comes off at frame 60."""
    person = Person((320, 240), 32, masked=lambda n: n < 60)
    shots = list(film([person], 120, HEAVY, seed=3))
    pipeline = MaskPipeline.load()
    tracker = new_tracker()
    nowhere = float("nan")
    curves: dict[str, list[float]] = {"each frame by itself": [], "track": []}
    for shot in shots:
        box = shot.boxes[0]
        for name, faces in (
            ("each frame by itself", pipeline.analyse(open_picture(shot.jpeg)).verdicts),
            ("track", tracker.analyse(pipeline, open_picture(shot.jpeg)).verdicts),
        ):
            face = best(box, faces) if box else None
            curves[name].append(face.mask if face else nowhere)
    return curves
