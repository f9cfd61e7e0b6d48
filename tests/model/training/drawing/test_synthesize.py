"""Synthesis draws masks and things that are no masks, and makes a data set of them."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.detectors.faces import Face
from model.detectors.yunet import YuNet
from model.images import Box, Image
from model.training.data import dataset
from model.training.drawing import synthesize
from model.training.drawing.fabrics import PATTERNS
from model.training.drawing.masks import SHAPES, WAYS
from model.training.drawing.poses import pose_of
from model.training.drawing.synthesize import (
    COLOURS,
    KINDS,
    Worn,
    occlude,
    synthesize_any_mask,
    synthesize_mask,
)
from tests.conftest import ROOT

# The five landmarks, the middle of the mouth, and the chin.
COVERED = {
    "right": [False, False, True, True, True, True, True],
    "under_nose": [False, False, False, True, True, True, True],
    "chin": [False, False, False, False, False, False, True],
    "eyes": [True, True, False, False, False, False, False],
}
NOWHERE_NEAR_THE_NOSE = {"scarf", "beard", "cup", "bottle", "paper"}


@pytest.fixture(scope="session")
def face(portrait: Image) -> Face:
    return YuNet(glance=False).detect(portrait, 0.6)[0]


def spots(face: Face) -> list[tuple[int, int]]:
    assert face.landmarks is not None
    mouth = face.landmarks[3:].mean(axis=0)
    chin = mouth + 0.65 * (mouth - face.landmarks[:2].mean(axis=0))
    return [(round(float(x)), round(float(y))) for x, y in [*face.landmarks, mouth, chin]]


def covered(before: Image, after: Image, face: Face) -> list[bool]:
    """Tell for each spot whether something was drawn there; a mask's shadow does not count."""
    change = np.abs(after.astype(int) - before).max(axis=2)
    return [bool(np.median(change[y - 2 : y + 3, x - 2 : x + 3]) > 32) for x, y in spots(face)]


def made(kind: str, image: Image, face: Face, seed: int) -> Image:
    return KINDS[kind].draw(image, face, np.random.default_rng(seed))


def larger(image: Image, face: Face, scale: float) -> tuple[Image, Face]:
    assert face.landmarks is not None
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    resized = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    x, y, w, h = (
        round(v * scale) for v in (face.box.x, face.box.y, face.box.width, face.box.height)
    )
    return resized, Face(Box(x, y, w, h), 0.9, face.landmarks * np.float32(scale))


