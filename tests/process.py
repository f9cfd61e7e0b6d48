"""The processes of a service that a test has started."""

from urllib.parse import urlsplit

import psutil


def worker_of(url: str) -> psutil.Process:
    """Return the process that answers at an address; it must be below this one."""
    port = urlsplit(url).port
    for child in psutil.Process().children():
        listens = (
            each.status == psutil.CONN_LISTEN and each.laddr.port == port
            for each in child.net_connections("tcp")
        )
        if any(listens):
            (worker,) = child.children()
            return worker
    raise RuntimeError(f"no process of ours listens at {url}")
