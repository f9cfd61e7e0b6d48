"""Keep pictures of doubtful faces on the operator's own disk, to be labelled and trained on."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import cv2
import PIL.Image

from client import shown
from client.frames import Frame
from client.outputs import failed
from client.tracks import Person

MOST_PICTURES = 1000
MOST_BYTES = 1_000_000_000
MOST_FACES = 100  # in a comment, which has room for 65 kB
EVERY_S = 5.0  # at most one picture of a person in this time
QUALITY = 95


class Collector:
    """A folder of pictures; several sources may write at once.

    Each picture is a JPEG with its doubtful faces in the comment, as JSON. It stops when the folder
    holds `most` pictures or MOST_BYTES, those of earlier runs included, and deletes nothing.
    """

    def __init__(self, folder: Path, most: int, note: Callable[[str], None]) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder, self._most, self._note = folder, most, note
        self._run = uuid.uuid4().hex[:8]
        self._lock = threading.Lock()
        self._full = False
        sizes = [file.stat().st_size for file in folder.iterdir() if file.is_file()]
        self._pictures = len(pictures(folder))
        self._bytes = sum(sizes)

    def keep(self, frame: Frame, people: Sequence[tuple[int, Person]]) -> None:
        """Write a frame and its doubtful people, unless all were kept within EVERY_S.

        Raises OutputError if it cannot be written.
        """
        if self._full or not any(fresh(person, frame) for _, person in people):
            return
        people = people[:MOST_FACES]
        for _, person in people:
            person.kept_at_s = frame.at_s
        content = {
            "source": shown.plain(frame.name),
            "time": frame.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "faces": [
                {
                    "person": self._person(frame.name, number),
                    "box": asdict(person.face.box),
                    "label": person.face.label,
                    "mask": person.face.probabilities.get("mask"),
                }
                for number, person in people
            ],
        }
        jpeg = BytesIO()
        rgb = PIL.Image.fromarray(cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2RGB))
        rgb.save(jpeg, "JPEG", quality=QUALITY, comment=json.dumps(content).encode())
        with self._lock:
            self._write(frame, jpeg.getvalue())

    def _person(self, source: str, number: int) -> str:
        """Return what a person is called in all pictures of this run: 12 hex digits."""
        named = f"{self._run} {number} {source}".encode("utf-8", "backslashreplace")
        return hashlib.sha256(named).hexdigest()[:12]

    def _write(self, frame: Frame, jpeg: bytes) -> None:
        if self._pictures >= self._most or self._bytes + len(jpeg) > MOST_BYTES:
            if not self._full:
                self._note(
                    f"{self._folder} is full ({self._pictures} pictures, "
                    f"{self._bytes / 1e6:.0f} MB): no more are collected. Label them, move them "
                    "away, or raise --collect-most."
                )
            self._full = True
            return
        path = self._folder / f"{frame.time:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.jpg"
        try:
            write_whole(path, jpeg)
        except OSError as error:
            raise failed(path, error) from error
        self._pictures += 1
        self._bytes += len(jpeg)


def fresh(person: Person, frame: Frame) -> bool:
    """Tell whether a person was not kept within EVERY_S; a stream's clock may start again."""
    return person.kept_at_s is None or abs(frame.at_s - person.kept_at_s) >= EVERY_S


def pictures(folder: Path) -> list[Path]:
    """List the collected pictures, oldest first."""
    return sorted(folder.glob("*.jpg"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that, at any kill, it is whole or not there; raises OSError."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
    part.replace(path)
