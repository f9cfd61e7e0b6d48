"""Post a frame many times by `hey`, which sends an exact number of requests over HTTP/1.1.

That number is why hey and not a generator that runs for a time: CPU time per request needs it, with
no requests cut off at the end. It is written in Go and takes little of the cores that it shares.
"""

from __future__ import annotations

import csv
import io
import subprocess
import tempfile
from dataclasses import dataclass

import numpy as np

from bench.servers import BenchError, Server, tool


@dataclass(frozen=True)
class Load:
    """What a run of requests took. Latencies in ms, of the answers with status 200."""

    requests_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # of all server processes, per request
    statuses: dict[str, int]


def post(server: Server, frame: bytes, requests: int, clients: int) -> Load:
    """Post a frame so many times from so many clients, each on one connection, and measure."""
    requests = -(-requests // clients) * clients  # hey sends whole rounds
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(frame)
        file.flush()
        command = [tool("hey"), "-n", str(requests), "-c", str(clients), "-m", "POST", "-o", "csv"]
        command += ["-t", "120", "-T", "image/jpeg", "-D", file.name, f"{server.url}/predict"]
        before = server.cpu_s()
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        used = server.cpu_s() - before
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if len(rows) != requests:
        raise BenchError(f"'{server.name}' answered {len(rows)} of {requests} requests.")
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
