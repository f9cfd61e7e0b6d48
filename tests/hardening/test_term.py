"""The service is told to stop, or to reload, while it is asked."""

import http.client
import os
import signal
import time

from tests.hardening.load import Outcome, ask
from tests.hardening.server import Server
from tests.hardening.term import run


def test_sigterm_under_load_loses_no_accepted_request() -> None:
    lost, exits, streams, _, readiness = run(times=2)  # the fourth row is a time
    assert [row for row in (lost, exits, streams, readiness) if not row.met] == []


def test_after_a_reload_the_next_worker_takes_new_connections() -> None:
    with Server() as server:
        before = server.worker()
        assert before is not None
        os.kill(server.process.pid, signal.SIGHUP)
        for _ in range(600):
            if not before.is_running():
                break
            time.sleep(0.05)
        assert not before.is_running()
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            assert ask(connection)[0] is Outcome.ANSWERED
            connection.close()
        after = server.worker()
        assert after is not None
        assert after.pid != before.pid
    assert server.process.returncode == 0
