"""Run the real service for trials that stop it, kill its worker, or restrict its resources."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from bench.servers import ROOT, free_port, ready

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "docker/gunicorn.conf.py"]


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the service is ready; raises RuntimeError if it exits or takes too long."""
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the service stopped with exit code {process.returncode}")
        if ready(url):
            return
        time.sleep(0.1)
    raise RuntimeError("the service did not become ready")


class Server:
    """The service as `make serve` runs it, in a process that a trial may signal or kill.

    said: its output, after it has exited.
    """

    def __init__(
        self,
        *,
        prefix: Sequence[str] = (),
        wait: bool = True,
        folder: Path = ROOT,
        **environ: str,
    ) -> None:
        """Start the service.

        prefix: a command that runs the service, such as one that changes its environment.
        folder: the folder with the service's code.
        """
        self.port = int(environ.get("PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        self.said = ""
        self._wait = wait
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the exit)
        self.process = subprocess.Popen(  # noqa: S603 (our own command)
            [*prefix, *COMMAND],
            cwd=folder,
            env=os.environ | {"PORT": str(self.port), "HOST": "127.0.0.1"} | environ,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        try:
            if self._wait:
                wait_until_ready(self.url, self.process)
        except BaseException:
            self.__exit__(None, None, None)
            print(self.said)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.said = self.saying()
        self._log.close()

    def saying(self) -> str:
        """Return its output so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()

    def worker(self) -> psutil.Process | None:
        """Return the worker process; None if there is none at the moment."""
        children = psutil.Process(self.process.pid).children()
        return children[0] if children else None

    def refuses_after(self, patience_s: float = 30) -> float:
        """Return the seconds until a new connection is refused; infinite if none is."""
        begin = time.monotonic()
        while time.monotonic() < begin + patience_s:
            try:
                # Short timeout, because the kernel may drop the first packet of a late connection.
                socket.create_connection(("127.0.0.1", self.port), timeout=0.05).close()
            except ConnectionRefusedError:
                return time.monotonic() - begin
            except OSError:
                continue
            time.sleep(0.01)
        return float("inf")
