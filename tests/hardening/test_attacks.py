"""Slow clients, attackers and overload, each for a few seconds; no times are asserted."""

from bench.hardening import attack, overload, slow


def test_slow_clients_are_closed_and_the_others_answered() -> None:
    rows = {row.goal: row for row in slow.run(seconds=6, sockets=50, client_timeout=2)}
    for goal in ("all normal requests are answered", "slow clients are closed"):
        assert rows[goal].met, rows[goal]
    assert rows["the worker is not replaced"].met


def test_attacks_are_refused() -> None:
    bombs = ["JPEG of 60,000 x 60,000", "PNG with a profile of 4 GB", "JPEG of endless scans"]
    for row in attack.run(bombs=bombs, guesses=15):
        assert row.met, row


def test_overload_is_refused_cleanly() -> None:
    rows = {row.goal: row for row in overload.run(seconds=4, times=5)}
    for goal in ("no other outcome", "the worker is not replaced"):
        assert rows[goal].met, rows[goal]
