"""Pascal VOC and YOLO folders are read like the project's own data sets."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from model.training.data import dataset
from model.training.data.dataset import DatasetError, Sample
from model.training.data.formats import ALIASES

Box = tuple[float, float, float, float]
BOX = (10, 20, 40, 60)
LABEL = "0.25 0.4 0.3 0.4"  # the same box in a picture of 100 x 100 pixels


def picture(file: Path, grey: int = 128) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((100, 100, 3), grey, np.uint8))
    return file


def xml(filename: str, *faces: tuple[str, Box]) -> str:
    objects = ""
    for name, (left, top, right, bottom) in faces:
        objects += (
            f"<object><name>{name}</name><part><name>nose</name></part><bndbox>"
            f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
            "</bndbox></object>"
        )
    return f"<annotation><filename>{filename}</filename>{objects}</annotation>"


def write(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def labels(samples: list[Sample]) -> list[tuple[str, str, str]]:
    return [(Path(sample.path).name, sample.cls, sample.split) for sample in samples]


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """Make a folder with the layout of the 853 pictures on Kaggle."""
    folder = tmp_path / "kaggle"
    picture(folder / "images" / "a.png")
    faces = [(name, BOX) for name in ("with_mask", "without_mask", "mask_weared_incorrect")]
    write(folder / "annotations" / "a.xml", xml("a.png", *faces))
    return folder


def test_a_voc_folder_is_read(kaggle: Path) -> None:
    right, without, wrong = dataset.read(kaggle)
    assert [right.cls, without.cls, wrong.cls] == ["with_mask", "without_mask", "incorrect_mask"]
    assert right.annotated == BOX
    assert right.human
    assert (right.source, right.path) == ("kaggle", str(kaggle / "images" / "a.png"))
    assert dataset.read(kaggle.parent) == [right, without, wrong]


def test_a_voc_picture_may_be_called_differently(kaggle: Path) -> None:
    (kaggle / "annotations" / "a.xml").unlink()
    write(kaggle / "annotations" / "b.xml", xml("C:\\pictures\\a.png", ("face", BOX)))
    assert [Path(sample.path).name for sample in dataset.read(kaggle)] == ["a.png"]


def test_voc_files_beside_the_pictures_are_split_by_their_folders(tmp_path: Path) -> None:
    """As in AIZOO's set, with its use of <filename> and its typo."""
    for part, name in (("train", "face"), ("val", "face_nask")):
        picture(tmp_path / part / "1.jpg", grey=len(name))
        write(tmp_path / part / "1.xml", xml("1.xml", (name, BOX)))
    samples = dataset.read(tmp_path)
    assert labels(samples) == [
        ("1.jpg", "without_mask", "train"),
        ("1.jpg", "with_mask", "val"),
    ]
    assert [Path(sample.path).parent.name for sample in samples] == ["train", "val"]


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"train": "abc", "val": "d", "trainval": "abcd"}, "train train train val"),
        ({"trainval": "abc", "test": "d"}, "train train train val"),
        ({"train": "ab", "val": "c", "test": "d"}, "train train val val"),
        ({"train": "ab", "trainval": "abcd"}, "train train val val"),
    ],
)
def test_voc_lists_split(tmp_path: Path, lists: dict[str, str], splits: str) -> None:
    for number, name in enumerate("abcd"):
        picture(tmp_path / "JPEGImages" / f"{name}.v1.jpg", number * 40)
        write(tmp_path / "Annotations" / f"{name}.v1.xml", xml(f"{name}.v1.jpg", ("face", BOX)))
    for part, names in lists.items():
        content = "".join(f"{name}.v1\n" for name in names)
        write(tmp_path / "ImageSets" / "Main" / f"{part}.txt", content)
    assert [sample.split for sample in dataset.read(tmp_path)] == splits.split()


