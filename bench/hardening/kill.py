"""Kill the worker with kill -9 every few seconds under load; a retry must lose nothing.

    python -m bench.hardening.kill --seconds 120

HTTP clients send requests without pause and retry. The project's own client sends one film over
/stream and one over /predict. Every frame of each film must be answered once, in order.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil
from rich.progress import track

from bench.frames import portrait
from bench.hardening.load import Outcome, ask
from bench.hardening.rows import Row, command
from bench.servers import ROOT, Server, running

CLIENTS = 6
NOTICED_S = 2.0  # for clients to see that the old worker is gone
START_GOAL_S = 1.5  # .6 s for the new worker, and time for a busy machine


@dataclass
class Requests:
    """The HTTP clients' results. failed: times of failures. frames: sent; answered: of these."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    failed: list[float] = field(default_factory=list)
    frames: int = 0
    answered: int = 0


def film(path: Path, frames: int) -> Path:
    """Write a film of one person who moves in the first 60 frames and then stays still."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 15, (512, 512))
    picture = cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR)
    for number in range(frames):
        writer.write(np.roll(picture, min(number, 60), axis=1))
    writer.release()
    return path


def insist(port: int, seen: Requests, stop: threading.Event) -> None:
    """Send one frame after another, each until it is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while not stop.is_set():
        seen.frames += 1
        while True:
            outcome, keeps = ask(connection)
            if not keeps:
                connection.close()
            seen.outcomes[outcome] += 1
            if outcome is Outcome.ANSWERED:
                seen.answered += 1
                break
            seen.failed.append(time.monotonic())
            time.sleep(0.05)
    connection.close()


def start_client(server: Server, source: Path, folder: Path) -> subprocess.Popen[str]:
    """Start the project's client on a film."""
    name = source.stem
    command = [
        *(sys.executable, "-m", "client", "--url", server.url, "--source", str(source)),
        *("--no-window", "--answers", str(folder / f"{name}.answers")),
        *("--jsonl", str(folder / f"{name}.events")),
    ]
    return subprocess.Popen(  # noqa: S603 (the project's client)
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill(server: Server) -> float | None:
    """Kill the worker; returns the seconds until another answers, None after 30 seconds."""
    worker = server.worker()
    if worker is None:
        return None
    begin = time.monotonic()
    worker.kill()
    while time.monotonic() < begin + 30:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200 and psutil.pid_exists(server.process.pid):
                return time.monotonic() - begin
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
        finally:
            connection.close()
    return None


def whole(folder: Path, name: str, frames: int) -> tuple[bool, list[str]]:
    """Return whether each frame of a film was answered once and in order, and its events."""
    lines = (folder / f"{name}.answers").read_text().splitlines()
    events = (folder / f"{name}.events").read_text().splitlines()
    in_order = [json.loads(line)["frame"] for line in lines] == list(range(frames))
    return in_order, [json.loads(line)["event"] for line in events]


def run(seconds: float = 120, every_s: float = 5, frames: int = 2000) -> list[Row]:
    """Kill the worker every every_s seconds; frames: number of frames of each film."""
    seen, stop = Requests(), threading.Event()
    kills: list[float] = []
    restarts: list[float | None] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with running() as server, running(MAX_STREAMS="0") as streamless:
            servers = (server, streamless)
            names = ("stream", "predict")
            clients = [
                start_client(each, film(folder / f"{name}.mp4", frames), folder)
                for each, name in zip(servers, names, strict=True)
            ]
            threads = [
                threading.Thread(target=insist, args=(server.port, seen, stop), daemon=True)
                for _ in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            for _ in track(range(max(1, int(seconds / every_s))), "kill -9"):
                time.sleep(every_s)
                kills.append(time.monotonic())
                restarts.append(kill(server))
                kill(streamless)
            stop.set()
            for thread in threads:
                thread.join(120)
            ends = [client.communicate(timeout=600) for client in clients]
            unanswered = sum(thread.is_alive() for thread in threads)
        films = [whole(folder, name, frames) for name in names]
    name = f"kill -9 of the worker, {len(kills)} times under load"
    astray = [
        at
        for at in seen.failed
        if not any(
            0 <= at - begin <= (took or 30) + NOTICED_S
            for begin, took in zip(kills, restarts, strict=True)
        )
    ]
    per_kill = len(seen.failed) / len(kills)
    slowest = max(30.0 if took is None else took for took in restarts)
    middle = float(np.median([30.0 if took is None else took for took in restarts]))
    failed = {o.name.lower(): n for o, n in seen.outcomes.items() if o is not Outcome.ANSWERED}
    reconnected = [err.count("The service cannot be reached") for _, err in ends]
    return [
        Row(
            name,
            f"only requests in that worker fail: at most {CLIENTS} per kill, none at other times",
            f"{per_kill:.1f} per kill ({failed}), {len(astray)} at other times",
            not astray and per_kill <= CLIENTS and set(failed) <= {"lost"},
        ),
        Row(
            name,
            "every frame is answered after retries",
            f"{seen.answered} of {seen.frames} frames",
            seen.answered == seen.frames > 0 and unanswered == 0,
        ),
        Row(
            name,
            "the client loses no frame and no event, over /stream and over /predict",
            f"{[len(events) for _, events in films]} events, films complete: "
            f"{[in_order for in_order, _ in films]}, reconnected {reconnected} times",
            all(
                in_order and "no_mask_confirmed" in events and events[-1] == "last_seen"
                for in_order, events in films
            )
            and all(client.returncode == 0 for client in clients),
        ),
        Row(
            name,
            f"the new worker answers within {START_GOAL_S} s",
            f"median {middle:.2f} s, slowest {slowest:.2f} s",
            slowest <= START_GOAL_S,
        ),
    ]


if __name__ == "__main__":
    command(
        run,
        __doc__,
        "--seconds 30 --frames 500",
        seconds="duration",
        every_s="seconds between kills",
        frames="frames per film",
    )
