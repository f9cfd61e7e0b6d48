"""The confined container works without any network; skips without Docker."""

from bench.hardening.container import run


def test_the_confined_container_works_without_a_way_out() -> None:
    assert [row for row in run(frames=20) if not row.met] == []