def test_without_lists_equal_pictures_stay_in_one_part(tmp_path: Path) -> None:
    for number in range(40):
        picture(tmp_path / "images" / f"{number}.png", number // 2 * 10)
        write(tmp_path / "annotations" / f"{number}.xml", xml(f"{number}.png", ("face", BOX)))
    samples = dataset.read(tmp_path)
    splits: dict[str, set[str]] = {}
    for sample in samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert len(samples) == 40
    assert len(splits) == 20
    assert sorted(map(len, splits.values())) == [1] * 20
    assert {sample.split for sample in samples} == {"train", "val"}


def test_a_picture_that_a_set_has_in_both_parts_validates(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        picture(tmp_path / part / "images" / f"{part}.png")
        write(tmp_path / part / "labels" / f"{part}.txt", f"0 {LABEL}")
    write(tmp_path / "classes.txt", "mask\n")
    assert [sample.split for sample in dataset.read(tmp_path)] == ["val", "val"]


def test_faces_without_an_area_and_missing_pictures_are_left_out_aloud(
    kaggle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = xml("a.png", ("face", (10, 20, 10, 60)), ("face", (10, 60, 40, 20)), ("mask", BOX))
    boxless = flat.replace("</annotation>", "<object><name>face</name></object></annotation>")
    write(kaggle / "annotations" / "a.xml", boxless)
    write(kaggle / "annotations" / "b.xml", xml("../../kaggle/secret.png", ("face", BOX)))
    write(kaggle / "annotations" / "._a.xml", "no XML, left by an archive")
    (sample,) = dataset.read(kaggle)
    assert (sample.cls, sample.annotated) == ("with_mask", BOX)
    said = capsys.readouterr().out
    assert said.count("its box has no area") == 3
    assert f"Skipped {kaggle / 'annotations' / 'b.xml'}: its picture 'secret.png'" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object>", "cannot be read: no element"),
        ("", "cannot be read"),
        ("<kml/>", "starts with <kml>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "declares a document type"),
        ('<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>', "a document type"),
        ("<annotation>&undefined;</annotation>", "cannot be read: undefined entity"),
        ("<?xml version='1.0' encoding='big5'?><annotation/>", "cannot be read"),
        ("<?xml version='1.0' encoding='none'?><annotation/>", "cannot be read"),
        (xml("a.png", ("helmet", BOX)), "class 'helmet'; allowed are mask, with mask"),
        (xml("a.png", ("face", (1, 2, 3, float("nan")))), "is damaged"),
        (xml("a.png", ("face", (1, 2, float("inf"), 4))), "is damaged"),
        (xml("a.png", ("face", BOX)).replace("<ymin>20</ymin>", ""), "is damaged"),
    ],
)
def test_a_voc_file_that_cannot_be_read_is_named(kaggle: Path, content: str, message: str) -> None:
    file = write(kaggle / "annotations" / "a.xml", content)
    with pytest.raises(DatasetError) as error:
        dataset.read(kaggle)
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


@pytest.mark.parametrize("cls", ALIASES)
def test_names_of_others_become_our_classes(kaggle: Path, cls: str) -> None:
    names = [cls, *ALIASES[cls].split(", ")]
    names += [name.title().replace(" ", joint) for name in names for joint in ("", "-", "_")]
    write(kaggle / "annotations" / "a.xml", xml("a.png", *((name, BOX) for name in names)))
    assert [sample.cls for sample in dataset.read(kaggle)] == [cls] * len(names)


def test_no_name_has_two_meanings() -> None:
    names = [alias.strip() for row in ALIASES.values() for alias in row.split(",")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("layout", ["{room}", "{room}/{part}", "{part}/{room}"])
@pytest.mark.parametrize("names", ["classes.txt", "obj.names", "labels/classes.txt"])
def test_a_yolo_folder_is_read(
    tmp_path: Path, layout: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for grey, part in enumerate(("train", "val")):
        images, txts = (layout.format(room=room, part=part) for room in ("images", "labels"))
        picture(tmp_path / images / f"{part}.PNG", grey)
        write(tmp_path / txts / f"{part}.txt", f"1 {LABEL}\n\n0 0.5 0.5 1 1\n")
        picture(tmp_path / images / f"nobody_{part}.jpg")
        write(tmp_path / txts / f"nobody_{part}.txt", "")
    write(tmp_path / names, "\ufeffNo-Mask\r\nMask\r\n\r\n")
    write(tmp_path / "README.txt", "This is no label.")
    samples = dataset.read(tmp_path)
    assert "Skipped" not in capsys.readouterr().out
    assert [sample.cls for sample in samples] == ["with_mask", "without_mask"] * 2
    assert samples[0].annotated == pytest.approx(BOX)
    assert samples[1].annotated == (0, 0, 100, 100)
    assert all(sample.human for sample in samples)
    if "{part}" in layout:
        assert [Path(sample.path).stem for sample in samples] == [s.split for s in samples]
    else:
        assert len({sample.group for sample in samples}) == 2


def test_a_yolo_box_lies_in_the_picture_turned_upright(tmp_path: Path) -> None:
    wide = np.zeros((50, 100, 3), np.uint8)
    data = cv2.imencode(".jpg", wide)[1].tobytes()
    turned = b"\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
    turned += b"\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(data[:2] + turned + data[2:])
    write(tmp_path / "labels" / "a.txt", "0 0.5 0.5 1 1")
    write(tmp_path / "classes.txt", "face")
    assert dataset.read(tmp_path)[0].annotated == (0, 0, 50, 100)


def test_a_yolo_picture_that_is_missing_or_broken_is_left_out_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "classes.txt", "face")
    picture(tmp_path / "images" / "good.png")
    write(tmp_path / "images" / "broken.jpg", "broken")
    for name in ("good", "broken", "missing"):
        write(tmp_path / "labels" / f"{name}.txt", f"0 {LABEL}\n0 0.5 0.5 0 1")
    (sample,) = dataset.read(tmp_path)
    assert Path(sample.path).stem == "good"
    said = capsys.readouterr().out
    assert f"Skipped {tmp_path / 'images' / 'broken.jpg'}" in said
    assert f"Skipped {tmp_path / 'labels' / 'missing.txt'}: its picture is missing" in said
    assert said.count("its box has no area") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"2 {LABEL}", "only 0 to 1 have names"),
        (f"-1 {LABEL}", "only 0 to 1 have names"),
        (f"1 {LABEL}", "class 'cat'"),
        ("0 0.5 0.5", "is not a box of 4 numbers"),
        (f"0 {LABEL} 0.9 0.9", "is not a box of 4 numbers"),
        ("0 here 0.5 1 1", "is not a box of 4 numbers"),
        ("0 nan 0.5 1 1", "is not a box of 4 numbers"),
        ("0 10 20 30 40", "must be relative to the picture"),
        ("0 0.5 0.5 -0.5 0.5", "must be relative to the picture"),
        ("\udcff", "it is not UTF-8 text"),
    ],
)
def test_a_yolo_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: str, message: str
) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "classes.txt", "face\ncat")
    file = tmp_path / "labels" / "a.txt"
    file.parent.mkdir()
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DatasetError) as error:
        dataset.read(tmp_path)
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


