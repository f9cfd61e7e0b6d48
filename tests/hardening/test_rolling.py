"""Two containers behind HAProxy are replaced under load; skips without Docker."""

from bench.hardening.rolling import run


def test_a_rolling_restart_fails_no_request() -> None:
    assert [row for row in run(rounds=1) if not row.met] == []
