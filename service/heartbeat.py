"""The file by whose time a worker shows gunicorn that it lives, kept in memory.

Gunicorn's own is made in a folder, so that no worker could start where the disk is full, or where
nothing may be written and there is no /dev/shm.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gunicorn.workers.workertmp import WorkerTmp


class Heartbeat(WorkerTmp):  # type: ignore[misc]  # gunicorn has no types
    """The file; elsewhere than on Linux gunicorn's own."""

    def __init__(self, cfg: Any) -> None:
        if sys.platform == "linux":
            self._tmp = os.fdopen(os.memfd_create("heartbeat"), "w+b", 0)
        else:
            super().__init__(cfg)
