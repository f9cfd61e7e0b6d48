"""Post frames many times with `hey`, which sends an exact number of requests over HTTP/1.1.

CPU time per request needs the exact number, with no requests cut off at the end. A load generator
that runs for a fixed time does not give it. hey is written in Go and uses little CPU itself.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import requests as http

from bench.servers import BenchError, Server, tool

JSON_ONLY = {"litserve"}  # its workers get parsed JSON instead of bodies

Answers = list[dict[str, str]]


@dataclass(frozen=True)
class Load:
    """The result of a run. Latencies are in ms, of answers with status 200.

    cpu_ms, main_ms, switches, faults: the server's servers.Usage per request.
    """

    requests_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    main_ms: float
    switches: float
    faults: float
    statuses: dict[str, int]


def post(
    server: Server, frames: Sequence[bytes], requests: int, clients: int, rate: float | None = None
) -> Load:
    """Post frames, one after the other, `requests` times in all, and measure.

    clients: each posts on one connection. rate: requests per second of all clients together;
    without limit if None.
    """
    each = -(-requests // (clients * len(frames))) * clients  # hey sends whole rounds
    before = server.usage()
    runs = [answers(server, frame, each, clients, rate) for frame in frames]
    used = server.usage().since(before)
    rows = [row for run in runs for row in run]
    statuses = dict(Counter(row["status-code"] for row in rows))
    times = np.array([float(row["response-time"]) for row in rows if row["status-code"] == "200"])
    if not len(times):
        raise BenchError(f"'{server.name}' refused every request: {statuses}.")
    lasted = sum(max(float(r["offset"]) + float(r["response-time"]) for r in run) for run in runs)
    return Load(
        requests_s=len(times) / lasted,
        p50_ms=float(np.quantile(times, 0.5)) * 1e3,
        p99_ms=float(np.quantile(times, 0.99)) * 1e3,
        cpu_ms=used.cpu_s / len(rows) * 1e3,
        main_ms=used.main_s / len(rows) * 1e3,
        switches=used.switches / len(rows),
        faults=used.faults / len(rows),
        statuses=statuses,
    )


def answers(
    server: Server, frame: bytes, requests: int, clients: int, rate: float | None
) -> Answers:
    """Post a frame with hey; returns a row of its CSV for each answer."""
    body, kind = sent(server, frame)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [tool("hey"), "-n", str(requests), "-c", str(clients), "-m", "POST", "-o", "csv"]
        command += [] if rate is None else ["-q", f"{rate / clients:.3f}"]
        command += ["-t", "120", "-T", kind, "-D", file.name, f"{server.url}/predict"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if len(rows) != requests:
        raise BenchError(f"'{server.name}' answered only {len(rows)} of {requests} requests.")
    return rows


def sent(server: Server, frame: bytes) -> tuple[bytes, str]:
    """Return the body, and its media type, with which a server takes a frame."""
    if server.name in JSON_ONLY:
        return json.dumps({"image": b64encode(frame).decode()}).encode(), "application/json"
    return frame, "image/jpeg"


def faces_found(server: Server, frames: Sequence[bytes]) -> float:
    """Return how many faces a server finds in a frame on average; 0 if it looks for none."""
    counts = []
    for frame in frames:
        body, kind = sent(server, frame)
        answer = http.post(
            f"{server.url}/predict", body, headers={"Content-Type": kind}, timeout=120
        )
        counts.append(len(answer.json().get("faces", [])))
    return sum(counts) / len(counts)
