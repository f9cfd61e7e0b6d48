"""What data sets of others have in common: names of classes, folders, pictures with faces."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What others call our classes; upper case, spaces, - and _ make no difference.
ALIASES = {
    "with_mask": (
        "mask, with mask, wearing mask, face mask, face with mask, masked, masked face, "
        "face nask"  # so it stands in a set that many use, AIZOO's
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
# A part that is there to be tested on is not trained on, which is what matters here.
PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "val"}

Corners = tuple[float, float, float, float]


class DatasetError(ValueError):
    """A folder holds no data set that we can read; the message says what is expected."""


@dataclass(frozen=True)
class Picture:
    """A picture and the class and box of each of its faces.

    A box is (left, top, right, bottom) in pixels, None where the data set has a label only. split
    is train or val, None where the data set has none.
    """

    path: Path
    faces: tuple[tuple[str, Corners | None], ...]
    split: str | None = None


def class_folders(folder: Path) -> list[Picture]:
    """Read the pictures below with_mask/, without_mask/ and incorrect_mask/; empty if none.

    Raises DatasetError for a link that leaves the folder.
    """
    return [
        Picture(inside(folder, path, path), ((cls, None),))
        for cls in ALIASES
        for path in sorted((folder / cls).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def inside(folder: Path, path: Path, file: Path) -> Path:
    """Return a path that lies in a data set's folder, links followed.

    Raises DatasetError, naming the file that names the path, for one that does not.
    """
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except RuntimeError as error:
        raise DatasetError(f"{file} leads to {path}, a link to itself. Remove it.") from error
    raise DatasetError(
        f"{file} leads to {path}, outside of the data set's folder {folder}. "
        "Only files inside it are read; copy the file there, or remove the entry."
    )


def class_of(name: str, file: Path) -> str:
    """Return our class for a name of others. Raises DatasetError for one that we do not know."""
    ours = {plain(alias): cls for cls, row in ALIASES.items() for alias in row.split(",")}
    if plain(name) not in ours:
        known = ", ".join(ALIASES.values())
        raise DatasetError(f"{file} has a face of class '{name}'; known are {known}.")
    return ours[plain(name)]


def plain(name: str) -> str:
    """Return a name without what makes no difference."""
    return re.sub(r"[\s_-]", "", name).lower()


def four(texts: Iterable[str], file: Path) -> Corners:
    """Return four finite numbers. Raises DatasetError."""
    written = list(texts)
    try:
        a, b, c, d = (float(number) for number in written)
    except ValueError as error:
        raise DatasetError(f"{file} is damaged: {written} is no box of four numbers.") from error
    if not all(math.isfinite(number) for number in (a, b, c, d)):
        raise DatasetError(f"{file} is damaged: {written} is no box of four numbers.")
    return a, b, c, d


def with_area(faces: Iterable[tuple[str, Corners]], file: Path) -> Iterator[tuple[str, Corners]]:
    """Leave out, aloud, the faces whose box has no area."""
    for cls, (left, top, right, bottom) in faces:
        if left < right and top < bottom:
            yield cls, (left, top, right, bottom)
        else:
            print(f"Left out a {cls} in {file}: its box has no area")


def walk(folder: Path) -> list[Path]:
    """List the files of a data set: in its folder, and in rooms and parts below it, at any depth.

    Other folders are not entered: they may be data sets of their own. Raises DatasetError for a
    link that leaves the folder, or leads to a folder that is read anyway.
    """
    files, folders, entered = [], [folder] if folder.is_dir() else [], {folder.resolve()}
    while folders:
        for entry in sorted(folders.pop().iterdir()):
            if entry.name.startswith("."):
                continue  # what macOS adds to archives, ._name.xml, is no XML
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
    """Return the part that a file lies in, a key of PARTS; empty if in none."""
    names = [name.lower() for name in file.relative_to(folder).parts[:-1]]
    return next((name for name in names if name in PARTS), "")


def named(folder: Path, files: list[Path]) -> dict[tuple[str, str], Path]:
    """Return the pictures among the files, by their part and their name with and without suffix."""
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
    return {
        (part_of(folder, file), name): file for file in pictures for name in (file.stem, file.name)
    }


def text(file: Path) -> str:
    """Return a text file's content. Raises DatasetError if it is none."""
    try:
        return file.read_text(encoding="utf-8-sig")  # Windows writes the signature
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is damaged: it is no text.") from error
