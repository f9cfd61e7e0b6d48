"""Limits per client: the rate of frames, the rate of wrong keys, and the number of streams."""

from __future__ import annotations

import ipaddress
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import gevent
from websockets.frames import CloseCode
from werkzeug.exceptions import TooManyRequests

from service.hosts import MOST_CACHED, address_of
from service.inference import Overloaded
from service.server.websocket import WebSocket

BURST_S = 2.0  # after a pause, a client may send the frames of this many seconds at once


class RateLimit:
    """The generic cell rate algorithm (ITU-T I.371), which keeps one number per busy client.

    The clock is monotonic, so a clock change locks no client out. Clients that were silent for
    a burst are forgotten, so a flood of addresses does not fill the memory.
    """

    def __init__(
        self,
        per_second: float,
        burst_s: float = BURST_S,
        complaint: str = "More than {:g} frames per second.",
    ) -> None:
        """Set the events per second and client; 0 means no limit."""
        self._complaint = complaint.format(per_second)
        self._interval = 1 / per_second if per_second else 0.0
        self._burst = max(burst_s, self._interval)  # at least one event always fits
        self._paid_until: dict[str, float] = {}  # ordered by the clients' last event
        self._lock = threading.Lock()

    def take(self, client: str) -> None:
        """Count an event of a client; raises TooManyRequests with the seconds to wait."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            wait = self._wait(client, now)
            if wait <= 0:
                paid_until = max(self._paid_until.pop(client, now), now) + self._interval
                self._paid_until[client] = paid_until
                self._forget(now)
                return
        raise self._refusal(wait)

    def _wait(self, client: str, now: float) -> float:
        paid_until = max(self._paid_until.get(client, now), now) + self._interval
        return paid_until - now - self._burst

    def _refusal(self, wait: float) -> TooManyRequests:
        seconds = math.ceil(wait)
        return TooManyRequests(f"{self._complaint} Try again in {seconds} s.", retry_after=seconds)

    def _forget(self, now: float) -> None:
        for client, paid_until in list(itertools.islice(self._paid_until.items(), 2)):
            if paid_until <= now:
                del self._paid_until[client]  # up to two per new event, so the number shrinks


@lru_cache(MOST_CACHED)
def network_of(address: str | None) -> str:
    """Return an address as the limits count it: without a port, and for IPv6 its /64 network.

    Some proxies add a port, which differs for each connection. A /64 belongs to one customer.
    """
    ip = address_of(address or "")
    if ip is None:  # a Unix socket has no IP address
        return address or ""
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip), 64), strict=False))


class TooManyStreams(Overloaded):
    """The limit on open streams is reached; retry later, when one may have ended."""

    RETRY_AFTER_S = 5

    def __init__(self, message: str) -> None:
        super().__init__(message, "streams")


class Streams:
    """The open streams of this process, limited in total and per client."""

    def __init__(self, most: int, most_per_client: int) -> None:
        self.stopping = False
        self._most, self._most_per_client = most, most_per_client
        self._clients: Counter[str] = Counter()
        self._open: set[WebSocket] = set()

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Reserve a place for a client's stream; raises TooManyStreams."""
        if self.stopping or self._clients.total() >= self._most:
            raise TooManyStreams(
                "Too many streams are open. Try again later, or use POST /predict."
            )
        if self._clients[client] >= self._most_per_client:
            raise TooManyStreams(
                f"You have {self._most_per_client} streams open, the limit per client. "
                "Close one, or use POST /predict."
            )
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            self._clients += Counter()  # removes clients without a stream

    @contextmanager
    def opened(self, socket: WebSocket) -> Iterator[None]:
        """Register a stream so that a stop closes it; close it when the block ends."""
        self._open.add(socket)
        try:
            yield
        finally:
            self._open.discard(socket)
            socket.close(CloseCode.INTERNAL_ERROR)
            socket.join()

    def end(self) -> None:
        """Close all streams with code 1001 and accept no new ones."""
        self.stopping = True
        for socket in self._open:
            gevent.spawn(socket.close, CloseCode.GOING_AWAY, "the service is stopping")
