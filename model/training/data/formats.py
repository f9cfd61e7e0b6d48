"""Shared parts of the data set readers: class names, folders, and pictures with faces."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Names that other data sets use for our classes; case, spaces, - and _ are ignored.
ALIASES = {
    "with_mask": (
        "mask, with mask, wearing mask, face mask, face with mask, masked, masked face, "
        "face nask"  # a typo in AIZOO's widely used data set
    ),
    "without_mask": (
        "no mask, without mask, not masked, unmasked, unmasked face, face, face no mask, "
        "face without mask"
    ),
    "incorrect_mask": (
        "incorrect, incorrect mask, mask incorrect, mask weared incorrect, mask worn incorrectly, "
        "incorrectly worn mask, incorrectly masked face, face with mask incorrect, improper mask, "
        "wrong, wrong mask, mask wrong"
    ),
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
ROOMS = {"annotations", "jpegimages", "images", "labels"}
# A test part is used for validation: the point is that it is not trained on.
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "val"}

Corners = tuple[float, float, float, float]


class DatasetError(ValueError):
    """A folder contains no readable data set; the message says what is expected."""


@dataclass(frozen=True)
class Picture:
    """A picture, with the class and box of each of its faces.

    A box is (left, top, right, bottom) in pixels, or None if the data set has only a label. split
    is train or val, or None if the data set has no split.
    """

    path: Path
    faces: tuple[tuple[str, Corners | None], ...]
    split: str | None = None


def class_folders(folder: Path) -> list[Picture]:
    """Read the pictures in with_mask/, without_mask/ and incorrect_mask/; empty if none.

    Raises DatasetError for a link that leaves the folder.
    """
    return [
        Picture(inside(folder, path, path), ((cls, None),))
        for cls in ALIASES
        for path in sorted((folder / cls).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def inside(folder: Path, path: Path, file: Path) -> Path:
    """Return the path if, after following links, it is inside the data set's folder.

    Otherwise raises DatasetError; its message names `file`, which refers to the path.
    """
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except RuntimeError as error:
        raise DatasetError(f"{file} refers to {path}, a link to itself. Remove it.") from error
    raise DatasetError(
        f"{file} refers to {path}, outside of the data set's folder {folder}. "
        "Only files inside it are read; copy the file there, or remove the entry."
    )


def class_of(name: str, file: Path) -> str:
    """Return our class for another data set's class name. Raises DatasetError if unknown."""
    ours = {plain(alias): cls for cls, row in ALIASES.items() for alias in row.split(",")}
    if plain(name) not in ours:
        known = ", ".join(ALIASES.values())
        raise DatasetError(f"{file} has a face of unknown class '{name}'; allowed are {known}.")
    return ours[plain(name)]


def plain(name: str) -> str:
    """Return a name in lower case without spaces, - and _."""
    return re.sub(r"[\s_-]", "", name).lower()


def four(texts: Iterable[str], file: Path) -> Corners:
    """Return four finite numbers. Raises DatasetError."""
    written = list(texts)
    try:
        a, b, c, d = (float(number) for number in written)
    except ValueError as error:
        raise DatasetError(f"{file} is damaged: {written} is not a box of 4 numbers.") from error
    if not all(math.isfinite(number) for number in (a, b, c, d)):
        raise DatasetError(f"{file} is damaged: {written} is not a box of 4 numbers.")
    return a, b, c, d


def with_area(faces: Iterable[tuple[str, Corners]], file: Path) -> Iterator[tuple[str, Corners]]:
    """Yield the faces whose box has an area; prints the others."""
    for cls, (left, top, right, bottom) in faces:
        if left < right and top < bottom:
            yield cls, (left, top, right, bottom)
        else:
            print(f"Skipped a {cls} in {file}: its box has no area")


def walk(folder: Path) -> list[Path]:
    """List the files of a data set, including those in subfolders named in ROOMS and PARTS.

    Other folders are not entered, because they may be separate data sets. Raises DatasetError for a
    link that leaves the folder, or that leads to a folder that is read anyway.
    """
    files, folders, entered = [], [folder] if folder.is_dir() else [], {folder.resolve()}
    while folders:
        for entry in sorted(folders.pop().iterdir()):
            if entry.name.startswith("."):
                continue  # macOS adds files such as ._name.xml to archives; they are not XML
            if entry.is_file():
                files.append(inside(folder, entry, entry))
            elif entry.is_dir() and entry.name.lower() in ROOMS | PARTS.keys():
                real = inside(folder, entry, entry).resolve()
                if real in entered:
                    raise DatasetError(
                        f"{entry} is a link to {real}, which is read anyway. Remove the link."
                    )
                entered.add(real)
                folders.append(entry)
    return sorted(files)


def part_of(folder: Path, file: Path) -> str:
    """Return the part that a file is in, a key of PARTS; empty if it is in none."""
    names = [name.lower() for name in file.relative_to(folder).parts[:-1]]
    return next((name for name in names if name in PARTS), "")


def named(folder: Path, files: list[Path]) -> dict[tuple[str, str], Path]:
    """Return the pictures among the files, by part and by name with and without suffix."""
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
    return {
        (part_of(folder, file), name): file for file in pictures for name in (file.stem, file.name)
    }


def text(file: Path) -> str:
    """Return a text file's content. Raises DatasetError if it is not UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")  # Windows writes a BOM
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is damaged: it is not UTF-8 text.") from error
