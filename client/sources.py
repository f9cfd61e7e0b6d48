"""Open the source that --source names: a camera number, an address, a file or a folder."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from client import cameras, recordings, shown
from client.frames import Source, SourceError
from client.live import Live, Pictures

STREAMS = {
    "rtsp": cameras.rtsp,
    "rtsps": cameras.rtsp,
    "http": cameras.http,
    "https": cameras.http,
}
HANG_UP_S = 0.1


def name_of(text: str) -> str:
    """Return the name of a source for messages and files, without password and query."""
    if is_number(text):
        return f"camera {int(text)}"
    return text if exists(text) else shown.address(text)


def open_source(text: str, name: str, stop: threading.Event, note: Callable[[str], None]) -> Source:
    """Open a source; raises SourceError within seconds if it cannot be opened.

    name: its name for messages. stop: ends the reading of a live source. note: prints a message.
    """
    path = Path(text)
    if "://" in text:
        return stream(text, name, stop)
    if is_number(text):
        advice = camera_advice(Path(f"/dev/video{int(text)}"))
        return live(name, partial(cameras.device, int(text), stop), stop, advice)
    if not exists(text):
        raise SourceError(
            f"There is no file or folder {name}. A source is a camera number (0 is the first), "
            "a video file, a picture, a folder of pictures, or an rtsp:// or http:// address."
        )
    if path.is_char_device():
        return live(name, partial(cameras.device, text, stop), stop, camera_advice(path))
    return recordings.folder(path, note) if path.is_dir() else recordings.file(path, note)


def stream(url: str, name: str, stop: threading.Event) -> Live:
    """Open an RTSP or HTTP stream."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is not a number
    except ValueError:
        parts = urlsplit("")
    pictures = STREAMS.get(parts.scheme.lower())
    if pictures is not None and "@" in url and "@" not in parts.netloc:
        raise SourceError(
            f"The user or password in the address {name} contains a /, ? or #, which would end "
            "it. Write / as %2F, ? as %3F, # as %23 and @ as %40."
        )
    if pictures is None or not parts.hostname:
        raise SourceError(
            f"{name} is not the address of a stream, such as rtsp://camera.local/stream."
        )
    advice = (
        f"The stream {name} does not open or gives no picture. Check the address, the user and "
        "password in it (rtsp://user:password@host/path) and that this machine reaches the "
        "camera; ffplay or VLC may show more with the same address."
    )
    return live(name, partial(pictures, url), stop, advice)


def live(name: str, pictures: Callable[[], Pictures], stop: threading.Event, advice: str) -> Live:
    """Start a live source and wait for its first frame or until stop is set."""
    source = Live(name, pictures, stop)
    while source.newest is None and not stop.wait(HANG_UP_S):
        if source.failed.is_set():
            raise SourceError(f"{advice} ({source.why})" if source.why else advice)
    return source


def is_number(text: str) -> bool:
    """Return whether a source is the number of a camera."""
    return text.isascii() and text.isdigit()


def exists(text: str) -> bool:
    """Return whether a source is a file or folder."""
    try:
        return "://" not in text and Path(text).exists()
    except (OSError, ValueError):  # too long, or contains a NUL
        return False


def camera_advice(device: Path) -> str:
    """Return why a camera may not open and what to do. device: its file on Linux."""
    sentence = "The camera cannot be opened or gives no picture: "
    if not sys.platform.startswith("linux"):
        return sentence + (
            "close other programs that use it, allow this terminal to use the camera in the "
            "system's privacy settings, or try another number: --source 1"
        )
    if not device.exists():
        others = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*")))
        return sentence + (
            f"there is no {device} (found: {others or 'no camera at all'}). Plug it in or try "
            f"another number; inside Docker start the container with --device {device}."
        )
    if not os.access(device, os.R_OK | os.W_OK):
        return sentence + (
            f"you have no permission to read {device}. Join its group, then log in again: "
            "sudo usermod -aG video $USER"
        )
    return sentence + (
        f"close other programs that use {device}, unplug it and plug it in again, or try another "
        "number: one webcam often has two numbers, and only one gives pictures."
    )
