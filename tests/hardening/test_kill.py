"""Killing a worker under load loses only the requests in that worker."""

from bench.hardening.kill import run


def test_a_retry_and_the_client_lose_nothing_when_the_worker_is_killed() -> None:
    *counts, _ = run(seconds=6, every_s=3, frames=300)  # the last row is a duration
    assert [row for row in counts if not row.met] == []
