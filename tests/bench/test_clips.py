"""The judgement of clips, by answers made up for a person who is known to be there."""

from bench.clips import NO_PERSON, POSTER, UNCOUNTED, Person, Seen, Truth, total, truths
from model.choices import Label
from model.detectors.faces import Face
from model.images import Box
from model.video.tracking import State, TrackedVerdict

FPS = 10
HERE, THERE = Box(100, 100, 50, 60), Box(400, 100, 50, 60)
PERSON = Person("she", [(0, False), (20, True)], [[(0, 100, 100, 50, 60), (40, 100, 100, 50, 60)]])


def verdict(box: Box, label: Label, number: int = 0, state: State = "confirmed") -> TrackedVerdict:
    return TrackedVerdict(
        face=Face(box, 0.9),
        label=label,
        mask=0.5,
        fit=True,
        stage="",
        incorrectly_worn=None,
        track_id=number,
        age=0.0,
        state=state,
    )


def seen(truth: Truth, *answers: list[TrackedVerdict]) -> dict:
    """Return the figures of these answers to successive frames."""
    counts = Seen(truth, FPS, every=1)
    for number, answer in enumerate(answers):
        counts.add(number, number, answer, list(answer))
    return {"known": True, "frames": len(answers)} | counts.figures()


def test_a_person_is_found_and_its_changes_are_timed() -> None:
    bare, worn = verdict(HERE, "no_mask"), verdict(HERE, "mask")
    found = seen(Truth([PERSON]), *[[]] * 3, *[[bare]] * 22, *[[worn]] * 15)
    assert (found["found"], found["persons"], found["ids"]) == (1, 1, [1])
    assert found["shown"] == [37, 37]
    assert found["first_s"] == [0.3]
    assert found["worn_s"] == [0.5]  # five answers after she put it on
    assert found["alarms"] == {"true": 1, "of": 1, "false": 0, "pictures": 0}
    assert total([found])["found"] == 1


def test_alarms_about_no_one_and_about_a_mask_are_false_and_those_on_a_poster_apart() -> None:
    poster = [["a poster", 0, 40, 380, 80, 100, 100]]
    for truth, false, pictures in (
        (Truth([PERSON]), 1, 0),
        (Truth([PERSON], pictures=poster), 0, 1),
        (Truth([PERSON], aside=poster), 0, 0),
    ):
        counted = seen(truth, *[[verdict(THERE, "no_mask")]] * 5)["alarms"]
        assert (counted["false"], counted["pictures"]) == (false, pictures)
    assert seen(Truth([PERSON]), *[[verdict(THERE, "no_mask")]] * 4)["alarms"]["false"] == 0
    tentative = [verdict(THERE, "no_mask", state="tentative")]
    assert seen(Truth([PERSON]), *[tentative] * 9)["alarms"]["false"] == 0
    late = [verdict(HERE, "no_mask")]  # more than a second after she put a mask on
    assert seen(Truth([PERSON]), *[[]] * 31, *[late] * 5)["alarms"]["false"] == 1


def test_ids_and_changes_of_a_person_who_changes_nothing_are_counted() -> None:
    still = Truth([Person("he", [(0, True)], PERSON.seen)])
    labels: list[Label] = ["uncertain", "mask", "uncertain", "mask", "no_mask", "mask"]
    found = seen(still, *([verdict(HERE, label, n // 3)] for n, label in enumerate(labels)))
    assert (found["ids"], found["changes"]) == ([2], 4)
    assert found["minutes"] == 6 / FPS / 60


def test_a_face_is_the_persons_whom_it_covers() -> None:
    truth = Truth([PERSON], [["crowd", 0, 9, 390, 90, 100, 100]])
    assert truth.whose([Box(104, 96, 56, 60), THERE, Box(100, 100, 300, 300)], 5) == [
        *(0, UNCOUNTED, NO_PERSON)
    ]
    assert truth.whose([THERE], 20) == [NO_PERSON]
    assert Truth([], [], [["poster", 0, 9, 390, 90, 99, 99]]).whose([THERE], 5) == [POSTER]


def test_what_is_written_down_about_the_clips_is_whole() -> None:
    for name, truth in truths().items():
        for person in truth.persons:
            assert person.mask[0][0] == 0, (name, person.who)
            for keys in person.seen:
                frames = [key[0] for key in keys]
                assert frames == sorted(set(frames)), (name, person.who)
                assert person.box(frames[0]) is not None
