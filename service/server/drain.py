"""Close the listeners without cutting off a client whose connection was accepted.

A connection whose handshake ends between the last accept() and the close would be reset. So the
kernel first drops new handshakes, and then the queue is emptied. Without this, 2 to 4 requests
were lost in 8 stops under load.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import gevent
from gevent.server import StreamServer

HANDSHAKE_S = 0.05  # for handshakes that have begun: one round trip on a wide-area network
ACCEPT_S = 0.005
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
# Classic BPF: code, jump if true, jump if false, operand.
NO_SYN = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags of the TCP header
        (0x45, 0, 1, 0x02),  # SYN: continue, otherwise skip one
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep
    )
)


def close_listeners(servers: Sequence[StreamServer]) -> None:
    """Hand all queued connections to the servers' handlers, then close the listeners."""
    for server in servers:
        server.stop_accepting()
        refuse_newcomers(server.socket)
    end = time.monotonic() + HANDSHAKE_S
    while time.monotonic() < end:  # after that no new connection can enter a queue
        for server in servers:
            accept_all(server)
        gevent.sleep(ACCEPT_S)
    shared = [others_may_have(server.socket) for server in servers]
    for server, stays in zip(servers, shared, strict=True):
        if stays:
            welcome_newcomers(server.socket)
        # Otherwise the filter stays. A container may forbid the filter, so nothing may come between
        # the last look into the queue and the close.
        accept_all(server)
        server.close()


def accept_all(server: StreamServer) -> None:
    """Hand every connection in a server's queue to its handler."""
    while (accepted := server.do_read()) is not None:
        server.do_handle(*accepted)


def others_may_have(listener: socket.socket) -> bool:
    """Return whether another process may still listen on a socket, as the master at a reload.

    Other workers of the same master do not count: they stop too, or the master has the socket as
    well. Returns True if the master cannot be inspected.
    """
    name, master = f"socket:[{os.fstat(listener.fileno()).st_ino}]", os.getppid()
    for process in [Path(f"/proc/{master}"), *Path("/proc").glob("[0-9]*")]:
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            files = [] if parent == master else [*(process / "fd").iterdir()]
            if any(str(each.readlink()) == name for each in files):
                return True
        except OSError:  # it has ended, or belongs to another user
            if process.name == str(master):
                return True
    return False


def refuse_newcomers(listener: socket.socket) -> None:
    """Make the kernel drop the first packet of new connections; begun handshakes can finish.

    Clients resend it after a second and are then refused. Only Linux supports this; on other
    systems a client that connects at the last moment is cut off.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(NO_SYN, len(NO_SYN))
    count = len(NO_SYN) // struct.calcsize("HBBI")
    with suppress(OSError):  # a sandbox may forbid it
        filter_ = struct.pack("HP", count, ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)


def welcome_newcomers(listener: socket.socket) -> None:
    """Undo refuse_newcomers() for the next process that listens on the same socket."""
    if sys.platform == "linux":
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
