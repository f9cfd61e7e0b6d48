"""Start servers, and measure the CPU time and memory of their processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 120
MIB = 2**20


class BenchError(RuntimeError):
    """Something that the benchmark needs is missing; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A running server: its URL, its first process and the seconds until it was ready."""

    name: str
    url: str
    process: psutil.Process
    start_s: float

    def processes(self) -> list[psutil.Process]:
        """Return the server's first process and all its descendants."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """Return the CPU seconds used by all its processes."""
        times = [process.cpu_times() for process in self.processes()]
        return float(sum(t.user + t.system for t in times))

    def worker_mib(self) -> float:
        """Return the resident memory of its largest process, in MiB."""
        return float(max(process.memory_info().rss for process in self.processes()) / MIB)

    def total_mib(self) -> float:
        """Return the resident memory of all its processes, in MiB, shared pages counted once."""
        return float(sum(process.memory_full_info().pss for process in self.processes()) / MIB)


# Each server's command and environment; all listen on 127.0.0.1 at $PORT.
GUNICORN = [sys.executable, "-m", "gunicorn"]
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "ours": ([*GUNICORN, "-c", "docker/gunicorn.conf.py"], {}),
    "ours fast": ([*GUNICORN, "-c", "docker/gunicorn.conf.py"], {"MODEL": "fast"}),
    "peer": ([*GUNICORN, "-c", "bench/gunicorn.py", "bench.peer:app"], {}),
    "empty": ([*GUNICORN, "-c", "bench/gunicorn.py", "bench.empty:app"], {}),
    "litserve": ([sys.executable, "-m", "bench.litserve_app"], {}),
    "bentoml": ([sys.executable, "-m", "bench.bentoml_app"], {}),
}


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(name: str, **environ: str) -> Iterator[Server]:
    """Run a server of COMMANDS until the block ends; raises BenchError if it does not start."""
    command, settings = COMMANDS[name]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {"PORT": str(port), "HOST": "127.0.0.1", "LOG_LEVEL": "warning"}
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 (one of our own commands)
            command,
            cwd=ROOT,
            env=os.environ | variables | settings | environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while not ready(url):
                if process.poll() is not None or time.monotonic() - began > START_TIMEOUT_S:
                    log.seek(0)
                    tail = log.read().decode(errors="replace")[-1500:]
                    raise BenchError(f"Server '{name}' does not start:\n{tail}")
                time.sleep(0.02)
            start_s = time.monotonic() - began
            yield Server(name, url, psutil.Process(process.pid), start_s)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server, and any of its processes that are left running."""
    everything = [psutil.Process(process.pid)] if process.poll() is None else []
    everything += [child for one in everything for child in one.children(recursive=True)]
    process.terminate()
    _, left = psutil.wait_procs(everything, timeout=10)
    for one in left:
        one.kill()
    process.wait()


def ready(url: str) -> bool:
    """Return whether a server is ready."""
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:  # not listening yet, or its workers are still loading
        return False


def tool(name: str) -> str:
    """Return the path of a program; raises BenchError if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise BenchError(f"'{name}' is not installed; on Debian run: apt-get install {name}")
    return path
