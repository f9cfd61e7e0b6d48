"""Track the faces of a video, with one id and one verdict per person instead of per frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from model.detectors.faces import Face
from model.images import Box, Image, Picture
from model.pipeline import Analysis, MaskPipeline, Stage, Verdict, timed
from model.selection import ALL, Selection
from model.video.evidence import Evidence
from model.video.flow import Flow
from model.video.motion import Motion

DETECT_FRAMES, DETECT_S = 4, 0.45  # longest time between two runs of the detector
LOOK_FRAMES, LOOK_S = 6, 0.6  # longest time between two classifications of a settled track
KEEP_FRAMES, KEEP_S = 20, 2.0  # a track out of sight keeps its id for the longer of the two
MOST_MISSES = 2  # a face missed by more detections in a row is out of sight
MOST_LOOKS = 8  # classifications per frame; if a crowd arrives, the rest wait for the next frame
FAINT = 0.25  # least confidence to continue a track (ByteTrack, Zhang et al. 2022)
SAME_FACE = -0.1  # distance-IoU, 1..-1; two equal boxes side by side have about -0.2
MOVED = 0.5  # IoU with the last classified box; below it, the face is classified again


@dataclass(frozen=True)
class TrackedVerdict(Verdict):
    """A face in a video; its label and probability combine all frames of its track.

    age: seconds since the track was first seen.
    """

    track_id: int
    age: float


@dataclass
class Track:
    """One person's face over time. seen, looked: frame number and time in s of the last one."""

    id: int
    face: Face
    evidence: Evidence
    began: float
    seen: tuple[int, float]
    looked: tuple[int, float] = (-1, float("-inf"))
    looked_at: Box | None = None
    misses: int = 0

    @property
    def visible(self) -> bool:
        """Whether the face is believed to be in the frame."""
        return self.misses <= MOST_MISSES


