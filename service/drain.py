"""Gunicorn's threaded worker, which at its stop loses nobody who has come in.

Gunicorn's own leaves its listening sockets open until it has finished what it works on. Whoever
connects meanwhile waits in their queue, for seconds, and is cut off at the end; a load balancer
takes the service for alive. Here they are closed at once, but not before all who are in the queue
have been let out of it.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from gunicorn.workers.gthread import ThreadWorker

# For whoever is in the middle of the handshake: a round trip on a network of some size.
HANDSHAKE_S = 0.05
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
# Classic BPF: code, jump if true, jump if false, operand.
NO_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags of the TCP header
        (0x45, 0, 1, 0x02),  # SYN: go on, else skip one
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep
    )
)


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """The worker."""

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 (gunicorn's)
        """Listen or not; where the worker has been told to stop, take who is there and close."""
        if self.alive:
            super().set_accept_enabled(enabled)
            return
        super().set_accept_enabled(False)
        for listener in self.sockets:
            refuse_newcomers(listener)
        waiting = selectors.DefaultSelector()
        for listener in self.sockets:
            listener.settimeout(0)
            waiting.register(listener, selectors.EVENT_READ)
        end = time.monotonic() + HANDSHAKE_S
        # After that time nobody new can be in the queue.
        while (ready := waiting.select(max(0, end - time.monotonic()))) or time.monotonic() < end:
            for key, _ in ready:
                self.accept(key.fileobj)
        waiting.close()
        for listener in self.sockets:
            if others_may_have(listener):
                welcome_newcomers(listener)
            # Else refused to the end: between an undoing and the close somebody could come in.
            listener.close()
        self.log.info("No longer listening; %d connections are finished", self.nr_conns)


def others_may_have(listener: socket.socket) -> bool:
    """Tell whether someone may go on listening on a socket, as the master does when it reloads.

    Other workers of the same master do not count: who stops them stops us, or the master has the
    socket too. True where the master cannot be looked at.
    """
    name, master = f"socket:[{os.fstat(listener.fileno()).st_ino}]", os.getppid()
    for process in [Path(f"/proc/{master}"), *Path("/proc").glob("[0-9]*")]:
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            files = [] if parent == master else [*(process / "fd").iterdir()]
            if any(str(each.readlink()) == name for each in files):
                return True
        except OSError:  # it has ended, or is another user's
            if process.name == str(master):
                return True
    return False


def refuse_newcomers(listener: socket.socket) -> None:
    """Let the kernel drop who begins a TCP handshake; whoever has begun one may end it.

    Who was dropped tries again after a second by itself, and is then refused. Only Linux can do
    this; elsewhere whoever connects in the last moment is cut off.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(NO_SYN, len(NO_SYN))
    count = len(NO_SYN) // struct.calcsize("HBBI")
    with suppress(OSError):  # a sandbox may forbid it
        filter_ = struct.pack("HP", count, ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)


def welcome_newcomers(listener: socket.socket) -> None:
    """Undo that, for the next one who listens on the same socket."""
    if sys.platform == "linux":
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
