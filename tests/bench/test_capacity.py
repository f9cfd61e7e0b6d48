"""The capacity model: what cameras need and what the autoscaler does."""

from pathlib import Path

import pytest

from bench.capacity import Load, main, simulate, tasks_needed
from deploy.config import Config

CONFIG = Config(max_tasks=20, target_requests_per_minute=900)


def test_tasks_follow_frames_and_cpu() -> None:
    # 100 frames/s of 30 ms take 3 vCPU. At a target of 60 % that is 5 tasks.
    assert tasks_needed(CONFIG, 100, 30, requests=False) == 5
    # They are 6000 requests a minute, at 900 per task.
    assert tasks_needed(CONFIG, 100, 30, requests=True) == 7
    larger = Config(cpu=2048, memory=4096, target_requests_per_minute=10_000)
    assert tasks_needed(larger, 100, 30, requests=True) == 3
    assert tasks_needed(Config(min_tasks=2), 1, 30, requests=True) == 2


def test_the_autoscaler_catches_up_with_a_step_and_comes_back() -> None:
    step = Load(before=7.5, after=60, step_s=300, end_s=2400, length_s=5400, cpu_ms=28, start_s=75)
    seconds = list(simulate(CONFIG, step))
    assert seconds[299].desired == 1
    assert seconds[2399].answered == 60
    assert seconds[2399].running == 4  # 3600 requests a minute, 900 a task
    assert seconds[-1].running == 1
    first = next(n for n, s in enumerate(seconds) if s.desired > 1)
    assert 300 + 3 * 20 <= first <= 300 + 5 * 20  # three periods of CPU above the target
    ready = next(n for n, s in enumerate(seconds) if s.running > 1)
    assert ready == first + 75
    last = max(n for n, s in enumerate(seconds) if s.running > 1)
    assert last > 2400 + 15 * 60  # fifteen minutes below it


def test_cpu_every_20_seconds_refuses_less_than_every_minute() -> None:
    step = Load(before=7.5, after=60, step_s=300, end_s=2400, length_s=2400, cpu_ms=28, start_s=75)
    refused = [
        sum(s.offered - s.answered for s in simulate(CONFIG, step, period)) for period in (20, 60)
    ]
    assert refused[0] < 0.8 * refused[1]


def test_the_tasks_stay_within_their_bounds() -> None:
    step = Load(before=1, after=1000, step_s=60, end_s=3000, length_s=3000, cpu_ms=28, start_s=75)
    seconds = list(simulate(Config(min_tasks=2, max_tasks=5), step))
    assert (seconds[0].running, seconds[-1].running) == (2, 5)
    assert all(2 <= s.running <= 5 for s in seconds)
    assert seconds[-1].answered == pytest.approx(5 * 1000 / 28)


def test_the_command_prints_a_table_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.png"
    file = str(tmp_path / "none.toml")
    assert main(["--cpu-ms-per-frame", "28", "--plot", str(plot), "--file", file]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| stream |") == 3
    assert "| 1,000 | frames | 5,000 | 234 |" in printed
    assert plot.read_bytes().startswith(b"\x89PNG")
