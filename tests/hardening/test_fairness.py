"""Honest clients are answered beside one that sends costly inputs; no times are asserted."""

from pathlib import Path

from bench.hardening.fairness import run


def test_honest_clients_are_answered_beside_one_that_sends_dear_inputs(tmp_path: Path) -> None:
    rows = run(seconds=20, found=tmp_path / "none.json")
    answered = [row for row in rows if row.goal == "all honest requests are answered"]
    assert len(answered) == 2
    assert [row for row in answered if not row.met] == []
