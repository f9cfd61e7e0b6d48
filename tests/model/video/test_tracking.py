"""People in films made from a free portrait, tracked with the real detector and model."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count, pairwise

import numpy as np
import pytest

from bench.films import WIDTH, Noise, Person, Shot, film
from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE
from model.detectors.faces import Face
from model.images import Box, Image, UndecodableImage, open_picture
from model.pipeline import Analysis, MaskPipeline, Verdict
from model.selection import ALL, Selection, Zone
from model.video.tracking import (
    FAINT_S,
    KEEP_S,
    MOST_MISSES,
    SIGHTINGS,
    SIZES,
    TrackedVerdict,
    Tracker,
    distance_iou,
)
from tests.conftest import encoded

FPS = 10
NOISE = Noise()


class Counting(MaskPipeline):
    """A pipeline that notes its looks, and counts its classifications."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.sizes: list[int | None] = []
        self.looks = 0

    def find(
        self,
        image: Image,
        detector: str,
        min_confidence: float,
        long_side: int | None = None,
        known: Sequence[Box] = (),
    ) -> list[Face]:
        self.sizes.append(long_side)
        return super().find(image, detector, min_confidence, long_side, known)

    def judge(self, image: Image, faces: Iterable[Face]) -> list[Verdict]:
        faces = list(faces)
        self.looks += len(faces)
        return super().judge(image, faces)


class Scripted(Counting):
    """A pipeline that finds what a script says, frame by frame, and believes the states."""

    script: Sequence[list[Face]] = ()

    def find(
        self,
        image: Image,
        detector: str,
        min_confidence: float,
        long_side: int | None = None,
        known: Sequence[Box] = (),
    ) -> list[Face]:
        super().find(image[:1, :1], detector, min_confidence, long_side, known)
        height, width = image.shape[:2]
        faces = [
            face.scaled(width / WIDTH, (width, height)) for face in self.script[len(self.sizes) - 1]
        ]
        return [face for face in faces if face.confidence >= min_confidence]

    def judge(self, image: Image, faces: Iterable[Face]) -> list[Verdict]:
        verdicts = super().judge(image, faces)
        return [replace(v, mask=v.face.states[0], fit=True) for v in verdicts if v.face.states]


@pytest.fixture
def pipeline() -> Counting:
    return Counting.load()  # type: ignore[return-value]


def new_tracker(
    detector: str = DEFAULT_DETECTOR, selection: Selection = ALL, fps: float = FPS
) -> Tracker:
    """Return a tracker whose clock follows the film's frames and not the machine's time."""
    ticks = count()
    return Tracker(detector, DEFAULT_MIN_CONFIDENCE, lambda: next(ticks) / fps, selection)


def followed(
    pipeline: MaskPipeline,
    shots: Iterable[Shot],
    detector: str = DEFAULT_DETECTOR,
    fps: float = FPS,
) -> list[list[TrackedVerdict]]:
    tracker = new_tracker(detector, fps=fps)
    answers = [tracker.analyse(pipeline, open_picture(shot.jpeg)) for shot in shots]
    return [tracked(answer) for answer in answers]


def scripted(script: Sequence[list[Face]]) -> tuple[list[list[TrackedVerdict]], Scripted]:
    """Return the answers to a detector that finds these faces."""
    pipeline: Scripted = Scripted.load()  # type: ignore[assignment]
    pipeline.script = script
    return followed(pipeline, film([], len(script), NOISE)), pipeline


def tracked(analysis: Analysis) -> list[TrackedVerdict]:
    return [v for v in analysis.verdicts if isinstance(v, TrackedVerdict)]


def face(confidence: float, mask: float, x: int = 200) -> Face:
    return Face(Box(x, 200, 80, 100), confidence, None, (mask, 1 - mask, 0.0))


def moving(confidence: float, mask: float, frames: int) -> list[list[Face]]:
    """Return a face that moves, so that every frame is looked at."""
    return [[face(confidence, mask, 200 + 10 * (n % 2))] for n in range(frames)]


def test_two_people_keep_their_ids_labels_and_boxes(pipeline: Counting) -> None:
    people = [
        Person((160, 200), 90, sway=30),
        Person((450, 230), 70, sway=20, masked=lambda _: True),
    ]
    shots = list(film(people, 36, NOISE))
    answers = followed(pipeline, shots)
    for shot, faces in zip(shots, answers, strict=True):
        assert sorted(face.track_id for face in faces) == [0, 1]
        for box in shot.boxes:
            assert box is not None
            assert max(face.face.box.iou(box) for face in faces) > 0.6
    for faces in answers[3:]:
        assert {face.label for face in faces} == {"mask", "no_mask"}
    assert pipeline.looks <= 36 * 2 * 0.25
    assert [face.age for face in answers[-1]] == pytest.approx([3.5, 3.5])


