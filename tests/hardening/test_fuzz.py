"""Fuzzed input neither crashes a worker nor gets an undocumented answer."""

from pathlib import Path

from bench.hardening.fuzz import run


def test_spoilt_input_is_answered_or_refused(tmp_path: Path) -> None:
    found = run(inputs=1500, folder=tmp_path)
    assert found.inputs == 1500
    assert not found.faults
    assert not found.hangs
    assert found.crashes == 0
    assert found.unforeseen == 0
    assert {"200", "400", "404", "415", "422"} <= found.statuses.keys()
