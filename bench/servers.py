"""Start servers, and measure the CPU time and memory of their processes."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

import psutil
import requests

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
MIB = 2**20


class BenchError(RuntimeError):
    """Something that the benchmark needs is missing; the message says what to do."""


class Usage(NamedTuple):
    """What a server has used so far, all its processes together.

    cpu_s: CPU seconds. main_s: those of each process's first thread, which runs the event loop.
    switches: how often a thread waited. faults: pages of memory that the kernel had to provide.
    """

    cpu_s: float
    main_s: float
    switches: int
    faults: int

    def since(self, before: Usage) -> Usage:
        """Return what was used after `before`."""
        return Usage(
            self.cpu_s - before.cpu_s,
            self.main_s - before.main_s,
            self.switches - before.switches,
            self.faults - before.faults,
        )


@dataclass
class Server:
    """A running server: its URL, its first process, and the seconds until it was ready."""

    name: str
    url: str
    process: psutil.Popen
    log: BinaryIO
    start_s: float = 0.0
    _said: str = ""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return urlsplit(self.url).port or 0

    def said(self) -> str:
        """Return what it has logged so far, also after it has stopped."""
        if not self.log.closed:
            size = os.fstat(self.log.fileno()).st_size
            self._said = os.pread(self.log.fileno(), size, 0).decode(errors="replace")
        return self._said

    def worker(self) -> psutil.Process | None:
        """Return the process that answers requests; None while there is none."""
        return next(iter(self.process.children()), None)

    def processes(self) -> list[psutil.Process]:
        """Return the server's first process and all its descendants."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """Return the CPU seconds used by all its processes."""
        times = [process.cpu_times() for process in self.processes()]
        return float(sum(t.user + t.system for t in times))

    def usage(self) -> Usage:
        """Return what the server has used so far."""
        main_ns = switches = faults = 0
        for process in self.processes():
            folder = Path(f"/proc/{process.pid}")
            faults += int((folder / "stat").read_text().rpartition(")")[2].split()[7])
            main_ns += int((folder / f"task/{process.pid}/schedstat").read_text().split()[0])
            for thread in (folder / "task").iterdir():
                status = (thread / "status").read_text()
                switches += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        return Usage(self.cpu_s(), main_ns / 1e9, switches, faults)

    def worker_mib(self) -> float:
        """Return the resident memory of its largest process, in MiB."""
        return float(max(process.memory_info().rss for process in self.processes()) / MIB)

    def total_mib(self) -> float:
        """Return the resident memory of all its processes, in MiB, shared pages counted once."""
        return float(sum(process.memory_full_info().pss for process in self.processes()) / MIB)


# Each server's command and environment; all listen on 127.0.0.1 at $PORT.
GUNICORN = (sys.executable, "-m", "gunicorn")
OURS = (*GUNICORN, "-c", "docker/gunicorn.conf.py")
COMMANDS: dict[str, tuple[Sequence[str], dict[str, str]]] = {
    "ours": (OURS, {}),
    "ours fast": (OURS, {"MODEL": "fast"}),
    "peer": ((*GUNICORN, "-c", "bench/gunicorn.py", "bench.peer:app"), {}),
    "empty": ((*GUNICORN, "-c", "bench/gunicorn.py", "bench.empty:app"), {}),
    "litserve": ((sys.executable, "-m", "bench.litserve_app"), {}),
    "bentoml": ((sys.executable, "-m", "bench.bentoml_app"), {}),
}


def free_port() -> int:
    """Return a free port that the kernel gives to no other program for a minute.

    A closed connection leaves the port in TIME_WAIT. The kernel skips such ports when it chooses
    one, but a server with SO_REUSEADDR may still bind it by number.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            listener.accept()[0].close()  # closed first, so this port keeps TIME_WAIT
    return int(address[1])


@contextmanager
def running(
    name: str = "ours",
    *,
    command: Sequence[str] = (),
    folder: Path = ROOT,
    url: str = "",
    wait: bool = True,
    **environ: str,
) -> Iterator[Server]:
    """Run a server of COMMANDS until the block ends.

    command: replaces the usual one. folder: the working folder. url: the server's address, by
    default 127.0.0.1 at its port. wait: wait until it is ready; raises BenchError if it never is.
    environ: added to this process's environment; PORT is a free port unless given.
    """
    usual, settings = COMMANDS[name]
    port = environ.get("PORT") or str(free_port())
    variables = {"HOST": "127.0.0.1", "PORT": port} | settings | environ
    with tempfile.TemporaryFile() as log:  # an unread pipe would fill up and block the server
        began = time.monotonic()
        process = psutil.Popen(
            command or usual, cwd=folder, env=os.environ | variables, stdout=log, stderr=log
        )
        server = Server(name, url or f"http://127.0.0.1:{port}", process, log)
        try:
            if wait:
                wait_until_ready(server)
                server.start_s = time.monotonic() - began
            yield server
        finally:
            stop(process)
            server.said()  # keeps the text before the log is closed


def wait_until_ready(server: Server) -> None:
    """Wait until a server is ready; raises BenchError if it exits or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready(server.url):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"Server '{server.name}' does not start:\n{server.said()[-1500:]}")
        time.sleep(0.02)


def stop(process: psutil.Popen) -> None:
    """Stop a server, and any of its processes that are left running."""
    children = []
    with suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(children, timeout=10)
    for one in left:
        one.kill()


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
