"""Read YOLO data sets: images/, labels/ and the class names."""

from __future__ import annotations

from pathlib import Path

import yaml
from rich.progress import track

from model.images import ImageError, decode
from model.training.data.formats import (
    PARTS,
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

NAMES_FILES = {"classes.txt", "obj.names"}


def read(folder: Path) -> list[Picture]:
    """Read the pictures in images/ that have a file in labels/; empty if there are none.

    Raises DatasetError.
    """
    files = walk(folder)
    labels = [
        file
        for file in files
        if file.suffix.lower() == ".txt"
        and file.name.lower() not in NAMES_FILES
        and "labels" in (part.lower() for part in file.relative_to(folder).parts[:-1])
    ]
    if not labels:
        return []
    names, pictures, found = read_names(folder, files), named(folder, files), []
    for file in track(labels, "Reading labels"):
        part = part_of(folder, file)
        path = pictures.get((part, file.stem))
        if path is None:
            print(f"Skipped {file}: its picture is missing")
            continue
        try:
            height, width = decode(path.read_bytes()).shape[:2]
        except ImageError as error:
            print(f"Skipped {path}: {error}")
            continue
        lines = [line for line in text(file).splitlines() if line.strip()]
        faces = [face_of(line, names, (width, height), file) for line in lines]
        found.append(Picture(path, tuple(with_area(faces, file)), PARTS.get(part)))
    return found


def read_names(folder: Path, files: list[Path]) -> dict[str, str]:
    """Return the class names by their numbers in the labels. Raises DatasetError."""
    for file in files:
        if file.name.lower() in NAMES_FILES:
            return numbered(text(file).splitlines(), file)
    for file in files:
        if file.suffix.lower() in {".yaml", ".yml"}:
            described = described_in(file)
            if isinstance(described, dict) and "names" in described:
                return numbered(described["names"], file)
    raise DatasetError(
        f"{folder} has YOLO labels but neither a classes.txt nor a data.yaml with `names`. Write "
        "the class names into a classes.txt, one per line, in the order of their numbers."
    )


class PlainLoader(yaml.BaseLoader):
    """Reads YAML without aliases, with every value as a string.

    An alias repeats the value it names: ten lines of ten aliases each give ten thousand million
    values. Converting a very long number would take hours.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; raises YAMLError for an alias."""
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None,
                None,
                f"aliases are not accepted; write out the value of *{event.anchor}",
                event.start_mark,
            )
        return super().compose_node(parent, index)


def described_in(file: Path) -> object:
    """Return the content of a YAML file, with values as strings. Raises DatasetError."""
    try:
        return yaml.load(text(file), PlainLoader)  # noqa: S506 (makes only str, list, dict)
    except yaml.YAMLError as error:
        raise DatasetError(f"{file} is damaged: {error}") from error
    except RecursionError as error:
        raise DatasetError(
            f"{file} is damaged: it is nested too deeply. Write `names: [mask, no mask]`."
        ) from error


def numbered(names: object, file: Path) -> dict[str, str]:
    """Return class names by number, from a list or a mapping, as in a data.yaml.

    Raises DatasetError unless the names are strings.
    """
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DatasetError(
            f"{file} does not list the class names as strings. Write `names: [mask, no mask]`, "
            "in the order of their numbers."
        )
    return {str(number): name for number, name in names.items()}


def face_of(
    line: str, names: dict[str, str], size: tuple[int, int], file: Path
) -> tuple[str, Corners]:
    """Return class and box of a label line, 'number cx cy width height' relative to the size."""
    number, *rest = line.split()
    if number not in names:
        raise DatasetError(f"{file} has class {number}; only 0 to {len(names) - 1} have names.")
    x, y, w, h = four(rest, file)
    if not all(0 <= share <= 1.01 for share in (x, y, w, h)):  # allows rounding
        raise DatasetError(
            f"{file} is damaged: in '{line}' the box must be relative to the picture, 0 to 1."
        )
    width, height = size
    box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    return class_of(names[number], file), box
