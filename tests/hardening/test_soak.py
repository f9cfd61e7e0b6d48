"""Threads, files and memory do not grow over 1,000 good and bad requests."""

from bench.hardening.soak import run


def test_nothing_grows_over_1000_requests() -> None:
    soaked = run(requests_=1000, seconds=3600, look_s=1)
    assert not soaked.failures
    assert soaked.requests == 1000
    assert soaked.before is not None
    assert soaked.after is not None
    assert soaked.after.descriptors <= soaked.before.descriptors
    assert soaked.after.threads <= soaked.before.threads
    assert soaked.growth_mb() < 60  # heaps still settle; a leaked frame per request would be 400
