"""The file by whose time a worker shows gunicorn that it is alive, kept in memory.

Gunicorn makes its own in a folder, so no worker could start where the disk is full, or where
nothing may be written and there is no /dev/shm.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gunicorn.workers.workertmp import WorkerTmp


class Heartbeat(WorkerTmp):  # type: ignore[misc]  # gunicorn has no types
    """The file; elsewhere than on Linux it is gunicorn's own."""

    def __init__(self, cfg: Any) -> None:
        if sys.platform == "linux":
            self._tmp = os.fdopen(os.memfd_create("heartbeat"), "w+b", 0)
        else:
            super().__init__(cfg)
