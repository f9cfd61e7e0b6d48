"""Track the faces of a video, with one id and one verdict per person instead of per frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from model.cascade import DETECTOR
from model.detectors.facemask import FaceMask
from model.detectors.faces import Face, largest
from model.images import Box, Frame, Image, Picture
from model.pipeline import (
    ENOUGH_TO_SEARCH,
    Analysis,
    MaskPipeline,
    Stage,
    Verdict,
    incorrectly_worn,
    timed,
)
from model.selection import ALL, Selection
from model.video.evidence import Evidence

State = Literal["tentative", "confirmed"]

FAINT = 0.2  # least confidence to continue a track (ByteTrack, Zhang et al. 2022)
FAINT_S = 1.0  # a track that has only such detections for this long ends
# Detections that confirm a person, and their least confidence: that of our detector, which a second
# network has verified, and that of the others.
SIGHTINGS, CERTAIN, CERTAIN_OF_OTHERS = 3, 0.95, 0.75
SAME_FACE = -0.2  # least distance-IoU, 1..-1; two equal boxes side by side have about -0.2
TICK_S = 1 / 30  # least time between two frames
MOST_MISSES = 2  # a face missed by more looks in a row is out of sight
KEEP_S = 2.0  # a track out of sight keeps its id

# A look's size, in pixels of the frame's longer side, is the smallest at which each followed face
# has ENOUGH pixels, or ENOUGH_IF_KNOWN with a settled label. Every WIDE-th look is of the largest
# size, to find people farther away.
SIZES, ENOUGH, ENOUGH_IF_KNOWN, WIDE = (192, 320, 480, FaceMask.LONG_SIDE), 30, 24, 8
# Every second frame may be skipped if no face is new and each overlaps that much with itself in the
# look before: STILL up to SKIP_S after a look, SLOW up to FAST_S.
STILL, SKIP_S, SLOW, FAST_S = 0.9, 0.2, 0.7, 1 / 20
# Looks of different sizes box the same face a bit differently. A box that overlaps the one shown
# before at least that much is averaged with it.
SMOOTH = 0.8
NEW_S = 1.0  # a face that is not confirmed in this time is no longer new

# Seconds between two classifications by the crop network, if the detector is SURE and agrees with
# the settled evidence, is not sure, or disagrees.
SURE = 0.9
AGREED_S, UNSURE_S, DISPUTED_S = 3.0, 0.6, 0.1
MOST_LOOKS = 8  # classifications per frame; if a crowd arrives, the rest wait for the next frame

NOTHING: Final[Image] = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class TrackedVerdict(Verdict):
    """A face in a video; its label and probability combine all frames of its track.

    age: seconds since the track was first seen. state: whether it has been seen surely enough to
    count as a person.
    """

    track_id: int
    age: float
    state: State

    @property
    def counts(self) -> bool:
        """Whether this is a person for certain."""
        return self.state == "confirmed"


@dataclass
class Track:
    """One person's face over time; times are in seconds.

    face: as last detected. shown: its box in the answers, which jumps less. seen: the last
    detection. trusted: the last one that was not faint. sightings: those that confirm the person.
    looked: the last classification by the crop networks. weighed: when the evidence last changed.
    stage: the stage that gave the last verdict. fit: whether the face could then be classified.
    overlap: the IoU of its boxes in the last two looks, 0 if one missed it.
    misses: looks in a row without the face.
    """

    id: int
    face: Face
    shown: Box
    evidence: Evidence
    began: float
    seen: float
    trusted: float
    weighed: float
    looked: float = float("-inf")
    sightings: int = 0
    stage: str = DETECTOR
    fit: bool = False
    overlap: float = 0.0
    misses: int = 0

    @property
    def visible(self) -> bool:
        """Whether the face is believed to be in the frame."""
        return self.misses <= MOST_MISSES

    @property
    def state(self) -> State:
        """Whether the track has been seen surely enough to count as a person."""
        return "confirmed" if self.sightings >= SIGHTINGS else "tentative"

    @property
    def known(self) -> bool:
        """Whether this is a person whose label is settled."""
        return self.state == "confirmed" and self.evidence.settled

    def new(self, now: float) -> bool:
        """Tell whether it is still to be found out if this is a person, and with a mask or not."""
        return not self.known and (self.state == "confirmed" or now - self.began <= NEW_S)


class Tracker:
    """Tracks the faces of one video.

    Detections are matched with tracks by distance-IoU (Zheng et al. 2020), confident ones first;
    faint ones only continue a track.
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
        self._certain = CERTAIN if detector == "facemask" else CERTAIN_OF_OTHERS
        self._min_confidence = min_confidence
        self._selection = selection
        self._size: tuple[int, int] | None = None  # of the last frame looked at
        self._left_out = 0  # faces left out in the last look
        self._tracks: list[Track] = []
        self._next_id = 0
        self._looks = 0
        self._looked = float("-inf")
        self._skipped = False
        self._clocked = clock()
        self._now = 0.0

    def analyse(self, pipeline: MaskPipeline, picture: Picture) -> Analysis:
        """Find, follow and classify the faces of the next frame.

        Every second frame may be answered without looking at it, see _may_skip.
        Raises DetectorUnavailable, and UndecodableImage for a damaged picture; tracking can go on
        with the next frame.
        """
        now = self._time()
        stages: list[Stage] = []
        resized = picture.size != self._size
        self._skipped = not (self._skipped or resized) and self._may_skip(now)
        side = self._side(picture.size)
        with timed(stages, "decode"):
            frame = None if self._skipped else picture.decode(side)
        with timed(stages, "detect"):
            if frame:
                self._locate(pipeline, frame, side, now)
                if resized:  # the boxes of faces that were missed belong to another picture
                    self._tracks = [track for track in self._tracks if track.seen == now]
                    self._size = picture.size
        with timed(stages, "classify"):
            if frame:
                self._judge(pipeline, picture, frame, now)
        verdicts: list[Verdict] = [
            TrackedVerdict(
                face=replace(track.face, box=track.shown),
                label=track.evidence.label,
                mask=track.evidence.mask,
                fit=track.fit,
                stage=track.stage,
                incorrectly_worn=incorrectly_worn(track.face, track.evidence.mask),
                track_id=track.id,
                age=now - track.began,
                state=track.state,
            )
            for track in self._tracks
            if track.visible
        ]
        image = frame.image if frame else NOTHING
        return Analysis(image, picture.size, self._detector, verdicts, stages, self._left_out)

    def _time(self) -> float:
        """Return the time in seconds; a film sent faster than it was filmed keeps its own time."""
        clock = self._clock()
        self._now += max(clock - self._clocked, TICK_S)
        self._clocked = clock
        return self._now

    def _may_skip(self, now: float) -> bool:
        """Tell whether a look can wait for the next frame."""
        since = now - self._looked
        least = SLOW if since <= FAST_S else STILL
        return since <= SKIP_S and all(
            track.overlap >= least and not track.new(now) for track in self._tracks if track.visible
        )

    def _side(self, size: tuple[int, int]) -> int:
        """Return the size of the next look."""
        if self._detector != "facemask":
            return ENOUGH_TO_SEARCH
        wanted = [
            (ENOUGH_IF_KNOWN if track.known else ENOUGH) / track.face.box.short_side
            for track in self._tracks
            if track.visible
        ]
        if not wanted or self._looks % WIDE == 0:
            return SIZES[-1]
        least = max(wanted) * max(size)
        return next((side for side in SIZES if side >= least), SIZES[-1])

    def _locate(self, pipeline: MaskPipeline, frame: Frame, side: int, now: float) -> None:
        """Find the faces and match them with the tracks."""
        self._looked, self._looks = now, self._looks + 1
        image, least = frame.image, self._min_confidence
        known = [
            track.face.scaled(1 / frame.scale, frame.size).box
            for track in self._tracks
            if track.visible and track.state == "confirmed"
        ]
        found = pipeline.find(image, self._detector, min(FAINT, least), side, known)
        # The limit counts people: a face that is followed is not left out for a larger new one.
        selected = [f for f in found if self._selection.takes(f.box, image, frame.scale)]
        confident = sum(face.confidence >= least for face in found)
        faces = [face.scaled(frame.scale, frame.size) for face in selected]
        trusted = [face for face in faces if face.confidence >= least]
        faint = [face for face in faces if face.confidence < least]
        self._left_out = confident - len(trusted)
        pairs, new = matched(self._tracks, trusted)
        taken = {track.id for track, _ in pairs}
        rest = [t for t in self._tracks if t.visible and t.id not in taken]
        continued, _ = matched([t for t in rest if now - t.trusted <= FAINT_S], faint)
        for track in self._tracks:
            track.misses, track.overlap = track.misses + 1, 0.0
        for track, face in pairs + continued:
            if track.misses > MOST_MISSES + 1:
                track.evidence.doubt()
            track.overlap = track.face.box.iou(face.box)
            smooth = track.shown.iou(face.box) >= SMOOTH
            track.shown = middle(track.shown, face.box) if smooth else face.box
            track.face, track.seen, track.misses = face, now, 0
            track.sightings += face.confidence >= self._certain
        for track, _ in pairs:
            track.trusted = now
        self._start(pipeline, new, now)

    def _start(self, pipeline: MaskPipeline, faces: list[Face], now: float) -> None:
        """Start tracks for new faces as far as there are places, and end old tracks."""
        tracks = [t for t in self._tracks if t.visible or now - t.seen <= KEEP_S]
        places = max(self._selection.most - sum(track.visible for track in tracks), 0)
        self._left_out += max(len(faces) - places, 0)
        for face in largest(faces, places):
            track = Track(
                self._next_id, face, face.box, Evidence(pipeline.card), now, now, now, now
            )
            track.sightings += face.confidence >= self._certain
            tracks.append(track)
            self._next_id += 1
        # Keep all visible tracks, and those that went out of sight last.
        tracks.sort(key=lambda track: (track.visible, track.seen), reverse=True)
        self._tracks = sorted(tracks[: self._selection.most], key=lambda track: track.id)

    def _judge(self, pipeline: MaskPipeline, picture: Picture, frame: Frame, now: float) -> None:
        """Weigh the detector's verdict where it is sure, and else the crop network's.

        If more faces are due than MOST_LOOKS, those classified longest ago come first.
        """
        due = []
        for track in self._tracks:
            if track.trusted < now:
                continue
            mask = verdict_of(track.face)
            if now - track.looked >= pause_s(track, mask):
                due.append(track)
            elif track.fit and mask is not None and track.evidence.agrees(mask):
                self._weigh(track, mask, now, fit=True)
                track.stage = DETECTOR
        due.sort(key=lambda track: track.looked)
        due = due[:MOST_LOOKS]
        faces = [track.face.scaled(1 / frame.scale, frame.size) for track in due]
        image = frame.image
        if frame.scale > 1 and any(pipeline.needs_detail(face) for face in faces):
            image = picture.decode().image
            faces = [track.face for track in due]
        for track, verdict in zip(due, pipeline.judge(image, faces), strict=True):
            track.looked, track.stage = now, verdict.stage
            self._weigh(track, verdict.mask, now, fit=verdict.fit)

    def _weigh(self, track: Track, mask: float, now: float, *, fit: bool) -> None:
        """Add a look to a track's evidence.

        The evidence fades if the face could not be classified; or if a person is not seen for
        certain, as when turning away, and the look contradicts the evidence.
        """
        certain = track.face.confidence >= self._certain or track.state == "tentative"
        if fit and (certain or track.evidence.agrees(mask)):
            track.evidence.add(mask, now - track.weighed)
        else:
            track.evidence.fade(now - track.weighed)
        track.fit, track.weighed = fit, now


