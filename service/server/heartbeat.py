"""The worker's heartbeat file, kept in memory; gunicorn reads its time to see that it is alive.

Gunicorn's own heartbeat file is on disk. With it, no worker could start on a full disk, or on a
read-only one without /dev/shm.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gunicorn.workers.workertmp import WorkerTmp


class Heartbeat(WorkerTmp):  # type: ignore[misc]  # gunicorn has no types
    """The heartbeat file; on systems other than Linux it is gunicorn's own."""

    def __init__(self, cfg: Any) -> None:
        if sys.platform == "linux":
            self._tmp = os.fdopen(os.memfd_create("heartbeat"), "w+b", 0)
        else:
            super().__init__(cfg)
