"""Stop the service with SIGTERM under load; accepted requests must be answered.

    python -m bench.hardening.term --times 20

Some clients keep their connections, some open a new one for each frame, some hold a stream, and one
polls /readyz on a kept connection. New connections must be refused at once.
"""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.progress import track
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bench.hardening.load import FRAME, Ask, Outcome, keep_asking
from bench.hardening.rows import Row, command
from bench.servers import OURS, running

GRACE_S = 20


def hold_stream(url: str, codes: list[int | None]) -> None:
    """Send frames over a stream until it is closed, and record the close code."""
    with connect(
        url.replace("http", "ws") + "/stream", compression=None, open_timeout=120
    ) as stream:
        try:
            while True:
                stream.send(FRAME)
                stream.recv(timeout=120)
        except ConnectionClosed as closed:
            codes.append(closed.rcvd.code if closed.rcvd else None)


def watch_readiness(port: int, told: list[tuple[int, str | None]], stop: threading.Event) -> None:
    """Poll /readyz on one connection, as a load balancer does, until it is closed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        while not stop.is_set():
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            answer.read()
            told.append((answer.status, answer.getheader("Connection")))
            if answer.getheader("Connection") == "close":
                return
            time.sleep(0.02)
    except (OSError, http.client.HTTPException):
        told.append((0, None))
    finally:
        connection.close()


def refused_after(port: int, patience_s: float = 30) -> float:
    """Return the seconds until a new connection is refused."""
    begin = time.monotonic()
    while time.monotonic() < begin + patience_s:
        try:
            # A short time-out: the kernel may drop the first packet of a late one.
            socket.create_connection(("127.0.0.1", port), timeout=0.05).close()
        except ConnectionRefusedError:
            return time.monotonic() - begin
        except OSError:
            continue
        time.sleep(0.01)
    return float("inf")


def once(
    kept: int, fresh: int, streams: int, seconds: float, prefix: Sequence[str] = ()
) -> dict[str, Any]:
    """Start the service, load it and stop it; returns the results. prefix: see Server."""
    outcomes: Counter[Outcome] = Counter()
    codes: list[int | None] = []
    told: list[tuple[int, str | None]] = []
    stop = threading.Event()
    with running(command=(*prefix, *OURS), GRACEFUL_TIMEOUT=str(GRACE_S)) as server:
        asks = [Ask(server.port, keep=True)] * kept + [Ask(server.port, keep=False)] * fresh
        threads = [
            threading.Thread(target=keep_asking, args=(ask, outcomes, stop), daemon=True)
            for ask in asks
        ]
        threads += [
            threading.Thread(target=hold_stream, args=(server.url, codes), daemon=True)
            for _ in range(streams)
        ]
        threads.append(
            threading.Thread(target=watch_readiness, args=(server.port, told, stop), daemon=True)
        )
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        ready = [told[-1]]
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        closed_after = refused_after(server.port)
        code = server.process.wait(GRACE_S + 10)
        took = time.monotonic() - begin
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join(120)
    return {
        "exit_code": code,
        "seconds": round(took, 2),
        "listener_closed_s": round(closed_after, 3),
        "outcomes": {outcome.name.lower(): outcomes[outcome] for outcome in Outcome},
        "stream_codes": codes,
        "readiness_before": ready[0],
        "readiness_last": told[-1],
        "killed": "SIGKILL" in server.said(),
        "stuck": sum(thread.is_alive() for thread in threads),
    }


def run(
    times: int = 20, kept: int = 6, fresh: int = 6, streams: int = 2, seconds: float = 1.5
) -> list[Row]:
    """Stop the service `times` times, each time after some seconds of load."""
    stops = [once(kept, fresh, streams, seconds) for _ in track(range(times), "SIGTERM")]
    total: Counter[str] = Counter()
    for each in stops:
        total.update(each["outcomes"])
    codes = [code for each in stops for code in each["stream_codes"]]
    answered, other = total["answered"] + total["busy"], total["failed"]
    slowest = max(each["seconds"] for each in stops)
    listening = max(each["listener_closed_s"] for each in stops)
    exits = Counter(each["exit_code"] for each in stops)
    not_ready = sum(each["readiness_last"] == (503, "close") for each in stops)
    name = f"SIGTERM under load, {times} times"
    return [
        Row(
            name,
            "0 accepted requests lost",
            f"{total['lost']} lost, {other} other failures, {answered} answered, "
            f"{total['refused']} refused at connection",
            total["lost"] == other == 0 and answered > 0,
        ),
        Row(
            name,
            f"exit code 0 within {GRACE_S} s",
            f"codes {dict(exits)}, slowest {slowest:.1f} s",
            exits == {0: times}
            and slowest < GRACE_S
            and not any(each["killed"] or each["stuck"] for each in stops),
        ),
        Row(
            name,
            "streams closed with 1001",
            f"{dict(Counter(codes))}",
            codes == [1001] * (times * streams),
        ),
        Row(
            name,
            "new connections refused within 0.5 s",
            f"at most {listening:.2f} s",
            listening < 0.5,
        ),
        Row(
            name,
            "/readyz on a kept connection: 503, Connection: close",
            f"{not_ready} of {times}",
            not_ready == times,
        ),
    ]


if __name__ == "__main__":
    command(run, __doc__, "--times 5", times="number of stops")
