"""Gunicorn's settings, derived from the service's."""

import ctypes
import errno
import os
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path

import gunicorn.workers.base
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from service import memory
from service.config import Config, ConfigError
from service.logs import settings
from service.server.heartbeat import Heartbeat

try:
    service = Config.from_environ(os.environ)
    memory_warning = memory.warning(service, memory.available())
except ConfigError as error:
    sys.exit(str(error))

# A core dump would contain frames. The limit does not stop a kernel that pipes dumps to a program,
# so the memory is excluded from them too.
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with suppress(OSError):
    Path("/proc/self/coredump_filter").write_text("0")

# By default the GNU C library gives each thread a heap and keeps as much freed memory as the
# largest frame so far needed: some 60 MB. Lower limits, or a single heap, cost CPU time.
M_ARENA_MAX, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -8, -1, -3
if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
    libc.mallopt(M_ARENA_MAX, 2)
    libc.mallopt(M_MMAP_THRESHOLD, 8_000_000)
    libc.mallopt(M_TRIM_THRESHOLD, 8_000_000)

wsgi_app = "service.app:from_environ()"
host = f"[{service.HOST}]" if ":" in service.HOST else service.HOST
ports = {"PORT": service.PORT, "METRICS_PORT": service.METRICS_PORT}
bind = [f"{host}:{port}" for port in ports.values() if port]
# One process with as many inference slots as cores. The runtimes release the GIL, and with several
# processes all keep-alive connections could end up on one of them.
workers = 1
worker_class = "service.server.worker.Worker"
# Each connection needs a file descriptor. If there are too many, the one that has been idle or slow
# for longest is closed.
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
files = min(most_files, 4096) if most_files != resource.RLIM_INFINITY else 4096
resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
worker_connections = min(1000, files - 100)
sendfile = False  # would wait for clients that read slowly
forwarder_headers = ""  # otherwise a SCRIPT_NAME header from the same host would be trusted
graceful_timeout = service.GRACEFUL_TIMEOUT
keepalive = 75
control_socket_disable = True  # would be written to the home folder
gunicorn.workers.base.WorkerTmp = Heartbeat
logconfig_dict = settings(service.LOG_FORMAT, service.LOG_LEVEL)


class QuietLogger(Logger):
    """Gunicorn's logger without its access log; service.logs writes a line for each request."""

    def access(self, *_: object) -> None:
        """Do nothing; gunicorn would collect all headers and variables for a line, then drop it."""


logger_class = QuietLogger


def on_starting(arbiter: Arbiter) -> None:
    """Warn about too little memory; raises SystemExit if HOST or a port cannot be used."""
    if memory_warning:
        arbiter.log.warning(memory_warning)
    if "GUNICORN_FD" in os.environ:  # takes over its predecessor's sockets
        return
    for name, port in ports.items():
        if not port:
            continue
        try:
            family = socket.getaddrinfo(service.HOST, port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((service.HOST, port))  # as gunicorn does
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not a host name"
            if getattr(error, "errno", None) in {errno.EADDRINUSE, errno.EACCES}:
                sys.exit(
                    f"The service cannot listen on HOST={service.HOST}, {name}={port}: {reason}. "
                    "Stop the other program, or set HOST, PORT or METRICS_PORT to other values."
                )
            sys.exit(
                f"The service cannot listen on HOST={service.HOST}: {reason}. Set HOST to an "
                "address of this machine: 127.0.0.1 or ::1, or 0.0.0.0 or :: for all of them."
            )


def worker_exit(_: Arbiter, worker: Worker) -> None:
    """Send the last spans after all requests are answered."""
    wsgi = getattr(worker, "wsgi", None)  # None if the worker could not be loaded
    if wsgi is not None and (traces := wsgi.extensions["services"].traces):
        traces.end()
