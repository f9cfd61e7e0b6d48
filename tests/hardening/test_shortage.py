"""The service survives shortages or says what to do; some tests skip without Docker."""

import pytest

from bench.hardening.engine import build, lacking
from bench.hardening.shortage import (
    IMAGE,
    clock_jump,
    damaged_weights,
    full_log,
    port_in_use,
    short_memory,
    without_disk,
)


def test_a_port_in_use_and_damaged_weights_are_reported() -> None:
    assert [row for row in (*port_in_use(), *damaged_weights()) if not row.met] == []


def test_a_full_disk_under_the_log_is_survived() -> None:
    assert [row for row in full_log() if not row.met] == []


def test_a_jumping_clock_is_not_noticed() -> None:
    assert [row for row in clock_jump() if not row.met] == []


def test_no_disk_and_little_memory_are_survived_or_reported() -> None:
    if reason := lacking():
        pytest.skip(reason)
    build(IMAGE)
    assert [row for row in (*without_disk(), *short_memory(rounds=2)) if not row.met] == []
