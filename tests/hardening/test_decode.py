"""No picture costs more than the limits, however it was made."""

from bench.hardening.bombs import BOMBS
from bench.hardening.decode import MOST_MB, run


def test_costly_pictures_are_refused_or_read_within_bounds() -> None:
    costs = {each.name: each for each in run(apart=False)}
    assert costs.keys() == BOMBS.keys()
    for each in costs.values():
        assert each.foreseen, each
        assert each.peak_mb <= MOST_MB, each
    for name in ("JPEG of endless scans of few pixels", "JPEG of endless empty comments"):
        assert costs[name].answer.startswith("The JPEG has over")
    for name in ("JPEG of 60,000 x 60,000", "JPEG of endless scans", "PNG of 1 x 50,000,000"):
        assert costs[name].answer.startswith("The picture has")
    for name in ("JPEG", "CMYK JPEG", "PNG"):
        read = [cost for each, cost in costs.items() if each.startswith(f"{name} of as many")]
        assert read
        assert all(cost.answer == "0 faces" for cost in read)
