"""The service stops or reloads under load."""

import http.client
import os
import signal
import time

import pytest

from bench.hardening.load import Outcome, ask
from bench.hardening.term import once, run
from bench.servers import running
from tests.conftest import TIMEOUT_S, assert_clean

# Each setsockopt() takes longer than the second after which a refused client tries again.
SLOW_SETTINGS = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null")
SLOW_SETTINGS += ("-e", "trace=setsockopt", "-e", "inject=setsockopt:delay_exit=1500000")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the service as long to stop as a busy machine may need."""
    monkeypatch.setattr("bench.hardening.term.GRACE_S", TIMEOUT_S)


def test_sigterm_under_load_loses_no_accepted_request() -> None:
    lost, exits, streams, _, readiness = run(times=2)  # the fourth row is a duration
    assert [row for row in (lost, exits, streams, readiness) if not row.met] == []


@pytest.mark.usefixtures("strace")
def test_no_accepted_connection_is_cut_off_at_the_last_moment() -> None:
    stop = once(kept=2, fresh=8, streams=0, seconds=1, prefix=SLOW_SETTINGS)
    outcomes = stop["outcomes"]
    assert (outcomes["lost"], outcomes["failed"]) == (0, 0)
    assert outcomes["refused"] > 0
    assert stop["exit_code"] == 0


def test_after_a_reload_the_next_worker_takes_new_connections() -> None:
    with running() as server:
        before = server.worker()
        assert before is not None
        os.kill(server.process.pid, signal.SIGHUP)
        for _ in range(20 * TIMEOUT_S):
            if not before.is_running():
                break
            time.sleep(0.05)
        assert not before.is_running()
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
            assert ask(connection)[0] is Outcome.ANSWERED
            connection.close()
        after = server.worker()
        assert after is not None
        assert after.pid != before.pid
    assert_clean(server)
