"""Label collected faces by two keys, in a page that only this machine and this user reach."""

from __future__ import annotations

import argparse
import hmac
import json
import logging
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import PIL.Image
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from client import shown
from client.answers import Box
from client.arguments import PROGRAM
from client.collect import pictures, write_whole

CLASSES: Final = {"M": "with_mask", "N": "without_mask"}
MANIFEST: Final = "annotations.json"
ORIGIN: Final = "collected"  # the label is a person's, the box a detector's
VALIDATION_SHARE: Final = 0.1


@dataclass(frozen=True)
class Doubt:
    """A face as the collector wrote it. person: the same in all pictures of one track."""

    person: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    box: Box
    label: str
    mask: float | None


@dataclass(frozen=True)
class Comment:
    """What a collected picture says of itself."""

    faces: Annotated[tuple[Doubt, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Key:
    """A key pressed for a face, None where none is shown."""

    face: int | None
    key: Annotated[str, Field(pattern="^[MNSU]$")]


COMMENT = TypeAdapter(Comment)
KEY = TypeAdapter(Key)


class Labels:
    """The faces of a folder that have no label yet, and what is written of them.

    Rows of annotations.json that were there before are kept. Raises ValueError if it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / MANIFEST
        self._lock = threading.Lock()
        rows = json.loads(self._file.read_text()) if self._file.exists() else []
        self._rows: dict[str, dict[str, Any]] = {row["image"]: row for row in rows}
        known = {(name, tuple(box["xyxy"])) for name in self._rows for box in self._boxes(name)}
        self.faces = [
            (path, doubt)
            for path in pictures(folder)
            for doubt in doubts(path)
            if (path.name, corners(doubt.box)) not in known
        ]
        self._at = 0

    @property
    def current(self) -> int | None:
        """The number of the face to label, None when there is none left."""
        return self._at if self._at < len(self.faces) else None

    def press(self, face: int | None, key: str) -> None:
        """Label, skip or undo; a key for a face that is not the current one is ignored."""
        with self._lock:
            if face != self.current:
                return
            if key == "U":
                self._at = max(self._at - 1, 0)
                self._take_back()
            elif face is not None:
                if key in CLASSES:
                    self._label(*self.faces[face], CLASSES[key])
                self._at += 1

    def _boxes(self, name: str) -> list[dict[str, Any]]:
        boxes: list[dict[str, Any]] = self._rows[name]["boxes"]
        return boxes

    def _label(self, path: Path, doubt: Doubt, cls: str) -> None:
        split = "val" if int(doubt.person[:8], 16) < VALIDATION_SHARE * 2**32 else "train"
        row = {"image": path.name, "group": doubt.person, "split": split, "boxes": []}
        boxes = self._rows.setdefault(path.name, row)["boxes"]
        boxes.append({"xyxy": list(corners(doubt.box)), "cls": cls, "origin": ORIGIN})
        self._save()

    def _take_back(self) -> None:
        if not self.faces:
            return
        path, doubt = self.faces[self._at]
        if path.name not in self._rows:
            return
        boxes = self._boxes(path.name)
        boxes[:] = [box for box in boxes if tuple(box["xyxy"]) != corners(doubt.box)]
        if not boxes:
            del self._rows[path.name]
        self._save()

    def _save(self) -> None:
        lines = ",\n".join(json.dumps(row) for row in self._rows.values())
        write_whole(self._file, f"[\n{lines}\n]\n".encode())


def doubts(path: Path) -> tuple[Doubt, ...]:
    """Return the doubtful faces of a picture; none, with a message, if it was not collected."""
    try:
        with PIL.Image.open(path) as picture:
            return COMMENT.validate_json(picture.info.get("comment", b"")).faces
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        print(f"Skipped {shown.plain(str(path))}: --collect did not write it.")
        return ()


def corners(box: Box) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom."""
    return box.x, box.y, box.x + box.width, box.y + box.height


def server(labels: Labels, token: str) -> Server:
    """Serve the page under /TOKEN/ on a free port of 127.0.0.1.

    Only requests that name this machine as their host and know the token are answered; a page of
    another site knows neither.
    """
    page = Path(__file__).with_name("label.html").read_text(encoding="utf-8")

    def respond(connection: ServerConnection, request: Request) -> Response | None:
        port = connection.local_address[1]
        hosts = f"127.0.0.1:{port}", f"localhost:{port}"
        if request.headers.get("Host") not in hosts:
            return connection.respond(HTTPStatus.MISDIRECTED_REQUEST, "Unknown host.\n")
        root, given = f"/{token}/", request.path.encode()
        if hmac.compare_digest(given, f"{root}faces".encode()):
            if request.headers.get("Origin") in {f"http://{host}" for host in hosts}:
                return None
            return connection.respond(HTTPStatus.FORBIDDEN, "Another page may not label.\n")
        if not hmac.compare_digest(given, root.encode()):
            return connection.respond(HTTPStatus.NOT_FOUND, "Open the address that was printed.\n")
        nonce = secrets.token_urlsafe(16)
        sockets = " ".join(f"ws://{host}" for host in hosts)
        response = connection.respond(HTTPStatus.OK, page.replace("NONCE", nonce))
        del response.headers["Content-Type"]
        response.headers.update(
            {
                "Content-Type": "text/html; charset=utf-8",
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": f"default-src 'none'; connect-src {sockets}; "
                f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; frame-ancestors 'none'",
            }
        )
        return response

    return serve(
        talk(labels), "127.0.0.1", 0, process_request=respond, compression=None, max_size=1000
    )


def talk(labels: Labels) -> Callable[[ServerConnection], None]:
    """Make the function that shows one page face after face and takes its keys."""

    def converse(connection: ServerConnection) -> None:
        try:
            show(labels, connection)
            for message in connection:
                pressed = KEY.validate_json(message)
                labels.press(pressed.face, pressed.key)
                show(labels, connection)
        except (ConnectionClosed, ValueError):
            return  # the page was closed, or is none of ours

    return converse


def show(labels: Labels, connection: ServerConnection) -> None:
    """Send the current face and its picture."""
    face = labels.current
    if face is None:
        connection.send(json.dumps({"face": None}))
        return
    path, doubt = labels.faces[face]
    mask = "" if doubt.mask is None else f", mask {doubt.mask:.2f}"
    left = len(labels.faces) - face
    said = f"{doubt.label}{mask}"
    connection.send(
        json.dumps({"face": face, "box": asdict(doubt.box), "left": left, "said": said})
    )
    connection.send(path.read_bytes())


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} label", description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that --collect wrote")
    logging.getLogger("websockets").addHandler(logging.NullHandler())
    folder: Path = parser.parse_args(arguments).folder
    try:
        labels = Labels(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        parser.error(f"{folder / MANIFEST} cannot be read: {type(error).__name__}")
    if not labels.faces:
        parser.error(f"{folder} holds no face to label; collect some with --collect {folder}")
    token = secrets.token_urlsafe(24)
    with server(labels, token) as running:
        port = running.socket.getsockname()[1]
        print(f"{len(labels.faces)} faces. Open http://127.0.0.1:{port}/{token}/ (Ctrl-C ends)")
        sys.stdout.flush()
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print(f"The labels are in {folder / MANIFEST}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
