"""People in films made from a free portrait, tracked with the real detector and model."""

from collections.abc import Iterable
from typing import Any

import pytest

from bench.films import Noise, Person, Shot, film
from bench.tracks import Counting, new_tracker
from model.detectors.faces import Face
from model.images import Box, UndecodableImage, open_picture
from model.pipeline import Analysis, MaskPipeline
from model.video.tracking import KEEP_FRAMES, MOST_MISSES, TrackedVerdict, distance_iou, iou

NOISE = Noise()


@pytest.fixture
def pipeline() -> Counting:
    return Counting.load()  # type: ignore[return-value]


def followed(pipeline: MaskPipeline, shots: Iterable[Shot]) -> list[list[TrackedVerdict]]:
    tracker = new_tracker()
    answers = [tracker.analyse(pipeline, open_picture(shot.jpeg)) for shot in shots]
    return [tracked(answer) for answer in answers]


def tracked(analysis: Analysis) -> list[TrackedVerdict]:
    return [v for v in analysis.verdicts if isinstance(v, TrackedVerdict)]


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
            assert max(iou(face.face.box, box) for face in faces) > 0.6
    for faces in answers[3:]:
        assert {face.label for face in faces} == {"mask", "no_mask"}
    assert pipeline.finds <= 36 * 0.4
    assert pipeline.looks <= 36 * 2 * 0.4
    assert [face.age for face in answers[-1]] == pytest.approx([3.5, 3.5])


def test_a_mask_taken_off_is_noticed_within_a_second(pipeline: Counting) -> None:
    for offset in range(3):
        person = Person((320, 240), 90, masked=lambda n, o=offset: n < 15 + o)
        answers = followed(pipeline, film([person], 28, NOISE, seed=offset))
        assert answers[14 + offset][0].label == "mask"
        assert answers[25 + offset][0].label == "no_mask"


def test_an_id_outlives_a_short_absence_but_no_long_one(pipeline: Counting) -> None:
    away = 20 + KEEP_FRAMES + 10
    person = Person((320, 240), 90, present=lambda n: n < 6 or 12 <= n < 20 or n >= away)
    answers = followed(pipeline, film([person], away + 3, NOISE))
    assert [face.track_id for face in answers[5]] == [0]
    assert answers[11] == []
    assert [face.track_id for face in answers[15]] == [0]
    assert answers[away - 1] == []
    assert [face.track_id for face in answers[-1]] == [1]


def test_a_newcomer_is_seen_in_the_first_frame(pipeline: Counting) -> None:
    for arrival in (10, 11, 12):  # two of them without the detector
        people = [
            Person((160, 200), 90),
            Person((450, 230), 40, present=lambda n, a=arrival: n >= a),
        ]
        answers = followed(pipeline, film(people, arrival + 1, NOISE))
        assert [len(faces) for faces in answers[arrival - 2 :]] == [1, 1, 2]
    assert pipeline.finds < 18


def test_an_empty_room_costs_few_detections_whatever_its_light(pipeline: Counting) -> None:
    noise = Noise(grain=12, light=0.2, blur=5, quality=60)
    answers = followed(pipeline, film([], 24, noise))
    assert not any(answers)
    assert pipeline.finds == 6


def test_what_is_no_longer_detected_is_soon_no_longer_shown() -> None:
    """The detector is replaced by one that finds nothing: flow alone must not keep a face."""

    class Blind(MaskPipeline):
        finds = 0

        def find(self, *args: Any) -> list[Face]:
            self.finds += 1
            return super().find(*args) if self.finds <= 2 else []

    answers = followed(Blind.load(), film([Person((320, 240), 90)], 14, NOISE))
    assert [len(faces) for faces in answers] == [1] * (8 + MOST_MISSES) + [0] * (6 - MOST_MISSES)


def test_a_bad_frame_and_another_size_do_no_harm(pipeline: Counting, portrait_jpeg: bytes) -> None:
    tracker = new_tracker()
    (shot,) = film([Person((224, 124), 108)], 1, NOISE)
    first = tracked(tracker.analyse(pipeline, open_picture(shot.jpeg)))
    cut = open_picture(portrait_jpeg[: len(portrait_jpeg) // 2])
    with pytest.raises(UndecodableImage):
        tracker.analyse(pipeline, cut)
    second = tracked(tracker.analyse(pipeline, open_picture(portrait_jpeg)))
    assert [face.track_id for face in first + second] == [0, 0]


def test_distance_iou_tells_near_from_far() -> None:
    box = Box(100, 100, 40, 40)
    assert distance_iou(box, box) == 1
    beside, far = Box(140, 100, 40, 40), Box(400, 100, 40, 40)
    assert iou(box, beside) == iou(box, far) == 0
    assert distance_iou(box, beside) == pytest.approx(-0.2)
    assert distance_iou(box, far) < -0.5
