"""Connect two hundred slow clients; normal clients must be served nearly as fast as without them.

    python -m bench.hardening.slow --seconds 60

There are five kinds. They send headers byte by byte, send a body byte by byte, send chunks without
end, send nothing, or do not read the answers. A slow client reconnects when it is closed.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter

import numpy as np

from bench.hardening.load import Outcome, ask, together
from bench.hardening.rows import Row, command
from bench.hardening.wire import connect, get, post
from bench.servers import running

SOCKETS = 200
PAUSE_S = 0.25  # between two bytes of a slow client
GOAL = 2.0  # multiple of the p99 without slow clients
CHUNK = b"1\r\nx\r\n"

# What each kind sends first, and then repeatedly.
KINDS: dict[str, tuple[bytes, bytes]] = {
    "slow head": (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"x"),
    "slow body": (post(b"", "Content-Length: 1000000"), b"x"),
    "endless chunks": (post(b"", "Transfer-Encoding: chunked"), CHUNK),
    "silent": (b"", b""),
    "does not read": (get("/openapi.json") * 20, b""),
}


class Slow:
    """A slow client that reconnects when it is closed."""

    def __init__(self, url: str, kind: str) -> None:
        self.closed = 0
        self._url = url
        self._first, self._again = KINDS[kind]
        self._reads = kind != "does not read"
        self._sock = self._begin()

    def _begin(self) -> socket.socket:
        sock = connect(self._url, receive_bytes=None if self._reads else 4096)
        sock.sendall(self._first)
        sock.settimeout(0)
        return sock

    def go_on(self) -> None:
        """Send a little more."""
        try:
            if self._again:
                self._sock.send(self._again)
            flags = 0 if self._reads else socket.MSG_PEEK
            ended = self._reads and not self._sock.recv(4096, flags)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self.closed += 1
            self._sock.close()
            try:
                self._sock = self._begin()
            except OSError:  # possibly while the service makes room; retried the next time
                return

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


def paced(
    port: int, seconds: float, clients: int, pause_s: float
) -> tuple[list[float], Counter[str]]:
    """Send requests from normal clients; returns the ms of each answer, and the outcomes."""
    took: list[float] = []
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            begin = time.monotonic()
            outcome, keeps = ask(connection)
            outcomes[outcome.name.lower()] += 1
            if outcome is Outcome.ANSWERED:
                took.append((time.monotonic() - begin) * 1e3)
            if not keeps:
                connection.close()
            time.sleep(pause_s)
        connection.close()

    together([work] * clients)
    return took, outcomes


def keep_slow(slow: list[Slow], stop: threading.Event) -> None:
    """Keep the slow clients sending until told to stop."""
    while not stop.wait(PAUSE_S):
        for each in slow:
            each.go_on()


def run(seconds: float = 60, sockets: int = SOCKETS, client_timeout: int = 5) -> list[Row]:
    """Measure normal clients for half of the time alone, and for half with slow clients."""
    kinds = list(KINDS)
    stop = threading.Event()
    with running(CLIENT_TIMEOUT=str(client_timeout), LOG_LEVEL="error") as server:
        worker = server.worker()
        paced(server.port, 1, 2, 0.05)  # warm-up
        alone, _ = paced(server.port, seconds / 2, 2, 0.05)
        slow = [Slow(server.url, kinds[n % len(kinds)]) for n in range(sockets)]
        keeper = threading.Thread(target=keep_slow, args=(slow, stop), daemon=True)
        keeper.start()
        beside, outcomes = paced(server.port, seconds / 2, 2, 0.05)
        end = time.monotonic() + client_timeout + 60
        while not any(each.closed for each in slow) and time.monotonic() < end:
            time.sleep(0.1)
        stop.set()
        keeper.join()
        closed = sum(each.closed for each in slow)
        for each in slow:
            each.close()
        same = worker is not None and server.worker() == worker
    test = f"{sockets} slow sockets of {len(kinds)} kinds, {seconds:g} s"
    other = {name: count for name, count in outcomes.items() if name != "answered"}
    p99 = [float(np.quantile(each, 0.99)) if each else float("inf") for each in (alone, beside)]
    return [
        Row(
            test,
            "all normal requests are answered",
            f"{outcomes['answered']} answered, others {other or 'none'}",
            outcomes["answered"] > 0 and not other,
        ),
        Row(
            test,
            f"normal clients' p99 <= {GOAL:g} x that without slow clients",
            f"{p99[0]:.0f} -> {p99[1]:.0f} ms, x {p99[1] / p99[0]:.2f}",
            p99[1] <= GOAL * p99[0],
        ),
        Row(test, "slow clients are closed", f"{closed} times", closed > 0),
        Row(test, "the worker is not replaced", "yes" if same else "no", same),
    ]


if __name__ == "__main__":
    command(run, __doc__, "--seconds 20", seconds="half without them", sockets="slow clients")