def test_a_person_is_confirmed_after_some_certain_sightings(pipeline: Counting) -> None:
    answers = followed(pipeline, film([Person((320, 240), 90)], 6, NOISE))
    states = [face.state for (face,) in answers]
    assert states == ["tentative"] * (SIGHTINGS - 1) + ["confirmed"] * (7 - SIGHTINGS)
    assert [face.counts for (face,) in answers] == [state == "confirmed" for state in states]


def test_what_is_never_seen_for_certain_stays_tentative() -> None:
    answers, _ = scripted(moving(0.5, 0.02, 30))
    assert {face.state for (face,) in answers} == {"tentative"}


def test_faint_detections_start_no_track_and_continue_one_for_a_second() -> None:
    assert scripted(moving(0.3, 0.5, 10))[0] == [[]] * 10
    answers, _ = scripted([*moving(0.8, 0.98, 6), *moving(0.3, 0.98, 30)])
    shown = [len(faces) for faces in answers]
    last = 6 + round(FAINT_S * FPS) + MOST_MISSES
    assert shown == [1] * last + [0] * (36 - last)


def test_a_face_that_turns_away_keeps_its_label_which_fades_but_does_not_flip() -> None:
    answers, _ = scripted([*moving(0.97, 0.98, 10), *moving(0.55, 0.02, 60)])
    labels = [face.label for (face,) in answers]
    held = labels.index("uncertain", 3)
    assert labels[2:] == ["mask"] * (held - 2) + ["uncertain"] * (70 - held)
    assert held >= 20


def test_the_crop_network_judges_new_and_disputed_faces_only() -> None:
    _, sure = scripted(moving(0.8, 0.98, 25))
    assert sure.looks == 3
    _, unsure = scripted(moving(0.8, 0.85, 25))
    assert 3 < unsure.looks <= 3 + 25 / FPS / 0.6

    class Contradicted(Scripted):
        def judge(self, image: Image, faces: Iterable[Face]) -> list[Verdict]:
            return [replace(verdict, mask=0.02) for verdict in super().judge(image, faces)]

    pipeline: Contradicted = Contradicted.load()  # type: ignore[assignment]
    pipeline.script = moving(0.8, 0.98, 25)
    answers = followed(pipeline, film([], 25, NOISE))
    assert {face.label for (face,) in answers[3:]} == {"no_mask"}
    assert sure.looks < unsure.looks < pipeline.looks <= 20


def test_a_detector_without_states_leaves_the_verdict_to_the_crop_network() -> None:
    pipeline: Counting = Counting.load()  # type: ignore[assignment]
    person = Person((320, 240), 110, sway=30)
    answers = followed(pipeline, film([person], 20, NOISE), "yunet")
    assert {(face.label, face.state) for (face,) in answers[3:]} == {("no_mask", "confirmed")}
    assert 3 < pipeline.looks < 10


def test_the_size_of_a_look_follows_the_faces(pipeline: Counting) -> None:
    followed(pipeline, film([Person((320, 240), 150, sway=60)], 24, NOISE))
    assert set(pipeline.sizes) == {SIZES[0], SIZES[-1]}
    assert pipeline.sizes.count(SIZES[-1]) <= 24 / 3
    pipeline.sizes.clear()
    followed(pipeline, film([Person((320, 240), 30, sway=10)], 12, NOISE))
    assert set(pipeline.sizes) == {SIZES[-1]}


def test_a_person_in_an_ignored_zone_is_not_shown(pipeline: Counting) -> None:
    tracker = new_tracker(selection=Selection(ignored=(Zone(0.5, 0, 0.5, 1),)))
    # From the middle to the right for half of the 37 frames, then to the left, and back.
    shots = film([Person((320, 240), 90, sway=200)], 37, NOISE)
    answers = [tracker.analyse(pipeline, open_picture(shot.jpeg)) for shot in shots]
    shown = [bool(answer.verdicts) for answer in answers]
    for answer in answers:
        for verdict in answer.verdicts:
            assert verdict.face.box.x + verdict.face.box.width / 2 < 320
    assert not any(shown[3:16])
    assert all(shown[24:35])
    assert answers[8].left_out == 1


def test_a_mask_taken_off_is_noticed_within_a_second(pipeline: Counting) -> None:
    for offset in range(3):
        person = Person((320, 240), 90, masked=lambda n, o=offset: n < 15 + o)
        answers = followed(pipeline, film([person], 28, NOISE, seed=offset))
        assert answers[14 + offset][0].label == "mask"
        assert answers[25 + offset][0].label == "no_mask"