def test_yolo_labels_without_names_are_refused_with_a_way_out(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", f"0 {LABEL}")
    write(tmp_path / "data.yaml", "nc: 1")
    with pytest.raises(DatasetError, match=r"Write the class names into a classes\.txt"):
        dataset.read(tmp_path)
    write(tmp_path / "data.yaml", "names: [face")
    with pytest.raises(DatasetError, match=r"data\.yaml is damaged"):
        dataset.read(tmp_path)


@pytest.mark.parametrize("names", ["[Mask, No-Mask]", "{0: Mask, 1: No-Mask}"])
def test_the_names_in_a_data_yaml_are_read(tmp_path: Path, names: str) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", f"1 {LABEL}")
    write(tmp_path / "data.yaml", f"train: images\nnc: 2\nnames: {names}\n")
    assert [sample.cls for sample in dataset.read(tmp_path)] == ["without_mask"]


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            f"a0: &a0 [ha]\n{LAUGHS}names: *a7\n",
            r"aliases are not accepted; write out the value of \*a0",
        ),
        ("names: &a [*a]\n", r"aliases are not accepted; write out the value of \*a"),
        ("[" * 20_000, "nested too deeply"),
        ("names: " + "9" * 5000, r"Write `names: \[mask, no mask\]`"),
        ("names: [[face]]", r"Write `names: \[mask, no mask\]`"),
        ("names: {0: {a: b}}", r"Write `names: \[mask, no mask\]`"),
        ("names: !!python/object/apply:os.system [true]", None),
    ],
    ids=["laughs", "itself", "brackets", "number", "list", "dict", "object"],
)
def test_a_hostile_data_yaml_is_refused(tmp_path: Path, content: str, message: str | None) -> None:
    picture(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", f"0 {LABEL}")
    file = write(tmp_path / "data.yaml", content)
    with pytest.raises(DatasetError, match=message) as error:
        dataset.read(tmp_path)
    assert message is None or str(error.value).startswith(str(file))


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    """Two such links in a folder would be followed along 2 to the power of 40 paths."""
    folder = tmp_path / "set"
    picture(folder / "images" / "a.png")
    for name in ("train", "val"):
        (folder / "images" / name).symlink_to(folder / "images")
    with pytest.raises(DatasetError, match=r"train is a link to .*images, which is read anyway"):
        dataset.read(folder)


def test_a_link_to_itself_is_no_file(tmp_path: Path) -> None:
    picture(tmp_path / "with_mask" / "a.png")
    link = tmp_path / "with_mask" / "b.png"
    link.symlink_to(link)
    with pytest.raises(DatasetError, match=r"b\.png, a link to itself\. Remove it"):
        dataset.read(tmp_path)


@pytest.mark.parametrize("link", ["images", "images/a.png", "annotations", "with_mask/a.png"])
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, link: str) -> None:
    inside = tmp_path / "set" / link
    outside = tmp_path / "private" / inside.name
    picture(tmp_path / "private" / "a.png")
    picture(tmp_path / "private" / "images" / "a.png")
    write(tmp_path / "private" / "annotations" / "a.xml", xml("a.png", ("face", BOX)))
    inside.parent.mkdir(parents=True)
    inside.symlink_to(outside)
    with pytest.raises(DatasetError, match=r"outside of the data set's folder .*copy the file"):
        dataset.read(tmp_path / "set")


def test_a_data_set_may_itself_be_a_link(kaggle: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(kaggle)
    assert len(dataset.read(link)) == 3