def middle(a: Box, b: Box) -> Box:
    """Return the mean of two boxes."""
    left, top = (a.x + b.x) // 2, (a.y + b.y) // 2
    return Box(left, top, (a.width + b.width) // 2, (a.height + b.height) // 2)


def verdict_of(face: Face) -> float | None:
    """Return the detector's probability of a worn mask; None if it is not sure, or gives none."""
    if face.states is None or SURE > face.states[0] > 1 - SURE:
        return None
    return face.states[0]


def pause_s(track: Track, mask: float | None) -> float:
    """Return the seconds between two classifications of a face by the crop networks."""
    if track.evidence.fresh and track.fit:
        return 0.0
    if not track.evidence.settled:
        return DISPUTED_S
    if mask is None:
        return UNSURE_S
    return AGREED_S if track.evidence.agrees(mask) else DISPUTED_S


def matched(
    tracks: Iterable[Track], faces: list[Face]
) -> tuple[list[tuple[Track, Face]], list[Face]]:
    """Pair tracks with faces, visible tracks and the best distance-IoU first.

    Returns the pairs and the unmatched faces.
    """
    tracks, left = list(tracks), dict(enumerate(faces))
    scores = distance_iou([t.face.box for t in tracks], [face.box for face in faces])
    rows, columns = np.nonzero(scores >= SAME_FACE)
    hidden = np.array([not track.visible for track in tracks], bool)
    order = np.lexsort((-scores[rows, columns], hidden[rows]))
    pairs: dict[int, tuple[Track, Face]] = {}
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column in left:
            pairs[row] = tracks[row], left.pop(column)
    return list(pairs.values()), list(left.values())


def distance_iou(some: Sequence[Box], others: Sequence[Box]) -> npt.NDArray[np.float64]:
    """Return the distance-IoU of each of some boxes with each of the others: (some, others).

    It is the IoU minus (distance of the centres / diagonal of the enclosing box) squared.
    """
    a, b = (
        np.array([[x.x, x.y, x.x + x.width, x.y + x.height] for x in boxes], float).reshape(-1, 4)
        for boxes in (some, others)
    )
    a = a[:, np.newaxis]
    inner = np.minimum(a[..., 2:], b[:, 2:]) - np.maximum(a[..., :2], b[:, :2])
    outer = np.maximum(a[..., 2:], b[:, 2:]) - np.minimum(a[..., :2], b[:, :2])
    shared = inner.clip(0).prod(axis=2)
    union = sum((x[..., 2:] - x[..., :2]).prod(axis=-1) for x in (a, b)) - shared
    gaps = ((a[..., :2] + a[..., 2:] - b[:, :2] - b[:, 2:]) / 2) ** 2
    scores: npt.NDArray[np.float64] = shared / union - gaps.sum(axis=2) / (outer**2).sum(axis=2)
    return scores