@pytest.mark.parametrize("worn", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_covers_what_its_way_of_wearing_says(
    portrait: Image, face: Face, shape: str, worn: Worn
) -> None:
    for seed in range(10):
        random = np.random.default_rng(seed)
        masked = synthesize_mask(
            portrait, face, (40, 120, 60), worn=worn, shape=shape, random=random
        )
        assert covered(portrait, masked, face) == COVERED[worn], f"seed {seed}"


@pytest.mark.parametrize("kind", synthesize.OCCLUDERS)
def test_what_is_no_mask_leaves_the_eyes_and_is_labelled_so(
    portrait: Image, face: Face, kind: str
) -> None:
    assert dataset.CLASSES[KINDS[kind].cls] == "no_mask"
    for seed in range(20):
        after = occlude(portrait, face, np.random.default_rng(seed), kind)
        assert (after != portrait).any(axis=2).sum() > 0.05 * face.box.width * face.box.height
        right_eye, left_eye, nose, *_ = covered(portrait, after, face)
        assert not right_eye, f"seed {seed}"
        assert not left_eye, f"seed {seed}"
        assert not (nose and kind in NOWHERE_NEAR_THE_NOSE), f"seed {seed}"


def test_a_mask_not_worn_right_is_labelled_no_mask() -> None:
    labels = {kind: dataset.CLASSES[made.cls] for kind, made in KINDS.items()}
    assert [kind for kind, label in labels.items() if label == "mask"] == ["mask"]
    assert {"plain", "under_nose", "chin", "eyes", *synthesize.OCCLUDERS} < labels.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_stays_and_a_seed_gives_the_same_again(
    portrait: Image, face: Face, kind: str
) -> None:
    before = portrait.copy()
    first, again, other = (made(kind, portrait, face, seed) for seed in (3, 3, 4))
    assert np.array_equal(portrait, before)
    assert np.array_equal(first, again)
    assert kind == "plain" or not np.array_equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_that_is_mirrored_and_read_only_is_taken(
    portrait: Image, face: Face, kind: str
) -> None:
    backwards = np.ascontiguousarray(portrait[:, ::-1])[:, ::-1]
    backwards.flags.writeable = False
    after = made(kind, backwards, face, 2)
    assert np.array_equal(after, made(kind, portrait, face, 2))
    assert after.flags.writeable or kind == "plain"


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_face_s_neighbourhood_changes(portrait: Image, face: Face, kind: str) -> None:
    frame = np.tile(portrait, (2, 2, 1))
    for seed in range(5):
        rows, columns = np.nonzero((made(kind, frame, face, seed) != frame).any(axis=2))
        box = face.box
        assert kind == "plain" or len(rows)
        assert (rows > box.y).all()
        assert (rows < box.y + 2.5 * box.height).all()
        assert (columns > box.x - 1.2 * box.width).all()
        assert (columns < box.x + 2.2 * box.width).all()


def test_the_cloth_takes_the_light_of_the_picture(portrait: Image, face: Face) -> None:
    dark = (portrait * 0.35).astype(np.uint8)
    x, y = spots(face)[5]
    here = np.s_[y - 3 : y + 4, x - 3 : x + 4]
    bright = synthesize_mask(portrait, face, COLOURS["white"])[here].mean()
    assert synthesize_mask(dark, face, COLOURS["white"])[here].mean() < 0.65 * bright
    half = portrait.copy()
    half[:, : spots(face)[2][0]] //= 3
    lit = synthesize_mask(half, face, COLOURS["white"])
    (left, row), (right, _) = spots(face)[3:5]
    assert lit[row, left].mean() < 0.9 * lit[row, right].mean()


def test_a_picture_without_colours_stays_without(portrait: Image, face: Face) -> None:
    grey = np.repeat(portrait[..., 1:2], 3, axis=2)
    assert np.ptp(synthesize_mask(grey, face, COLOURS["red"]), axis=2).max() == 0


def test_the_mask_turns_with_the_head(portrait: Image, face: Face) -> None:
    assert face.landmarks is not None
    blank = np.full_like(portrait, 200)
    middle = float(face.landmarks[:2, 0].mean())
    reach = []
    for shift in (-20, 0, 20):
        turned = face.landmarks.copy()
        turned[2, 0] = middle + shift
        masked = synthesize_mask(blank, Face(face.box, 0.9, turned), COLOURS["black"])
        columns = np.nonzero((masked < 100).all(axis=2).sum(axis=0) > 20)[0]
        reach.append((middle - columns.min(), columns.max() - middle))
    (left_l, left_r), (front_l, front_r), (right_l, right_r) = reach
    assert abs(front_l - front_r) < 6
    # The half of the face that turns away gets narrower, the other half wider.
    assert left_r - left_l > 8
    assert right_l - right_r > 8


@pytest.mark.parametrize("worn", WAYS)
@pytest.mark.parametrize("shift", [-40, -25, -10, 10, 25, 40])
def test_a_turned_nose_is_covered_as_a_straight_one(
    portrait: Image, face: Face, shift: int, worn: Worn
) -> None:
    assert face.landmarks is not None
    landmarks = face.landmarks.copy()
    landmarks[2, 0] += shift
    turned = Face(face.box, 0.9, landmarks)
    for shape in SHAPES:
        masked = synthesize_mask(portrait, turned, (40, 120, 60), worn=worn, shape=shape)
        _, _, nose, *_, mouth, _ = covered(portrait, masked, turned)
        assert nose == (worn == "right")
        assert mouth == (worn in {"right", "under_nose"})


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_on_the_mask(portrait: Image, face: Face, pattern: str) -> None:
    wall, close = larger(portrait, face, 2)
    wall[:] = (190, 180, 165)
    for seed in range(3):
        masked = synthesize_mask(
            wall,
            close,
            (180, 20, 20),
            second=(20, 20, 180),
            pattern=pattern,
            random=np.random.default_rng(seed),
        ).astype(int)
        red, blue = ((masked[..., a] - masked[..., 2 - a] > 50).sum() for a in (0, 2))
        assert red > 100
        assert (blue > 20) == (pattern != "plain")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_has_both_colours(pattern: str) -> None:
    u = np.linspace(-1.5, 1.5, 200, dtype=np.float32)[None]
    v = np.linspace(0.3, 1.9, 120, dtype=np.float32)[:, None]
    for seed in range(5):
        share = PATTERNS[pattern](u, v, np.random.default_rng(seed))
        assert share.shape == (120, 200)
        assert share.min() == pytest.approx(0, abs=0.15)
        assert share.max() == (0 if pattern == "plain" else pytest.approx(1, abs=0.15))


def test_a_tiny_face_gets_its_mask(portrait: Image, face: Face) -> None:
    image, small = larger(portrait, face, 20 / face.box.height)
    masked = synthesize_mask(image, small, COLOURS["black"]).astype(int)
    places = spots(small)
    assert masked[places[5][1], places[5][0]].mean() < 90
    for x, y in places[:2]:
        assert np.abs(masked[y, x] - image[y, x]).max() < 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.18, 1.0])
