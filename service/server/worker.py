"""Gunicorn's gevent worker with limits on slow clients, and a stop that loses no request."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Literal, Self

import gevent
from gevent.event import Event
from gevent.local import local
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from service import errors, logs
from service.config import Config
from service.metrics import Metrics
from service.server.connection import LINGER_S, Connection
from service.server.drain import close_listeners
from service.services import Services, services_of

TICK_S = 0.25  # how soon a stop or a hung frame is noticed
FULL = 0.95  # of the connections; from then on the slowest is closed for each that comes
CURRENT = local()  # a greenlet's connection
ENDED_S = 0.02  # how soon the end of the last request is noticed at a stop


class HeadTimeout(gevent.Timeout):
    """The wait for the next request's head; a client that began one is told 408 at its end."""

    def __init__(self, connection: Connection, seconds: float, metrics: Metrics) -> None:
        super().__init__(seconds, False)  # type: ignore[arg-type]  # noqa: FBT003 (it is silent)
        self._connection = connection
        self._metrics = metrics
        self._received = connection.received

    def __enter__(self) -> Self:
        self._connection.waiting_since = time.monotonic()
        self._connection.idle_at = self._received
        self._connection.in_head = True
        super().__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[True] | None:
        timed_out = bool(super().__exit__(kind, error, trace))
        connection = self._connection
        connection.in_head = False
        began, connection.waiting_since = connection.waiting_since, None
        if (timed_out or connection.evicted) and connection.received > self._received:
            self._metrics.refused.labels("slow").inc()
            waited = round(time.monotonic() - (began or 0.0), 1)
            logs.event("request too slow", bytes_in=connection.received - self._received, s=waited)
            errors.refuse(connection, 408)
        return True if timed_out else None


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """The worker; requests are handled in greenlets, frames analysed in the pool's threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = Config.from_environ(os.environ)
        self.connections: set[Connection] = set()
        self.stuck = False
        self.wsgi: Any = None  # until the service is loaded, which may fail
        self.stopping = Event()

    @property
    def services(self) -> Services:
        """What the loaded application is made of."""
        return services_of(self.wsgi)

    def run(self) -> None:
        """Serve until told to stop, then finish what was accepted."""
        pool = Pool(self.worker_connections)
        servers = [
            StreamServer(listener, partial(self.handle, listener), spawn=pool)
            for listener in self.sockets
        ]
        for server in servers:
            server.start()
        while self.alive:
            self.notify()
            self.end_if_stuck()
            self.stopping.wait(TICK_S)
        close_listeners(servers)
        self.services.streams.end()
        self.finish(pool)
        if self.stuck:
            self.leave()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, on SIGTERM."""
        super().handle_exit(sig, frame)
        if self.wsgi is not None:
            self.services.streams.stopping = True  # so that /readyz says so
        self.stopping.set()

    def finish(self, pool: Pool) -> None:
        """Wait for the requests that were accepted, for GRACEFUL_TIMEOUT at most.

        A connection that is kept alive may have sent a request in the same moment, so it is closed
        only after LINGER_S; a client that is slow with a request has half of the time.
        """
        began = time.monotonic()
        while len(pool) and (spent := time.monotonic() - began) < self.cfg.graceful_timeout:
            for connection in self.connections:
                patience = LINGER_S if connection.idle else self.cfg.graceful_timeout / 2
                if connection.waiting_since is not None and spent > patience:
                    connection.evict()
            self.notify()
            self.end_if_stuck()
            gevent.sleep(ENDED_S)

    def handle(self, _: Any, client: Any, addr: Any) -> None:
        """Serve one connection; where there are too many, the slowest is closed for it."""
        connection = Connection(client, self.config.CLIENT_TIMEOUT)
        self.connections.add(connection)
        CURRENT.connection = connection
        if len(self.connections) > FULL * self.worker_connections:
            slow = [each for each in self.connections if each.waiting_since and not each.evicted]
            if slow:
                min(slow, key=lambda each: each.waiting_since or 0.0).evict(linger=False)
        try:
            # Gunicorn asks the listener for its address, and at a stop that is closed by now.
            super().handle(connection, connection, addr)
        finally:
            self.connections.discard(connection)
            connection.request = None  # in a cycle of references its buffers would stay

    def timeout_ctx(self) -> HeadTimeout:
        """Limit the wait for a request's head; gunicorn calls this before each."""
        connection: Connection = CURRENT.connection
        first = connection.request is None
        seconds = self.config.CLIENT_TIMEOUT if first else self.cfg.keepalive
        return HeadTimeout(connection, seconds, self.services.metrics)

    def handle_request(self, listener_name: Any, req: Any, sock: Connection, addr: Any) -> None:
        """Answer a request."""
        sock.request = req
        gevent.sleep(0)  # a client that sends many at once would keep the loop from all others
        try:
            super().handle_request(listener_name, req, sock, addr)
        except StopIteration:  # the connection is to be closed
            # At a stop a container's network goes with its process, and answers on their way too.
            if sock.lingers or not self.alive:
                sock.linger()
            raise

    def end_if_stuck(self) -> None:
        """End this worker if a frame is worked on for too long, so that gunicorn starts another.

        Other frames are finished first, within GRACEFUL_TIMEOUT, if a slot is left for them;
        otherwise those that wait are refused. Native threads cannot be ended, so the process is.
        """
        pool = self.services.pool
        hung = pool.worked_on_longer_than(self.config.INFERENCE_TIMEOUT)
        if hung and not self.stuck:
            self.stuck = True
            self.alive = False
            self.log.critical(
                "%d of %d slots have worked on a frame for more than INFERENCE_TIMEOUT=%d s: "
                "this worker (pid: %d) ends, and another starts",
                *(hung, pool.slots, self.config.INFERENCE_TIMEOUT, self.pid),
            )
        if self.stuck and hung == pool.slots:
            pool.close()
        if self.stuck and len(self.connections) <= hung:
            self.leave()

    def leave(self) -> None:
        """End the process, whatever its threads do."""
        self.log.info("Worker leaves (pid: %s)", self.pid)
        sys.stderr.flush()
        os._exit(1)