class Tracker:
    """Tracks the faces of one video, by detection every few frames and optical flow in between.

    The detector runs at once if the flow loses a face or something new may have come into view.

    Tracks and detections are matched by distance-IoU (Zheng et al. 2020), as in the IoU tracker
    that fills its gaps by visual tracking (Bochinski et al. 2018).
    """

    def __init__(
        self,
        detector: str,
        min_confidence: float,
        clock: Callable[[], float] = time.monotonic,
        selection: Selection = ALL,
    ) -> None:
        """Track the selected faces; of too many, the largest new ones are taken first."""
        self._clock = clock
        self._detector = detector
        self._min_confidence = min_confidence
        self._selection = selection
        self._left_out = 0  # faces left out when the detector last ran
        self._flow = Flow()
        self._motion = Motion()
        self._tracks: list[Track] = []
        self._frame = -1
        self._detected = (-DETECT_FRAMES, float("-inf"))
        self._next_id = 0

    def analyse(self, pipeline: MaskPipeline, picture: Picture) -> Analysis:
        """Find, follow and classify the faces of the next frame.

        Raises DetectorUnavailable, and UndecodableImage for a damaged picture; tracking can go on
        with the next frame.
        """
        stages: list[Stage] = []
        with timed(stages, "decode"):
            frame = picture.decode()
        image = frame.image
        self._frame += 1
        now = self._clock()
        with timed(stages, "detect"):
            self._locate(pipeline, image, now)
        with timed(stages, "classify"):
            self._judge(pipeline, image, now)
        verdicts: list[Verdict] = [
            TrackedVerdict(
                track.face,
                track.evidence.label,
                track.evidence.mask,
                track.evidence.fit,
                track.evidence.stage,
                track.evidence.incorrectly_worn,
                track.id,
                now - track.began,
            )
            for track in self._tracks
            if track.visible and self._selection.takes(track.face.box, image)
        ]
        return Analysis(image, frame.size, self._detector, verdicts, stages, self._left_out)

    def _locate(self, pipeline: MaskPipeline, image: Image, now: float) -> None:
        """Move the tracks' boxes to their places in this frame."""
        self._flow.advance(image)
        self._motion.advance(self._flow.grey)
        visible = [track for track in self._tracks if track.visible]
        followed = self._flow.follow(image, [track.face for track in visible])
        lost = []
        for track, face in zip(visible, followed, strict=True):
            if face is None or face.box.short_side < 1:
                lost.append(track)
            else:
                track.face = face
        if (
            lost
            or any(track.misses for track in visible)
            or self._due(self._detected, DETECT_FRAMES, DETECT_S, now)
            or self._motion.news(image.shape, [track.face.box for track in visible])
        ):
            self._detect(pipeline, image, now)
            self._motion.look()
            for track in lost:
                if track.misses:  # neither followed nor detected
                    track.misses = MOST_MISSES + 1

    def _due(self, last: tuple[int, float], frames: int, seconds: float, now: float) -> bool:
        return self._frame - last[0] >= frames or now - last[1] >= seconds

    def _detect(self, pipeline: MaskPipeline, image: Image, now: float) -> None:
        self._detected = (self._frame, now)
        found = pipeline.find(image, self._detector, min(FAINT, self._min_confidence))
        faces = self._selection.of(found, image)
        self._left_out = self._confident(found) - self._confident(faces)
        pairs, rest = matched(self._tracks, faces)
        for track, face in pairs:
            if not track.visible:
                track.evidence.doubt()
            track.face, track.seen, track.misses = face, (self._frame, now), 0
        matched_ids = {track.id for track, _ in pairs}
        for track in self._tracks:
            if track.id not in matched_ids:
                track.misses += 1
        self._tracks = [
            track for track in self._tracks if track.visible or not all(self._gone(track, now))
        ]
        places = self._selection.most - sum(track.visible for track in self._tracks)
        for face in rest:
            if face.confidence >= self._min_confidence:
                places -= 1
                if places < 0:
                    self._left_out += 1
                    continue
                seen = (self._frame, now)
                evidence = Evidence(pipeline.card)
                self._tracks.append(Track(self._next_id, face, evidence, now, seen))
                self._next_id += 1
        # Keep all visible tracks, and those that went out of sight last.
        self._tracks.sort(key=lambda track: (track.visible, track.seen), reverse=True)
        del self._tracks[self._selection.most :]
        self._tracks.sort(key=lambda track: track.id)

    def _confident(self, faces: Iterable[Face]) -> int:
        return sum(face.confidence >= self._min_confidence for face in faces)

    def _gone(self, track: Track, now: float) -> tuple[bool, bool]:
        return self._frame - track.seen[0] > KEEP_FRAMES, now - track.seen[1] > KEEP_S

    def _judge(self, pipeline: MaskPipeline, image: Image, now: float) -> None:
        """Classify the tracks that are due, those classified longest ago first."""
        due = [track for track in self._tracks if track.visible and self._worth_a_look(track, now)]
        due.sort(key=lambda track: track.looked)
        due = due[:MOST_LOOKS]
        verdicts = pipeline.judge(image, [track.face for track in due])
        for track, verdict in zip(due, verdicts, strict=True):
            track.evidence.add(verdict)
            track.looked, track.looked_at = (self._frame, now), track.face.box

    def _worth_a_look(self, track: Track, now: float) -> bool:
        return (
            not track.evidence.settled
            or self._due(track.looked, LOOK_FRAMES, LOOK_S, now)
            or track.looked_at is None
            or iou(track.face.box, track.looked_at) < MOVED
        )


def matched(
    tracks: Iterable[Track], faces: list[Face]
) -> tuple[list[tuple[Track, Face]], list[Face]]:
    """Pair tracks with faces, best distance-IoU first; returns pairs and the unmatched faces."""
    scores = [
        (distance_iou(track.face.box, face.box), track, index)
        for track in tracks
        for index, face in enumerate(faces)
    ]
    pairs: list[tuple[Track, Face]] = []
    taken_tracks: set[int] = set()
    left = dict(enumerate(faces))
    for score, track, index in sorted(scores, key=lambda s: (-s[1].visible, -s[0])):
        if score >= SAME_FACE and track.id not in taken_tracks and index in left:
            taken_tracks.add(track.id)
            pairs.append((track, left.pop(index)))
    return pairs, list(left.values())


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0..1."""
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(across, 0) * max(down, 0)
    union = a.width * a.height + b.width * b.height - shared
    return shared / union if union else 0.0


def distance_iou(a: Box, b: Box) -> float:
    """Return the IoU minus (distance of the centres / diagonal of the enclosing box) squared."""
    width = max(a.x + a.width, b.x + b.width) - min(a.x, b.x)
    height = max(a.y + a.height, b.y + b.height) - min(a.y, b.y)
    dx = a.x + a.width / 2 - b.x - b.width / 2
    dy = a.y + a.height / 2 - b.y - b.height / 2
    diagonal = width * width + height * height
    return iou(a, b) - ((dx * dx + dy * dy) / diagonal if diagonal else 0.0)