@pytest.mark.parametrize(
    "window",
    [
        (60, 130, 0, 512),
        (110, 512, 0, 512),
        (0, 512, 225, 512),
        (0, 512, 0, 225),
        (100, 101, 200, 201),
    ],
)
def test_a_face_at_the_edge_is_drawn_on(
    portrait: Image, face: Face, kind: str, scale: float, window: tuple[int, int, int, int]
) -> None:
    image, whole = larger(portrait, face, scale)
    y0, y1, x0, x1 = (round(v * scale) for v in window)
    part = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    assert whole.landmarks is not None
    box = Box.within(
        part,
        whole.box.x - x0,
        whole.box.y - y0,
        whole.box.x + whole.box.width - x0,
        whole.box.y + whole.box.height - y0,
    )
    moved = (whole.landmarks - (x0, y0)).astype(np.float32)
    after = made(kind, part, Face(box, 0.9, moved), 1)
    assert after.shape == part.shape
    assert after.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "landmarks",
    [
        [(50, 50)] * 5,
        [(50, 30), (50, 30), (70, 45), (52, 60), (52, 60)],  # a profile
        [(40, 40), (50, 40), (60, 40), (70, 40), (80, 40)],
        [(50, 10), (50, 30), (50, 50), (50, 70), (50, 90)],
        [(70, 70), (30, 70), (50, 50), (65, 30), (35, 30)],  # upside down
        [(-1e30, 1e30), (1e30, -1e30), (0, 0), (3e38, 3e38), (-3e38, -3e38)],
        [(1000, 1000)] * 5,
    ],
)
def test_any_landmarks_are_taken(
    kind: str, landmarks: list[tuple[float, float]], portrait: Image
) -> None:
    points = np.array(landmarks, np.float32)
    for box in (Box(20, 10, 60, 80), Box(0, 0, 0, 0), Box(0, 0, 512, 512)):
        assert made(kind, portrait, Face(box, 0.9, points), 1).shape == portrait.shape


