"""Send the worst inputs of every kind at once with 1 GiB of memory; nothing may be OOM-killed.

    python -m bench.hardening.siege --minutes 10

The memory limit is set by a separate memory cgroup (version 1, as root), or by a Docker container
if that is not possible. With the cgroup, each attacker has its own loopback address.
"""

from __future__ import annotations

import re
import select
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import SkipTest

from rich.progress import track

from bench.hardening.engine import build as build_image
from bench.hardening.engine import docker, lacking, logs
from bench.hardening.load import FRAME
from bench.hardening.recipes import LARGE, Sent, build, recipe_of
from bench.hardening.rows import Row, command
from bench.hardening.shortage import IMAGE, container, ready
from bench.hardening.wire import answers, connect, post
from bench.servers import OURS, free_port, running

LIMIT = 1 << 30
MB = 1_000_000
CGROUP = Path("/sys/fs/cgroup/memory")
# The service joins the cgroup and sees it at the path where a container sees its own.
JOIN = 'echo $$ >"$0/cgroup.procs" && mount --bind "$0" /sys/fs/cgroup/memory && exec "$@"'
BIG = "extra=COM extras=152 extra_bytes=65000"  # 9.9 MB of comments
# The inputs, and the number of clients that send each.
SENDERS: dict[str, tuple[str, int]] = {
    "haar": ("format=webp width=2560 height=2560 content=faces tile=24 detector=haar", 2),
    "annotated": (f"{LARGE} annotate=true", 3),
    "all faces": (f"{LARGE} min_confidence=0", 2),
    "PNG": ("format=png png=rgba width=7000 height=7000", 3),
    "deep PNG": ("format=png png=rgba16 width=4000 height=4000 annotate=true", 2),
    "nested JSON": ("way=json part=nested parts=1000000", 2),
    "JSON": ("way=json part_bytes=7400000", 4),
    "form": ("way=form part=file parts=1 part_bytes=9900000", 4),
}
STREAMS, SLOW = 16, 16
PAUSE_S = 0.2


@dataclass(frozen=True)
class Besieged:
    """A service with limited memory. read: reads a file of its cgroup. said: returns its log."""

    url: str
    read: Callable[[str], str]
    said: Callable[[], str]


@contextmanager
def in_cgroup(limit: int) -> Iterator[Besieged]:
    """Run the service in a memory cgroup of version 1."""
    folder = CGROUP / f"facemask-siege-{free_port()}"
    folder.mkdir()
    try:
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        with suppress(OSError):  # not available if swap accounting is off
            (folder / "memory.memsw.limit_in_bytes").write_text(str(limit))
        prefix = ("unshare", "--mount", "sh", "-c", JOIN, str(folder))
        with running(command=(*prefix, *OURS), LOG_LEVEL="error") as server:

            def read(name: str) -> str:
                return (folder / name).read_text() if (folder / name).exists() else ""

            yield Besieged(server.url, read, server.said)
    finally:
        for _ in range(50):
            with suppress(OSError):  # while a process in it is still exiting
                folder.rmdir()
                break
            time.sleep(0.1)


@contextmanager
def in_container(limit: int) -> Iterator[Besieged]:
    """Run the image with a memory limit; raises RuntimeError if it does not start."""
    build_image(IMAGE)
    options = ("--memory", str(limit), "--memory-swap", str(limit), "--env", "LOG_LEVEL=error")
    with container(*options) as (name, url):
        if not ready(name, url):
            raise RuntimeError(f"the container did not start: {logs(name)}")

        def read(file: str) -> str:
            command = f"cat /sys/fs/cgroup/{file} || cat /sys/fs/cgroup/memory/{file}"
            return docker("exec", name, "sh", "-c", command, check=False)

        yield Besieged(url, read, lambda: logs(name))


def limits_here() -> bool:
    """Return whether a process can be put into a cgroup of version 1 and see it as its own."""
    probe = ("unshare", "--mount", "mount", "--bind", str(CGROUP), str(CGROUP))
    with suppress(OSError):
        folder = CGROUP / f"facemask-probe-{free_port()}"
        folder.mkdir()
        folder.rmdir()
        tried = subprocess.run(probe, capture_output=True, check=False)  # noqa: S603 (our own command)
        return tried.returncode == 0
    return False


@contextmanager
def besieged(limit: int = LIMIT) -> Iterator[Besieged]:
    """Run the service with limited memory; skips if neither way works."""
    if limits_here():
        with in_cgroup(limit) as service:
            yield service
    elif reason := lacking():
        raise SkipTest(f"needs root and a memory cgroup of version 1, or Docker; Docker {reason}")
    else:
        with in_container(limit) as service:
            yield service


