"""Read Pascal VOC data sets: an XML file for each picture, and lists of names for the splits."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from model.training.data.formats import (
    PARTS,
    SUFFIXES,
    Corners,
    DatasetError,
    Picture,
    class_of,
    four,
    named,
    part_of,
    text,
    walk,
    with_area,
)


def read(folder: Path) -> list[Picture]:
    """Read the pictures that a folder's XML files annotate; empty if there are none.

    The XML files are in Annotations/ or next to the pictures; the pictures are in JPEGImages/ or
    images/. Raises DatasetError.
    """
    files = walk(folder)
    pictures, splits, found = named(folder, files), read_splits(folder), []
    for file in (f for f in files if f.suffix.lower() == ".xml"):
        root, part = parse(file), part_of(folder, file)
        # Some sets name the annotation itself here, or the picture's former name.
        filename = PureWindowsPath(root.findtext("filename") or "").name
        path = pictures.get((part, filename)) or pictures.get((part, file.stem))
        if path is None:
            print(f"Skipped {file}: its picture '{filename}' is missing")
            continue
        faces = [face_of(entry, file) for entry in root.findall("object")]
        split = splits.get(file.stem) or PARTS.get(part)
        found.append(Picture(path, tuple(with_area(faces, file)), split))
    return found


def read_splits(folder: Path) -> dict[str, str]:
    """Return the split of each annotation named in ImageSets/Main; names have no .xml.

    A name that is only in trainval.txt belongs to the part that has no list of its own. Without
    another list, trainval.txt is ignored.
    """
    splits: dict[str, str] = {}
    for part in ("train", "val", "test"):
        splits |= dict.fromkeys(listed(folder, part), PARTS[part])
    rest = "train" if "val" in splits.values() else "val"
    return dict.fromkeys(listed(folder, "trainval"), rest) | splits if splits else {}


def listed(folder: Path, part: str) -> list[str]:
    """Return the names in a list of ImageSets/Main; empty if the list does not exist."""
    file = folder / "ImageSets" / "Main" / f"{part}.txt"
    names = [Path(line.strip()) for line in text(file).splitlines()] if file.is_file() else []
    return [name.stem if name.suffix.lower() in SUFFIXES else name.name for name in names]


def parse(file: Path) -> Element:
    """Parse a Pascal VOC file. Raises DatasetError, also if it declares a document type.

    A document type could define entities that expand without limit; annotations do not need one.
    """
    builder = TreeBuilder()

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(file.read_bytes(), True)  # noqa: FBT003, it takes no keyword
    except (
        expat.ExpatError,
        LookupError,
        ValueError,
    ) as error:  # the last two for unknown encodings
        raise DatasetError(f"{file} cannot be read: {error}.") from error
    root: Element = builder.close()
    if root.tag != "annotation":
        raise DatasetError(
            f"{file} is not a Pascal VOC annotation: it starts with <{root.tag}>, not <annotation>."
        )
    return root


def face_of(entry: Element, file: Path) -> tuple[str, Corners]:
    """Return class and box of an <object>; the box is empty if it is missing."""
    cls = class_of(entry.findtext("name") or "", file)
    box = entry.find("bndbox")
    if box is None:
        return cls, (0, 0, 0, 0)
    return cls, four((box.findtext(key) or "" for key in ("xmin", "ymin", "xmax", "ymax")), file)
