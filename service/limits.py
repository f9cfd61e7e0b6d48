"""How many frames a client may have answered per second."""

from __future__ import annotations

import ipaddress
import itertools
import math
import threading
import time

from werkzeug.exceptions import TooManyRequests

BURST_S = 2.0  # whoever was silent may send the frames of so many seconds at once


class RateLimit:
    """The generic cell rate algorithm (ITU-T I.371), which keeps one number per busy client.

    The clock is monotonic, and whoever has been silent for a burst is forgotten: no clock that
    jumps locks anybody out, and no flood of addresses fills the memory.
    """

    def __init__(self, per_second: float) -> None:
        """Allow so many frames per second and client; 0 allows all."""
        self._per_second = per_second
        self._interval = 1 / per_second if per_second else 0.0
        self._burst = max(BURST_S, self._interval)  # one frame always fits
        self._paid_until: dict[str, float] = {}  # in the order of the clients' last frames
        self._lock = threading.Lock()

    def take(self, client: str) -> None:
        """Count a frame of a client; raises TooManyRequests, which says when to come again."""
        if not self._per_second:
            return
        with self._lock:
            now = time.monotonic()
            paid_until = max(self._paid_until.get(client, now), now) + self._interval
            wait = paid_until - now - self._burst
            if wait <= 0:
                self._paid_until.pop(client, None)
                self._paid_until[client] = paid_until
                self._forget(now)
                return
        seconds = math.ceil(wait)
        raise TooManyRequests(
            f"More than {self._per_second:g} frames per second. Try again in {seconds} s.",
            retry_after=seconds,
        )

    def _forget(self, now: float) -> None:
        for client, paid_until in list(itertools.islice(self._paid_until.items(), 2)):
            if paid_until <= now:
                del self._paid_until[client]  # two for each that comes: they become fewer


def network_of(address: str | None) -> str:
    """Return an address as the limit counts it: of IPv6 the /64, which is one customer's."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:  # a Unix socket has none
        return address or ""
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip), 64), strict=False))
