"""A worker that is killed under load takes only its own requests along."""

from bench.hardening.kill import run


def test_a_retry_and_the_client_lose_nothing_when_the_worker_is_killed() -> None:
    *counts, _ = run(seconds=10, every_s=5, frames=600)  # the last row is a time
    assert [row for row in counts if not row.met] == []
