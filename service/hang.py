"""Gunicorn's threaded worker, ended when a frame hangs, which nothing else would notice."""

from __future__ import annotations

import os
import sys
from typing import Any

from service.config import Config
from service.drain import DrainingWorker


class WatchedWorker(DrainingWorker):
    """The worker; who overrides its main loop calls look_at_frames() in every turn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = Config.from_environ(os.environ)
        self.stuck = False
        self.wsgi: Any = None  # until the service is loaded, which may fail

    def run(self) -> None:
        """Serve until told to stop; a process with a stuck thread would never end by itself."""
        super().run()
        if self.stuck:
            self.leave()

    def look_at_frames(self) -> None:
        """End this worker if a frame is worked on for too long, so that gunicorn starts another.

        Other frames are finished first, within GRACEFUL_TIMEOUT, if there is a slot left for them;
        where there is none, who waits is told to come again.
        """
        pool = self.wsgi.extensions["pool"]
        hung = pool.worked_on_longer_than(self.config.INFERENCE_TIMEOUT)
        if hung and not self.stuck:
            self.stuck = True
            self.log.critical(
                "%d of %d slots have worked on a frame for more than INFERENCE_TIMEOUT=%d s: "
                "this worker (pid: %d) ends, and another starts",
                *(hung, pool.slots, self.config.INFERENCE_TIMEOUT, self.pid),
            )
            self.wsgi.extensions["streams"].end()
            self.alive = False
        if self.stuck and hung == pool.slots:
            pool.close()
        if self.stuck and self.nr_conns <= hung:
            self.leave()

    def leave(self) -> None:
        """End the process, whatever its threads do."""
        self.log.info("Worker leaves (pid: %s)", self.pid)
        sys.stderr.flush()
        os._exit(1)
