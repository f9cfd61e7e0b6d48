"""The real service, with the durations for which its event loop was blocked at /bursts.

A duration is the CPU time of the loop's thread between two switches of greenlets. Wall-clock time
would include other processes.
"""

import time

import greenlet
from flask import Flask, jsonify
from gevent.hub import Hub

from service import app


def from_environ() -> Flask:
    watched = app.from_environ()
    bursts: list[float] = []
    last = time.thread_time()

    def note(_: str, switch: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
        nonlocal last
        now = time.thread_time()
        if not isinstance(switch[0], Hub):
            bursts.append((now - last) * 1e3)
        last = now

    @watched.get("/bursts")
    def take() -> object:
        taken = sorted(bursts)
        bursts.clear()
        return jsonify(taken)

    greenlet.settrace(note)
    return watched
