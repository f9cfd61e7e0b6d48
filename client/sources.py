"""Open what --source names: a camera's number, an address, a file or a folder."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import cv2

from client import recordings
from client.frames import Source, SourceError
from client.live import Live

SCHEMES = {"rtsp", "rtsps", "http", "https"}
OPENING_MS = 10_000  # a camera that sends a whole picture only every few seconds needs them
SILENCE_MS = 5000
HANG_UP_S = 0.1


def open_source(text: str, stop: threading.Event, note: Callable[[str], None]) -> Source:
    """Open a source; notes go to `note`, and `stop` ends the reading of a live one.

    Raises SourceError, within seconds, when it cannot be opened.
    """
    path = Path(text)
    if "://" in text:
        return stream(text, stop)
    if text.isascii() and text.isdigit():
        return camera(int(text), stop)
    if path.is_char_device():
        return live(text, partial(cv2.VideoCapture, text), stop, camera_advice(path))
    if path.is_dir():
        return recordings.folder(path, note)
    if recordings.is_picture(path):
        return recordings.pictures(text, [path], note)
    if path.is_file():
        return recordings.video(path)
    raise SourceError(
        f"There is no file or folder {text}. A source is a camera's number (0 is the first), "
        "a video file, a folder of pictures, or an rtsp:// or http:// address."
    )


def stream(url: str, stop: threading.Event) -> Live:
    """Open an RTSP or HTTP stream."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() not in SCHEMES or not parts.hostname:
        raise SourceError(f"{url} is no address of a stream, such as rtsp://camera.local/stream.")
    # What is shown and written down of an address must not hold the camera's password.
    name = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPENING_MS]
    timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, SILENCE_MS]
    advice = (
        f"The stream {name} does not open or gives no picture. Check the address, the user and "
        "password in it (rtsp://user:password@host/path) and that this machine reaches the "
        f"camera; 'ffplay {name}' or VLC tells more."
    )
    return live(name, partial(cv2.VideoCapture, url, cv2.CAP_FFMPEG, timeouts), stop, advice)


def camera(index: int, stop: threading.Event) -> Live:
    """Open a camera of this machine by its number."""
    advice = camera_advice(Path(f"/dev/video{index}"))
    return live(f"camera {index}", partial(cv2.VideoCapture, index), stop, advice)


def live(
    name: str, open_capture: Callable[[], cv2.VideoCapture], stop: threading.Event, advice: str
) -> Live:
    """Start a live source and wait for its first frame, or until told to stop."""
    source = Live(name, open_capture, stop)
    while source.newest is None and not stop.wait(HANG_UP_S):
        if source.failed.is_set():
            raise SourceError(advice)
    return source


def camera_advice(device: Path) -> str:
    """Say why a camera may not open and what to do; `device` is its file on Linux."""
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
            f"you may not read {device}. Join its group, then log in again: "
            "sudo usermod -aG video $USER"
        )
    return sentence + (
        f"close other programs that use {device}, unplug it and plug it in again, or try another "
        "number: one webcam often has two, of which only one gives pictures."
    )
