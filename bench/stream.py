"""Measure WS /stream on this machine: python -m bench.stream (Linux; 20 minutes, see --help).

Writes stream.md (the tables), stream.json (all measurements) and stream.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import requests
from rich.console import Console
from websockets.sync.client import ClientConnection, connect

from bench import clips
from bench.films import Noise, Person, film
from bench.servers import MIB, Server, running
from bench.stream_report import FPS, plot, tables
from model.choices import DEFAULT_DETECTOR, DEFAULT_MIN_CONFIDENCE
from model.images import open_picture
from model.pipeline import MaskPipeline
from model.video.tracking import Tracker

FIGURES = ("clips", "cpu", "delay", "held", "flood")
LIGHT = Noise(grain=4, light=0.03, blur=1, quality=80)
HEAVY = Noise(grain=20, light=0.15, blur=9, quality=50)
say = Console(stderr=True).print


def opened(server: Server) -> ClientConnection:
    """Open a stream."""
    return connect(f"{server.url.replace('http', 'ws', 1)}/stream", compression=None, legacy=True)


def cpu_per_frame(server: Server, files: list[Path], every: int) -> list[dict[str, Any]]:
    """Return the service's CPU per frame of each clip, with /predict and with /stream."""
    rows = []
    for file in files:
        clip = clips.read(file, every)
        session = requests.Session()
        session.headers["Content-Type"] = "image/jpeg"
        with opened(server) as stream:

            def predict(jpeg: bytes, session: requests.Session = session) -> None:
                session.post(f"{server.url}/predict", jpeg, timeout=30)

            def ask(jpeg: bytes, stream: ClientConnection = stream) -> None:
                stream.send(jpeg)
                stream.recv(30)

            by_predict = cpu_of(server, predict, clip.jpegs, np.inf)
            by_stream = cpu_of(server, ask, clip.jpegs, clip.fps)
        row = {"clip": file.name, "predict_ms": by_predict, "stream_ms": by_stream}
        rows.append(row | {"frames": len(clip.jpegs)})
        say(f"CPU per frame: {rows[-1]}")
    return rows


def cpu_of(server: Server, ask: Callable[[bytes], None], jpegs: list[bytes], fps: float) -> float:
    """Return the service's CPU milliseconds per frame, at no more than these frames per second."""
    before, due = server.cpu_s(), time.monotonic()
    for jpeg in jpegs:
        ask(jpeg)
        due += 1 / fps
        time.sleep(max(due - time.monotonic(), 0))
    return round((server.cpu_s() - before) / len(jpegs) * 1e3, 2)


def delays() -> list[float]:
    """Return the seconds from taking a mask off to `no_mask`, for each offset and noise.

    In films of a portrait: no clip shows it.
    """
    pipeline = MaskPipeline.load()
    found = []
    for noise in (LIGHT, HEAVY):
        for offset in range(6):
            off = 20 + offset
            person = Person((320, 240), 90, masked=lambda n, o=off: n < o)  # type: ignore[misc]
            ticks = count()
            tracker = Tracker(
                DEFAULT_DETECTOR,
                DEFAULT_MIN_CONFIDENCE,
                lambda ticks=ticks: next(ticks) / FPS,  # type: ignore[misc]
            )
            delay = float("inf")
            for number, shot in enumerate(film([person], off + 30, noise, seed=offset)):
                faces = tracker.analyse(pipeline, open_picture(shot.jpeg)).verdicts
                if number >= off and any(face.label == "no_mask" for face in faces):
                    delay = (number - off) / FPS
                    break
            found.append(delay)
    return found


def held(
    server: Server,
    files: list[Path],
    counts: tuple[int, ...] = (8, 12, 16, 20, 24),
    seconds: float = 10,
) -> list[dict[str, float]]:
    """Return the time from frame to answer for increasing numbers of streams of 10 frames/s."""
    films = []
    for file in files:
        every = max(round(clips.read(file).fps / FPS), 1)
        films.append(clips.read(file, every).jpegs)
    rows = []
    for streams in counts:
        times: list[float] = []
        with ThreadPoolExecutor(streams) as pool:
            begin = time.monotonic() + 1
            starts = [begin + number / FPS / streams for number in range(streams)]
            cameras = [
                pool.submit(camera, server, films[number % len(films)], start, seconds, times)
                for number, start in enumerate(starts)
            ]
        sent = sum(future.result() for future in cameras)
        rows.append(
            {
                "streams": streams,
                "answered": round(len(times) / sent, 4),
                "p50_ms": round(float(np.percentile(times, 50)) * 1e3, 1),
                "p95_ms": round(float(np.percentile(times, 95)) * 1e3, 1),
            }
        )
        say(f"Streams held: {rows[-1]}")
        time.sleep(3)  # for the service to close them all
    return rows