def test_random_landmarks_are_taken() -> None:
    random = np.random.default_rng(5)
    kinds = list(KINDS)
    for number in range(300):
        height, width = (int(v) for v in random.integers(1, 160, 2))
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        x, y = (int(v) for v in random.integers(0, 100, 2))
        box = Box(x, y, *(int(v) for v in random.integers(0, 120, 2)))
        points = random.normal(60, 10 ** random.uniform(-1, 3), (5, 2)).astype(np.float32)
        after = made(kinds[number % len(kinds)], image, Face(box, 0.9, points), number)
        assert after.shape == image.shape


def test_a_profile_keeps_its_size(face: Face) -> None:
    assert face.landmarks is not None
    profile = face.landmarks.copy()
    profile[:2, 0] = profile[:2, 0].mean()
    profile[3:, 0] = profile[3:, 0].mean()
    profile[2, 0] += 25
    assert pose_of(Face(face.box, 0.9, profile)).span == pytest.approx(pose_of(face).span, rel=0.2)


@pytest.mark.parametrize("draw", [synthesize_any_mask, occlude])
def test_a_face_without_landmarks_is_refused(portrait: Image, draw: synthesize.Draw) -> None:
    with pytest.raises(ValueError, match="yunet"):
        draw(portrait, Face(Box(170, 60, 100, 120), 0.9), np.random.default_rng(1))


