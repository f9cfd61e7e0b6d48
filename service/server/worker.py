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
FULL = 0.95  # share of the connections; above it, each new one closes the slowest
CURRENT = local()  # a greenlet's connection
ENDED_S = 0.02  # how soon a stop notices the end of the last request


class HeadTimeout(gevent.Timeout):
    """The time limit on the next request's head; sends 408 if a request had started."""

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
    """The worker: greenlets handle requests, the pool's threads analyse frames."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = Config.from_environ(os.environ)
        self.connections: set[Connection] = set()
        self.stuck = False
        self.wsgi: Any = None  # until the service is loaded, which may fail
        self.stopping = Event()

    @property
    def services(self) -> Services:
        """The services of the loaded application."""
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
        """Start the stop, on SIGTERM."""
        super().handle_exit(sig, frame)
        if self.wsgi is not None:
            self.services.streams.stopping = True  # so that /readyz says so
        self.stopping.set()

    def finish(self, pool: Pool) -> None:
        """Wait for the accepted requests, for GRACEFUL_TIMEOUT at most.

        An idle kept-alive connection may be sending a request at this moment, so it is closed only
        after LINGER_S. A client that is slow with its request has half of GRACEFUL_TIMEOUT.
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
        """Serve one connection; if too many are open, close the slowest one."""
        connection = Connection(client, self.config.CLIENT_TIMEOUT)
        self.connections.add(connection)
        CURRENT.connection = connection
        if len(self.connections) > FULL * self.worker_connections:
            slow = [each for each in self.connections if each.waiting_since and not each.evicted]
            if slow:
                min(slow, key=lambda each: each.waiting_since or 0.0).evict(linger=False)
        try:
            # Gunicorn asks its first argument for an address; at a stop the listener is closed.
            super().handle(connection, connection, addr)
        finally:
            self.connections.discard(connection)
            connection.request = None  # a reference cycle would keep its buffers in memory

    def timeout_ctx(self) -> HeadTimeout:
        """Return the time limit on a request's head; gunicorn calls this before each request."""
        connection: Connection = CURRENT.connection
        first = connection.request is None
        seconds = self.config.CLIENT_TIMEOUT if first else self.cfg.keepalive
        return HeadTimeout(connection, seconds, self.services.metrics)

    def handle_request(self, listener_name: Any, req: Any, sock: Connection, addr: Any) -> None:
        """Answer a request."""
        sock.request = req
        gevent.sleep(0)  # let other clients run; pipelined requests would block the loop
        try:
            super().handle_request(listener_name, req, sock, addr)
        except StopIteration:  # the connection is to be closed
            # At a stop a container's network ends with its process, and would lose sent answers.
            if sock.lingers or not self.alive:
                sock.linger()
            raise

    def end_if_stuck(self) -> None:
        """End this worker if a frame hangs, so that gunicorn starts another.

        A frame hangs if its analysis takes longer than INFERENCE_TIMEOUT. Other frames are
        finished first, within GRACEFUL_TIMEOUT, if a slot is free; otherwise the waiting ones are
        refused. A native thread cannot be stopped, so the whole process ends.
        """
        pool = self.services.pool
        hung = pool.worked_on_longer_than(self.config.INFERENCE_TIMEOUT)
        if hung and not self.stuck:
            self.stuck = True
            self.alive = False
            self.log.critical(
                "%d of %d slots have analysed a frame for more than INFERENCE_TIMEOUT=%d s: "
                "this worker (pid: %d) ends, and another starts",
                *(hung, pool.slots, self.config.INFERENCE_TIMEOUT, self.pid),
            )
        if self.stuck and hung == pool.slots:
            pool.close()
        if self.stuck and len(self.connections) <= hung:
            self.leave()

    def leave(self) -> None:
        """End the process at once, without waiting for its threads."""
        self.log.info("Worker exits (pid: %s)", self.pid)
        sys.stderr.flush()
        os._exit(1)