def camera(
    server: Server, jpegs: list[bytes], start: float, seconds: float, times: list[float]
) -> int:
    """Send ten frames per second, record the time of each answer, and return the number sent."""
    waiting: dict[int, float] = {}
    due = start
    with opened(server) as stream:
        reader = threading.Thread(target=collect, args=(stream, waiting, times))
        reader.start()
        while due < start + seconds:
            time.sleep(max(due - time.monotonic(), 0))
            number = len(waiting)
            waiting[number] = time.monotonic()
            stream.send(jpegs[number % len(jpegs)])
            due += 1 / FPS
        time.sleep(1)  # for the last answers
    reader.join()
    return len(waiting)


def collect(stream: ClientConnection, waiting: dict[int, float], times: list[float]) -> None:
    """Record the time of each answer until the stream is closed."""
    for message in stream:
        now = time.monotonic()
        times.append(now - waiting[json.loads(message)["frame_id"]])


def flood(server: Server, minutes: float) -> dict[str, Any]:
    """Send 60 frames/s for some minutes; returns memory over time and the longest backlog."""
    people = [Person((170, 150), 80, sway=4), Person((470, 150), 80, sway=4)]
    jpegs = [shot.jpeg for shot in film(people, 60, Noise())]
    memory: list[tuple[float, float]] = []
    answered = [-1, 0]  # the newest answered frame, and the number dropped
    backlog, sent, answers = 0, 0, 0
    with opened(server) as stream:

        def read() -> None:
            nonlocal answers
            for message in stream:
                body = json.loads(message)
                answered[:] = [body["frame_id"], body["dropped"]]
                answers += 1

        reader = threading.Thread(target=read)
        reader.start()
        begin = due = time.monotonic()
        while due - begin < minutes * 60:
            time.sleep(max(due - time.monotonic(), 0))
            stream.send(jpegs[sent % len(jpegs)])
            sent += 1
            due += 1 / 60
            backlog = max(backlog, sent - 1 - answered[0])
            if sent % 300 == 0:
                memory.append((round(due - begin, 1), round(server.worker_mib() * MIB / 1e6, 2)))
        time.sleep(2)
        last, dropped = answered
    reader.join()
    settled = [mb for at, mb in memory if at > minutes * 6]  # skips the first tenth
    return {
        "sent": sent,
        "answered": answers,
        "dropped": dropped,
        "last_frame_answered": last == sent - 1,
        "longest_backlog_frames": backlog,
        "memory_growth_mb": round(median(settled[-10:]) - median(settled[:10]), 2),
        "memory_mb": memory,
    }


def main() -> None:
    """Parse the command line, measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__)
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--folder", type=Path, default=clips.FOLDER, help="of clips (%(default)s)")
    parser.add_argument("--every", type=int, default=1, help="n-th frame of the clips only")
    parser.add_argument("--minutes", type=float, default=10, help="of the flood (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="(%(default)s)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    files = clips.files(options.folder)
    file = options.output / "stream.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}

    def keep(name: str, measure: Callable[[], Any]) -> None:
        if name not in options.figures:
            return
        if name in {"clips", "cpu", "held"} and not files:
            say(f"Skipped {name}: {options.folder} holds no clips. Name a folder with --folder.")
            return
        say(f"Measuring {name} ...")
        found[name] = measure()
        file.write_text(json.dumps(found, indent=1) + "\n")

    pipeline = MaskPipeline.load(detectors=[DEFAULT_DETECTOR])
    keep("clips", lambda: [clips.measured(pipeline, clip, options.every) for clip in files])
    keep("delay", delays)
    with running(LOG_LEVEL="warning", MAX_STREAMS="64", MAX_STREAMS_PER_CLIENT="64") as server:
        keep("cpu", lambda: cpu_per_frame(server, files, options.every))
        keep("held", lambda: held(server, files))
        keep("flood", lambda: flood(server, options.minutes))
    (options.output / "stream.md").write_text(tables(found))
    plot(found, options.output / "stream.png")
    print(tables(found), end="")


if __name__ == "__main__":
    main()
