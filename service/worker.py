"""Gunicorn's threaded worker, whose threads wait for no client.

Gunicorn's own gives a thread to a connection that has sent nothing, the begin of a request, or half
of a body, for as long as the client likes, and to one that does not read its answer. Here the main
loop takes requests in, hands them to a thread when they are there as a whole, and sends what a
client has not read yet; so whoever is slow costs a socket and some memory. Both are bounded: the
connection that has been waited for the longest makes room for a new one.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import gunicorn.util
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from service import logs
from service.arrival import HEAD_BYTES, HeadTooLarge
from service.connection import Connection, Refused
from service.hang import WatchedWorker

RECEIVE_BYTES = 262_144
KEEP_BODIES = 8  # so many bodies of the largest size may be held for those who are slow
LINGER_S = 2.0  # for a client to read the answer before the connection is closed
SWEEP_S = 0.5
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class PatientWorker(WatchedWorker):
    """The worker; all but handle_request() runs in the thread of the main loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: dict[Connection, None] = {}  # for their clients, in no thread
        self.held = 0  # bytes of all connections
        self.swept = 0.0

    # From the client.

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, and what it has sent already."""
        if self.nr_conns >= self.worker_connections - 1:
            self.make_room()
        try:
            sock, client = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # too many open files, or the client is gone
            self.make_room()
            return
        self.nr_conns += 1
        most = self.config.MAX_BODY_BYTES
        conn = Connection(sock, client, listener.getsockname(), most)
        conn.deadline = conn.since + self.config.CLIENT_TIMEOUT
        self.receive(conn)

    def receive(self, conn: Connection) -> None:
        """Take in what a client sent."""
        try:
            data = conn.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            self.watch(conn, selectors.EVENT_READ, self.receive)
            return
        except OSError:
            data = b""
        if not data:
            self.drop(conn)
            return
        if not conn.inbox:  # a kept-alive connection begins its next request
            conn.since = time.monotonic()
            conn.deadline = conn.since + self.config.CLIENT_TIMEOUT
        conn.inbox.add(data)
        self.go_on(conn)

    def go_on(self, conn: Connection) -> None:
        """Hand a request that is there to a thread, or wait for the rest of it."""
        try:
            arrived = conn.inbox.arrived()
        except HeadTooLarge:
            conn.parser = Refused(LimitRequestHeaders(f"more than {HEAD_BYTES} bytes"))
            self.unwatch(conn)
            self.enqueue_req(conn)
            return
        self.hold(conn, len(conn.inbox))
        if arrived:
            self.unwatch(conn)
            conn.arrival = conn.inbox.take()
            conn.parser = RequestParser(self.cfg, conn.arrival.pieces, conn.client)
            self.enqueue_req(conn)
            return
        if conn.inbox.awaits_continue:
            conn.inbox.awaits_continue = False
            with suppress(OSError):
                conn.sock.sendall(CONTINUE)
        self.watch(conn, selectors.EVENT_READ, self.receive)
        self.make_memory()

    def handle_request(self, req: Request, conn: Connection) -> bool:
        """Answer a request, in a thread; whatever the answer, the client need not be waited for."""
        if not conn.arrival.oversized:
            conn.arrival.agree(req)
        else:
            req.force_close()
            # As if it had said beforehand that it is too long.
            framing = {"CONTENT-LENGTH", "TRANSFER-ENCODING"}
            req.headers = [each for each in req.headers if each[0] not in framing]
            req.headers.append(("CONTENT-LENGTH", str(self.config.MAX_BODY_BYTES + 1)))
        return bool(super().handle_request(req, conn))

    def _keepalive_after(self, _: Connection, keepalive: bool) -> bool:  # noqa: FBT001 (gunicorn's)
        """Keep what was said to be kept: gunicorn would close for a long body that nobody read."""
        return keepalive

    # To the client.

    def finish_request(self, conn: Connection, fs: Future[bool]) -> None:
        """Send the rest of an answer; gunicorn calls this when the thread has done."""
        conn.keep = not fs.cancelled() and not fs.exception() and fs.result()
        conn.since = time.monotonic()
        conn.deadline = conn.since + self.config.CLIENT_TIMEOUT
        try:
            conn.sock.settimeout(0)
        except OSError:
            self.drop(conn)
            return
        self.send(conn)

    def send(self, conn: Connection) -> None:
        """Send what the client has not read yet; after that comes its next request, or the end."""
        try:
            conn.sock.flush()
        except OSError:
            self.drop(conn)
            return
        self.hold(conn, len(conn.sock.unsent) + len(conn.inbox))
        if conn.sock.unsent:
            self.watch(conn, selectors.EVENT_WRITE, self.send)
            self.make_memory()
        elif not conn.keep:
            self.linger(conn)
        else:
            idle_s = self.cfg.keepalive if self.alive else LINGER_S
            conn.since = time.monotonic()
            conn.deadline = conn.since + (self.config.CLIENT_TIMEOUT if conn.inbox else idle_s)
            self.go_on(conn)

    def linger(self, conn: Connection) -> None:
        """Close a connection so that the client can still read the answer: RFC 9112, 9.6."""
        with suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        conn.keep = False
        conn.deadline = time.monotonic() + LINGER_S
        conn.inbox.clear()
        self.hold(conn, 0)
        self.watch(conn, selectors.EVENT_READ, self.discard)

    def discard(self, conn: Connection) -> None:
        """Read what nobody wants any more."""
        try:
            more = conn.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self.drop(conn)

    # Whoever is slow.

    def watch(self, conn: Connection, events: int, then: Callable[[Connection], None]) -> None:
        """Call a method when the client has sent, or read, something."""

        def call(_: object) -> None:
            if conn in self.waiting:  # else it was closed for another's sake a moment ago
                then(conn)

        if conn not in self.waiting:
            self.poller.register(conn.sock, events, call)
            self.waiting[conn] = None
        elif conn.events != events or then == self.discard:
            self.poller.modify(conn.sock, events, call)
        conn.events = events

    def unwatch(self, conn: Connection) -> None:
        """Wait for the client no more."""
        if conn in self.waiting:
            del self.waiting[conn]
            self.poller.unregister(conn.sock)

    def hold(self, conn: Connection, size: int) -> None:
        """Note how many bytes are kept for a connection."""
        self.held += size - conn.held
        conn.held = size

    def drop(self, conn: Connection) -> None:
        """Close a connection at once."""
        self.unwatch(conn)
        self.hold(conn, 0)
        self.nr_conns -= 1
        conn.sock.close()

    def give_up(self, conn: Connection) -> None:
        """Close a connection that was waited for long enough, with a word if it began to ask."""
        began = conn.keep and len(conn.inbox) and not conn.sock.unsent
        if not began:
            self.drop(conn)
            return
        self.wsgi.extensions["metrics"].refused.labels("slow").inc()
        waited = round(time.monotonic() - conn.since, 1)
        remote = conn.client[0] if isinstance(conn.client, tuple) else conn.client
        logs.event("request too slow", bytes_in=len(conn.inbox), s=waited, remote=remote)
        try:
            gunicorn.util.write_error(conn.sock, 408, "Request Timeout", "")
            conn.sock.settimeout(0)
        except OSError:
            self.drop(conn)
            return
        self.linger(conn)

    def make_room(self) -> None:
        """Close the connection that has been waited for the longest, if there is one."""
        if self.waiting:
            conn = min(self.waiting, key=lambda each: each.since)
            self.give_up(conn)
            if conn in self.waiting:
                self.drop(conn)

    def make_memory(self) -> None:
        """Close, of those for whom much is kept, the ones waited for the longest."""
        while self.held > KEEP_BODIES * self.config.MAX_BODY_BYTES:
            large = [conn for conn in self.waiting if conn.held > HEAD_BYTES]
            if not large:
                return
            self.give_up(min(large, key=lambda each: each.since))

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 (gunicorn's)
        """Close the connections whose time is over; gunicorn calls this in its every turn."""
        now = time.monotonic()
        if now - self.swept < SWEEP_S and not force:
            return
        self.swept = now
        for conn in list(self.waiting):
            if force:
                self.drop(conn)
            elif now >= conn.deadline:
                self.give_up(conn)
        self.look_at_frames()

    def _cap_keepalive(self, deadline: float) -> None:
        """Let no client hold up the stop; gunicorn calls this at its begin."""
        late = time.monotonic() + self.cfg.graceful_timeout / 2
        for conn in self.waiting:
            under_way = conn.inbox or conn.sock.unsent
            conn.deadline = min(conn.deadline, late if under_way else deadline)