def figure(text: str, name: str = "") -> int:
    """Return the number after a name in the text of a cgroup file; 0 if there is none."""
    found = re.search(rf"^{name} ?(\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0


class Siege:
    """The attackers. statuses: number of answers by kind of input and status."""

    def __init__(self, url: str) -> None:
        self.statuses: Counter[str] = Counter()
        self._url = url
        self._stop = threading.Event()
        sent = {name: (build(recipe_of(text)), many) for name, (text, many) in SENDERS.items()}
        stream = build(recipe_of(f"way=stream {BIG}"))
        works: list[tuple[Callable[..., None], tuple[object, ...]]] = [
            *(
                (self._ask, (name, each))
                for name, (each, many) in sent.items()
                for _ in range(many)
            ),
            *((self._ask, ("honest", Sent((post(FRAME),)))) for _ in range(2)),
            *((self._stream, (stream,)) for _ in range(STREAMS)),
            *((self._slow, ()) for _ in range(SLOW)),
        ]
        self._threads = [
            threading.Thread(target=work, args=(self._source(n), *args), daemon=True)
            for n, (work, args) in enumerate(works)
        ]

    def begin(self) -> None:
        """Start all attackers."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop all attackers, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _source(self, number: int) -> str:
        return f"127.0.1.{number + 1}" if "//127.0.0.1:" in self._url else ""

    def _connect(self, source: str) -> socket.socket:
        return connect(self._url, timeout_s=120, source=source)

    def _count(self, name: str, status: int | str) -> None:
        self.statuses[f"{name} {status}"] += 1

    def _ask(self, source: str, name: str, sent: Sent) -> None:
        while not self._stop.wait(PAUSE_S):
            status: int | str = "closed"
            with suppress(OSError), self._connect(source) as sock:
                with suppress(OSError):  # may be refused before it is sent completely
                    sock.sendall(sent.parts[0])
                    sock.shutdown(socket.SHUT_WR)
                status = next((each.status for each in answers(sock)), "closed")
            self._count(name, status)

    def _stream(self, source: str, sent: Sent) -> None:
        """Send messages one after another, and read only in between."""
        while not self._stop.wait(PAUSE_S):
            with suppress(OSError), self._connect(source) as sock:
                sock.sendall(sent.parts[0])
                status = sock.recv(65536)[9:12].decode()
                self._count("stream", status or "closed")
                while status == "101" and not self._stop.is_set():
                    sock.sendall(sent.parts[-1])
                    if select.select([sock], [], [], 0)[0] and not sock.recv(65536):
                        break

    def _slow(self, source: str) -> None:
        """Send most of a body at once, and the rest slowly."""
        body = bytes(9_900_000)
        while not self._stop.wait(PAUSE_S):
            status = "closed"
            with suppress(OSError), self._connect(source) as sock:
                sock.sendall(post(body, f"Content-Length: {len(body) + 1000}"))
                while not self._stop.wait(PAUSE_S) and not select.select([sock], [], [], 0)[0]:
                    sock.sendall(b"x")
                status = sock.recv(65536)[9:12].decode() or "closed"
            self._count("slow body", status)


def run(minutes: float = 10.0) -> list[Row]:
    """Start a service and attack it; skips if memory cannot be limited."""
    with besieged() as service:
        siege = Siege(service.url)
        siege.begin()
        for _ in track(range(round(minutes * 60)), "Siege"):
            time.sleep(1)
        siege.end()
        last = "closed"
        with suppress(OSError), connect(service.url, timeout_s=120) as sock:
            sock.sendall(post(FRAME, "Connection: close"))
            last = str(next((each.status for each in answers(sock)), "closed"))
        v1, v2 = service.read("memory.oom_control"), service.read("memory.events")
        kills = figure(v1, "oom_kill") + figure(v2, "oom_kill")
        peak = max(
            figure(service.read(f"memory.{name}")) for name in ("max_usage_in_bytes", "peak")
        )
        ended = service.said().count("was sent SIG")
    test = f"worst inputs at once in {LIMIT / MB:.0f} MB, {minutes:g} minutes"
    statuses = ", ".join(f"{count} x {name}" for name, count in sorted(siege.statuses.items()))
    failed = [name for name in siege.statuses if name.endswith(" 500")]
    return [
        Row(test, "0 OOM kills", f"{kills}, peak {peak / MB:.0f} MB", not kills),
        Row(test, "the worker is never killed", f"{ended} times", not ended),
        Row(test, "no answer with status 500", statuses, not failed),
        Row(test, "an honest frame is answered afterwards", last, last == "200"),
    ]


if __name__ == "__main__":
    command(run, __doc__, "--minutes 1", minutes="duration")