@pytest.fixture
def faces(tmp_path: Path, portrait: Image) -> Path:
    folder = tmp_path / "faces"
    (folder / "people").mkdir(parents=True)
    bgr = cv2.cvtColor(portrait[:260], cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "a.png"), bgr)
    cv2.imwrite(str(folder / "a.jpg"), bgr)
    cv2.imwrite(str(folder / "people" / "a.png"), bgr)
    cv2.imwrite(str(folder / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    (folder / "broken.jpg").write_bytes(b"broken")
    return folder


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "model.training.drawing.synthesize", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_folder_of_faces_becomes_a_balanced_data_set(tmp_path: Path, faces: Path) -> None:
    output = tmp_path / "made"
    process = run("--input", faces, "--output", output, "--per-face", 10)
    assert process.returncode == 0, process.stderr
    said = " ".join(process.stdout.split())
    assert "wall.png: no face" in said
    assert "broken.jpg" in said
    samples = dataset.read(output)
    counts = Counter(sample.cls for sample in samples)
    assert counts["with_mask"] == 30
    assert counts["without_mask"] + counts["incorrect_mask"] == 30
    for cls in dataset.CLASSES:
        assert f"{counts[cls]} {cls}" in said
    kinds = Counter(Path(sample.path).stem.split("_", 3)[3] for sample in samples)
    assert kinds["plain"] == pytest.approx(9, abs=2)
    assert kinds.keys() == KINDS.keys()
    montage = cv2.imread(str(output / "montage.jpg"))
    assert montage is not None
    assert montage.shape == (160 * len(KINDS), 150 + 6 * 160, 3)
    # Each row has a text and at least one face.
    for row in np.split(montage, len(KINDS)):
        assert row[:, :150].min() < 60
        assert row[:, 150:310].std() > 20


def test_the_seed_decides_about_the_data_set(tmp_path: Path, faces: Path) -> None:
    written = {}
    for name, seed in (("one", 1), ("same", 1), ("two", 2)):
        assert run("--input", faces, "--output", tmp_path / name, "--seed", seed).returncode == 0
        folder = tmp_path / name
        written[name] = {
            file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.jpg")
        }
    assert written["one"] == written["same"]
    assert written["one"] != written["two"]


@pytest.fixture
def crowd(tmp_path: Path, portrait: Image, masked_portrait: Image) -> Path:
    """A data set: each split has two unmasked faces on either side of a masked one, and a wall."""
    folder = tmp_path / "crowd"
    folder.mkdir()
    people = [person[:250, 160:290] for person in (portrait, masked_portrait, portrait)]
    scene = np.hstack(people)
    boxes = [
        {"xyxy": [130 * i + 18, 70, 130 * i + 110, 178], "cls": cls, "origin": "gt"}
        for i, cls in enumerate(("without_mask", "with_mask", "without_mask"))
    ]
    wall = {"xyxy": [10, 10, 90, 90], "cls": "without_mask", "origin": "gt"}
    rows = []
    for part, shade in (("train", 0), ("val", 1)):
        cv2.imwrite(str(folder / f"{part}.png"), cv2.cvtColor(scene, cv2.COLOR_RGB2BGR) - shade)
        cv2.imwrite(str(folder / f"wall_{part}.png"), np.full((100, 100, 3), 128, np.uint8))
        for name, found in ((part, boxes), (f"wall_{part}", [wall])):
            rows.append({"image": f"{name}.png", "group": name, "split": part, "boxes": found})
    (folder / "annotations.json").write_text(json.dumps(rows))
    return folder


@pytest.mark.parametrize("split", ["train", "val", "all"])
def test_of_a_data_set_each_unmasked_face_of_a_split_is_cut_out(
    tmp_path: Path, crowd: Path, split: str
) -> None:
    output, parts = tmp_path / "made", ["train", "val"] if split == "all" else [split]
    process = run("--input", crowd, "--output", output, "--split", split, "--per-face", 1)
    assert process.returncode == 0, process.stderr
    files = sorted(output.glob("*/*.jpg"))
    assert len(files) == 4 * len(parts)
    assert len({file.name for file in files}) == len(files)
    assert {file.stem.split("_")[1] for file in files} == set(parts)
    said = "".join(process.stdout.split())
    for part in parts:
        assert f"Skippedafacein{crowd}/wall_{part}.png:notfound,orotherfacesaretooclose" in said
    for file in files:
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        (face,) = YuNet(glance=False).detect(image, dataset.TRAIN_DETECTION_CONFIDENCE)
        assert face.box.width > 75
        assert 140 < image.shape[1] <= 150  # from the picture's edge to the neighbour
        assert 108 * 1.6 < image.shape[0] < 108 * 2.2 + 2


@pytest.mark.parametrize("given", ["crowd", "crowd/annotations.json"])
def test_a_data_set_is_left_as_it_is(tmp_path: Path, crowd: Path, given: str) -> None:
    before = sorted(crowd.rglob("*"))
    process = run("--input", tmp_path / given, "--output", crowd / "made")
    assert process.returncode == 1
    assert "so the next run would read it as input" in process.stderr
    assert sorted(crowd.rglob("*")) == before


def test_hugging_people_are_kept_apart(tmp_path: Path, crowd: Path) -> None:
    """Where boxes overlap, the whole face is kept, and as little as possible of the other."""
    file = crowd / "annotations.json"
    rows = json.loads(file.read_text())
    rows[0]["boxes"][1]["xyxy"][0] = 100
    file.write_text(json.dumps(rows[:1]))
    process = run("--input", crowd, "--output", tmp_path / "made", "--per-face", 1)
    assert process.returncode == 0, process.stderr
    left = cv2.imread(str(next((tmp_path / "made" / "with_mask").glob("00000_*"))))
    assert left is not None
    assert left.shape[1] == 110


def test_an_unlabelled_face_in_the_background_is_left_outside(
    tmp_path: Path, portrait: Image
) -> None:
    scene = np.full((2000, 2000, 3), 128, np.uint8)  # too large to be found at first
    scene[:250, 150:300] = portrait[:250, 150:300]
    scene[20:56, 300:332] = cv2.resize(portrait[40:210, 150:300], (32, 36))
    (tmp_path / "set").mkdir()
    cv2.imwrite(str(tmp_path / "set" / "a.png"), cv2.cvtColor(scene, cv2.COLOR_RGB2BGR))
    box = {"xyxy": [178, 70, 270, 178], "cls": "without_mask", "origin": "gt"}
    row = {"image": "a.png", "group": "a", "split": "val", "boxes": [box]}
    (tmp_path / "set" / "annotations.json").write_text(json.dumps([row]))
    process = run("--input", tmp_path / "set", "--output", tmp_path / "made")
    assert process.returncode == 0, process.stderr
    for file in (tmp_path / "made").glob("*/*.jpg"):
        assert cv2.imread(str(file)).shape[1] == pytest.approx(92 * 1.6, abs=2)


def test_of_class_folders_the_largest_face_of_a_picture_is_cut_out(
    tmp_path: Path, portrait: Image, masked_portrait: Image
) -> None:
    small = cv2.resize(portrait[:256, 128:384], (128, 128), interpolation=cv2.INTER_AREA)
    scene = np.hstack([cv2.copyMakeBorder(small, 0, 128, 0, 0, 1), portrait[:256, 100:340]])
    for cls, image in (("without_mask", scene), ("with_mask", masked_portrait)):
        (tmp_path / "set" / cls).mkdir(parents=True)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(tmp_path / "set" / cls / "a.png"), bgr)
    process = run("--input", tmp_path / "set", "--output", tmp_path / "made")
    assert process.returncode == 0, process.stderr
    samples = dataset.read(tmp_path / "made")
    assert len(samples) == 4
    for sample in samples:
        image = cv2.cvtColor(cv2.imread(sample.path), cv2.COLOR_BGR2RGB)
        (face,) = YuNet(glance=False).detect(image, dataset.TRAIN_DETECTION_CONFIDENCE)
        assert face.box.width > 75


def test_a_split_without_an_unmasked_face_is_reported(tmp_path: Path, crowd: Path) -> None:
    rows = json.loads((crowd / "annotations.json").read_text())
    (crowd / "annotations.json").write_text(json.dumps(rows[:2]))
    process = run("--input", crowd, "--output", tmp_path / "made", "--split", "val")
    assert process.returncode == 1
    assert f"{crowd} has no face without a mask in 'val'" in process.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("faces")
def test_what_cannot_be_done_is_reported(tmp_path: Path) -> None:
    (tmp_path / "full" / "with_mask").mkdir(parents=True)
    (tmp_path / "full" / "with_mask" / "a.jpg").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for source, output, more, message in (
        ("nothing", "made", [], "is not a folder"),
        ("empty", "made", [], "Found no picture with a face"),
        ("faces", "full", [], "already contains pictures"),
        ("faces", "faces/made", [], "so the next run would read it as input"),
        ("faces", "file", [], "cannot be created"),
        ("faces", "made", ["--per-face", "0"], "must be at least 1"),
        ("faces", "made", ["--per-face", "many"], "invalid"),
        ("faces", "made", ["--seed", "-1"], "--seed"),
        ("faces", "made", ["--split", "val"], "faces is not a data set, so it has no split 'val'"),
        ("faces", "made", ["--split", "some"], "invalid choice"),
    ):
        process = run("--input", tmp_path / source, "--output", tmp_path / output, *more)
        assert process.returncode in {1, 2}
        assert message in process.stderr
        assert "Traceback" not in process.stderr


def test_an_interruption_leaves_a_balanced_set_and_a_sentence(
    tmp_path: Path,
    faces: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = synthesize.portraits

    def interrupted(folder: Path, split: str) -> Iterator[tuple[str, Image, list[Face]]]:
        yield next(pictures(folder, split))
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesize, "portraits", interrupted)
    arguments = ["synthesize", "--input", str(faces), "--output", str(tmp_path / "made")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        synthesize.main()
    assert end.value.code == 130
    assert "Interrupted" in capsys.readouterr().err
    counts = Counter(sample.label for sample in dataset.read(tmp_path / "made"))
    assert set(counts.values()) == {2}
    assert (tmp_path / "made" / "montage.jpg").is_file()