def test_an_id_outlives_a_short_absence_but_no_long_one(pipeline: Counting) -> None:
    away = 20 + round(KEEP_S * FPS) + 10
    person = Person((320, 240), 90, present=lambda n: n < 6 or 12 <= n < 20 or n >= away)
    answers = followed(pipeline, film([person], away + 3, NOISE))
    assert [face.track_id for face in answers[5]] == [0]
    assert answers[11] == []
    assert [face.track_id for face in answers[15]] == [0]
    assert answers[away - 1] == []
    assert [face.track_id for face in answers[-1]] == [1]


def test_a_newcomer_is_seen_in_the_second_frame(pipeline: Counting) -> None:
    for arrival in (10, 11, 12):
        people = [
            Person((160, 200), 90),
            Person((450, 230), 40, present=lambda n, a=arrival: n >= a),
        ]
        answers = followed(pipeline, film(people, arrival + 2, NOISE))
        assert len(answers[arrival - 1]) == 1
        assert len(answers[-1]) == 2


def test_where_nothing_moves_every_second_frame_is_looked_at(pipeline: Counting) -> None:
    noise = Noise(grain=12, light=0.2, blur=5, quality=60)
    answers = followed(pipeline, film([], 24, noise))
    assert not any(answers)
    assert len(pipeline.sizes) == 12
    pipeline.sizes.clear()
    answers = followed(pipeline, film([Person((320, 240), 120, sway=1)], 24, NOISE))
    assert all(answers)
    assert 12 <= len(pipeline.sizes) <= 16


@pytest.mark.parametrize(("fps", "pixels", "looks"), [(30, 5, 10), (30, 24, 18), (10, 5, 18)])
def test_of_a_fast_film_every_second_frame_is_looked_at_unless_a_face_moves_fast(
    pipeline: Counting, fps: float, pixels: float, looks: int
) -> None:
    period = 1000  # so long that the face moves on evenly, by this many pixels a frame
    sway = pixels * period / (2 * np.pi)
    people = [Person((150, 240 - sway / 2), 110, sway=sway, period=period)]
    answers = followed(pipeline, film(people, 18, NOISE), fps=fps)
    assert all(answers)
    assert len(pipeline.sizes) == pytest.approx(looks, abs=3)


def test_the_box_of_a_face_that_is_still_does_not_jump(pipeline: Counting) -> None:
    answers = followed(pipeline, film([Person((320, 240), 110, sway=0)], 24, NOISE))
    assert len(set(pipeline.sizes)) > 1
    boxes = [faces[0].face.box for faces in answers[3:]]
    steps = [
        max(abs(a.x - b.x), abs(a.y - b.y), abs(a.width - b.width), abs(a.height - b.height))
        for a, b in pairwise(boxes)
    ]
    assert max(steps) <= 8


def test_what_is_no_longer_detected_is_soon_no_longer_shown() -> None:
    answers, _ = scripted([*moving(0.8, 0.98, 6), *[[]] * 8])
    assert [len(faces) for faces in answers] == [1] * (6 + MOST_MISSES) + [0] * (8 - MOST_MISSES)


def test_a_bad_frame_and_another_size_do_no_harm(pipeline: Counting, portrait_jpeg: bytes) -> None:
    tracker = new_tracker()
    (shot,) = film([Person((224, 124), 108)], 1, NOISE)
    first = tracked(tracker.analyse(pipeline, open_picture(shot.jpeg)))
    cut = open_picture(portrait_jpeg[: len(portrait_jpeg) // 2])
    with pytest.raises(UndecodableImage):
        tracker.analyse(pipeline, cut)
    second = tracked(tracker.analyse(pipeline, open_picture(portrait_jpeg)))
    assert [face.track_id for face in first + second] == [0, 0]


def test_a_missed_face_is_not_shown_in_a_frame_of_another_size(pipeline: Counting) -> None:
    """Its box would lie outside of the picture."""
    tracker = new_tracker()
    for shot in film([Person((224, 124), 108)], 4, NOISE):
        before = tracked(tracker.analyse(pipeline, open_picture(shot.jpeg)))
    assert len(before) == 1
    small = open_picture(encoded(np.zeros((9, 17, 3), np.uint8)))
    assert tracked(tracker.analyse(pipeline, small)) == []


def test_distance_iou_tells_near_from_far() -> None:
    box = Box(100, 100, 40, 40)
    beside, far = Box(140, 100, 40, 40), Box(400, 100, 40, 40)
    assert box.iou(beside) == box.iou(far) == 0
    same, near, distant = distance_iou([box], [box, beside, far])[0]
    assert (same, near) == (1, pytest.approx(-0.2))
    assert distant < -0.5
    assert distance_iou([], [box]).shape == (0, 1)
