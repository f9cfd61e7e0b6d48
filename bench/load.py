"""Post a frame many times with `hey`, which sends an exact number of requests over HTTP/1.1.

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
from dataclasses import dataclass

import numpy as np

from bench.servers import BenchError, Server, tool

JSON_ONLY = {"litserve"}  # its workers get parsed JSON instead of bodies


@dataclass(frozen=True)
class Load:
    """The result of a run. Latencies are in ms, of answers with status 200."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # of all server processes, per request
    statuses: dict[str, int]


def post(
    server: Server, frame: bytes, requests: int, clients: int, rate: float | None = None
) -> Load:
    """Post a frame `requests` times from `clients` clients, each on one connection, and measure.

    rate: requests per second of all clients together; without limit if None.
    """
    requests = -(-requests // clients) * clients  # hey sends whole rounds
    body, kind = frame, "image/jpeg"
    if server.name in JSON_ONLY:
        body, kind = json.dumps({"image": b64encode(frame).decode()}).encode(), "application/json"
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = [tool("hey"), "-n", str(requests), "-c", str(clients), "-m", "POST", "-o", "csv"]
        command += [] if rate is None else ["-q", f"{rate / clients:.3f}"]
        command += ["-t", "120", "-T", kind, "-D", file.name, f"{server.url}/predict"]
        before = server.cpu_s()
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        used = server.cpu_s() - before
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if len(rows) != requests:
        raise BenchError(f"'{server.name}' answered only {len(rows)} of {requests} requests.")
    statuses: dict[str, int] = {}
    for row in rows:
        statuses[row["status-code"]] = statuses.get(row["status-code"], 0) + 1
    times = np.array([float(row["response-time"]) for row in rows if row["status-code"] == "200"])
    ends = [float(row["offset"]) + float(row["response-time"]) for row in rows]
    if not len(times):
        raise BenchError(f"'{server.name}' refused every request: {statuses}.")
    return Load(
        requests_s=len(times) / max(ends),
        p50_ms=float(np.quantile(times, 0.5)) * 1e3,
        p99_ms=float(np.quantile(times, 0.99)) * 1e3,
        cpu_ms=used / requests * 1e3,
        statuses=statuses,
    )
