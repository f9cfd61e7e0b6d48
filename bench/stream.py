"""Measure WS /stream on this machine: python -m bench.stream (Linux; 15 minutes, see --help).

Writes stream.md (the table), stream.json (all measurements) and stream.png.
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
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import requests
from rich.console import Console
from websockets.sync.client import ClientConnection, connect

from bench import tracks
from bench.films import Noise, Person, film
from bench.servers import MIB, Server, running
from bench.stream_report import FPS, plot, table

CENTRES = [(170, 150), (470, 150), (170, 370), (470, 370)]
FACE = 80
FIGURES = ("cpu", "held", "steadiness", "movement", "delay", "flood")
say = Console(stderr=True).print


def steady(faces: int, frames: int = 60) -> list[bytes]:
    """Return a film of people who hardly move; faces: number of people."""
    people = [Person(centre, FACE, sway=4) for centre in CENTRES[:faces]]
    return [shot.jpeg for shot in film(people, frames, Noise())]


def opened(server: Server) -> ClientConnection:
    """Open a stream."""
    return connect(f"{server.url.replace('http', 'ws', 1)}/stream", compression=None, legacy=True)


def cpu_per_frame(server: Server) -> list[dict[str, float]]:
    """Return the worker's CPU per frame, for 1 to 4 faces, with /predict and with /stream."""
    rows = []
    for faces in range(1, 5):
        jpegs = steady(faces)
        session = requests.Session()
        session.headers["Content-Type"] = "image/jpeg"
        with opened(server) as stream:

            def predict(jpeg: bytes, session: requests.Session = session) -> None:
                session.post(f"{server.url}/predict", jpeg, timeout=30)

            def ask(jpeg: bytes, stream: ClientConnection = stream) -> None:
                stream.send(jpeg)
                stream.recv(30)

            by_predict = cpu_of(server, predict, jpegs)
            by_stream = cpu_of(server, ask, jpegs)
        ratio = round(by_stream / by_predict, 3)
        rows.append(
            {"faces": faces, "predict_ms": by_predict, "stream_ms": by_stream, "ratio": ratio}
        )
        say(f"CPU per frame, {faces} faces: {rows[-1]}")
    return rows


def cpu_of(server: Server, ask: Callable[[bytes], None], jpegs: list[bytes]) -> float:
    """Return the worker's CPU milliseconds per frame, at ten frames per second."""
    for jpeg in jpegs[:10]:
        ask(jpeg)
    before, due = server.cpu_s(), time.monotonic()
    for jpeg in jpegs:
        ask(jpeg)
        due += 1 / FPS
        time.sleep(max(due - time.monotonic(), 0))
    return round((server.cpu_s() - before) / len(jpegs) * 1e3, 2)


def held(
    server: Server, counts: tuple[int, ...] = (2, 4, 8, 10, 12), seconds: float = 10
) -> list[dict[str, float]]:
    """Return the time from frame to answer for increasing numbers of streams of 10 frames/s."""
    films = [steady(1 + number % 2) for number in range(2)]
    rows = []
    for streams in counts:
        times: list[float] = []
        with ThreadPoolExecutor(streams) as pool:
            begin = time.monotonic() + 1
            starts = [begin + number / FPS / streams for number in range(streams)]
            cameras = [
                pool.submit(camera, server, films[number % 2], start, seconds, times)
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
    jpegs = steady(2)
    memory: list[tuple[float, float]] = []
    answered = [-1, 0]  # the newest answered frame, and the number dropped
    backlog, count, answers = 0, 0, 0
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
            stream.send(jpegs[count % len(jpegs)])
            count += 1
            due += 1 / 60
            backlog = max(backlog, count - 1 - answered[0])
            if count % 300 == 0:
                memory.append((round(due - begin, 1), round(server.worker_mib() * MIB / 1e6, 2)))
        time.sleep(2)
        last, dropped = answered
    reader.join()
    settled = [mb for at, mb in memory if at > minutes * 6]  # skips the first tenth
    return {
        "sent": count,
        "answered": answers,
        "dropped": dropped,
        "last_frame_answered": last == count - 1,
        "longest_backlog_frames": backlog,
        "memory_growth_mb": round(median(settled[-10:]) - median(settled[:10]), 2),
        "memory_mb": memory,
    }


def main() -> None:
    """Parse the command line, measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__)
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--minutes", type=float, default=10, help="of the flood (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="(%(default)s)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    file = options.output / "stream.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}

    def keep(name: str, measure: Callable[[], Any]) -> None:
        if name not in options.figures:
            return
        say(f"Measuring {name} ...")
        found[name] = measure()
        file.write_text(json.dumps(found, indent=1) + "\n")

    def both(comparison: tracks.Comparison) -> dict[str, dict[str, float]]:
        return {
            way: getattr(comparison, way).rates() | {"counts": asdict(getattr(comparison, way))}
            for way in ("frames", "tracks")
        }

    keep("steadiness", lambda: both(tracks.steadiness()))
    keep("movement", lambda: both(tracks.movement()))
    keep("delay", tracks.delays)
    if "delay" in options.figures:
        found["evidence"] = tracks.evidence()
    with running(LOG_LEVEL="warning") as server:
        keep("cpu", lambda: cpu_per_frame(server))
        keep("held", lambda: held(server))
        keep("flood", lambda: flood(server, options.minutes))
    file.write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "stream.md").write_text(table(found))
    plot(found, options.output / "stream.png")
    print(table(found), end="")


if __name__ == "__main__":
    main()
