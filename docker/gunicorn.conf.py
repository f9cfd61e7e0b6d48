"""Gunicorn's settings, made of the service's own."""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from service.config import Config, ConfigError
from service.logs import settings
from service.worker import PatientWorker

try:
    service = Config.from_environ(os.environ)
except ConfigError as error:
    sys.exit(str(error))

# The GNU C library would give each thread a heap of its own, and each keeps what frames have freed.
M_ARENA_MAX = -8
if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
    libc.mallopt(M_ARENA_MAX, 2)

wsgi_app = "service.app:from_environ()"
ports = (service.PORT, service.METRICS_PORT) if service.METRICS_PORT else (service.PORT,)
bind = [f"{service.HOST}:{port}" for port in ports]
# One process with as many inference slots as cores: the runtimes release the GIL, and keep-alive
# connections cannot all land on one of several processes. The spare threads answer health checks.
workers = 1
worker_class = PatientWorker
threads = service.INFERENCE_SLOTS + service.QUEUE_SIZE + service.MAX_STREAMS + 4
# Connections, of which each needs a file descriptor; beyond them the oldest that is idle or slow
# makes room.
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
files = min(most_files, 4096) if most_files != resource.RLIM_INFINITY else 4096
resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
worker_connections = max(threads + 16, min(1000, files - 100))
sendfile = False  # it would wait for a client that reads slowly
forwarder_headers = ""  # SCRIPT_NAME as a header would be believed from a proxy on the same host
graceful_timeout = service.GRACEFUL_TIMEOUT
keepalive = 75
control_socket_disable = True  # it would be written to the home folder
logconfig_dict = settings(service.LOG_FORMAT, service.LOG_LEVEL)
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (its heartbeat)


def post_worker_init(worker: Worker) -> None:
    """Let SIGTERM end the streams, for which a worker would otherwise wait in vain."""
    stop = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        worker.wsgi.extensions["streams"].end()
        stop(number, frame)

    signal.signal(signal.SIGTERM, end)


def worker_int(worker: Worker) -> None:
    """Let Ctrl-C end them too, if it comes after the start."""
    if worker.wsgi is not None:
        worker.wsgi.extensions["streams"].end()


def worker_exit(_: Arbiter, worker: Worker) -> None:
    """Send the last spans, when all requests are answered."""
    if worker.wsgi is not None and (traces := worker.wsgi.extensions.get("traces")):
        traces.end()
