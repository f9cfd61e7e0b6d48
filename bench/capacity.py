"""Calculate the tasks and cost for a number of cameras, and simulate the autoscaler.

Inputs are the service's measured CPU time per frame and the settings of the deployment. The
simulation uses the same scaling policies that `up` creates, on a step of load.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from deploy.config import Config
from deploy.errors import DeployError
from deploy.prices import AS_OF, HOURS, RATES, fixed_month, rates_of, task_month
from deploy.settings_file import load
from deploy.watching import IN_COOLDOWN_S, OUT_COOLDOWN_S

CAMERAS = (10, 100, 1000)
ZONES = 3
BALANCER_GB_H = 1.0  # GB per hour of one LCU, for targets that are IP addresses
MINUTE_S = 60
CPU_PERIOD_S = 20  # period of the high-resolution metric in the template
HIGH_PERIODS = 3  # periods above the target before target tracking adds tasks
LOW_S = 15 * MINUTE_S  # time below the target before target tracking removes tasks
LOW_SHARE = 0.9  # of the target: less counts as below
EXAMPLE = """example:
  python -m bench.capacity --cpu-ms-per-frame 28 --plot docs/autoscaler.png
"""


def per_vcpu(cpu_ms: float) -> float:
    """Return the frames per second that one vCPU can process."""
    return 1000 / cpu_ms


def tasks_needed(config: Config, frames_s: float, cpu_ms: float, *, requests: bool) -> int:
    """Return the number of tasks at which the autoscaler settles.

    requests: whether each frame is a request, which both policies see. Frames of a stream affect
    only the CPU policy.
    """
    capacity = config.cpu / 1024 * per_vcpu(cpu_ms) * config.target_cpu_percent / 100
    tasks = math.ceil(frames_s / capacity)
    if requests:
        tasks = max(tasks, math.ceil(frames_s * MINUTE_S / config.target_requests_per_minute))
    return max(tasks, config.min_tasks)


def balancer_month(region: str, frames_s: float, kb: float) -> float:
    """Return the monthly cost, in US dollars, of the load balancer's units beyond the first.

    Units are counted by bytes, which cost more than the few connections of cameras.
    """
    units = frames_s * kb * 1e3 * 3600 / 1e9 / BALANCER_GB_H
    return HOURS * rates_of(region).lcu * max(0.0, units - 1)


@dataclass(frozen=True)
class Load:
    """A step of load: requests per second before and after it, and CPU time per request."""

    before: float
    after: float
    step_s: int
    end_s: int
    length_s: int
    cpu_ms: float
    start_s: int

    def at(self, second: int) -> float:
        """Return the requests offered in the given second."""
        return self.after if self.step_s <= second < self.end_s else self.before


@dataclass(frozen=True)
class Second:
    """One second of the simulation: requests offered and answered, tasks running and desired."""

    offered: float
    answered: float
    running: int
    desired: int


@dataclass
class Metric:
    """The metric of one scaling policy: its target and the averages of its periods."""

    target: float
    period_s: int
    sum: float = 0.0
    values: list[float] = field(default_factory=list)

    def add(self, second: int, value: float) -> None:
        """Add the value of one second."""
        self.sum += value / self.period_s
        if (second + 1) % self.period_s == 0:
            self.values.append(self.sum)
            self.sum = 0.0

    def wants(self, second: int, running: int, desired: int) -> int:
        """Return the policy's desired tasks; CloudWatch knows each period one period late."""
        known = self.values[: (second + 1 - self.period_s) // self.period_s]
        high, low = known[-HIGH_PERIODS:], known[-(LOW_S // self.period_s) :]
        if len(high) == HIGH_PERIODS and min(high) > self.target:
            return max(desired, math.ceil(running * high[-1] / self.target))
        if len(low) == LOW_S // self.period_s and max(low) < LOW_SHARE * self.target:
            return math.ceil(running * low[-1] / self.target)
        return desired


def simulate(config: Config, step: Load, cpu_period_s: int = CPU_PERIOD_S) -> Iterator[Second]:
    """Simulate the autoscaler's two policies on a step of load, second by second.

    Each policy uses whole periods, one period late: CPU every 20 s, requests every minute. Three
    periods above the target add tasks in proportion; the policy with the higher result wins. A
    quarter of an hour below 90 % of the target removes tasks, if both policies agree. Requests that
    the tasks cannot answer are refused with 503 and still counted.
    """
    cpu = Metric(config.target_cpu_percent, cpu_period_s)
    requests = Metric(config.target_requests_per_minute, MINUTE_S)
    capacity = config.cpu / 1024 * per_vcpu(step.cpu_ms)
    desired = running = config.min_tasks
    starting: list[tuple[int, int]] = []  # (ready at, number of tasks)
    moved_s = -IN_COOLDOWN_S
    for second in range(step.length_s):
        for ready in [item for item in starting if item[0] <= second]:
            starting.remove(ready)
            running += ready[1]
        offered = step.at(second)
        answered = min(offered, running * capacity)
        cpu.add(second, 100 * answered / (running * capacity))
        requests.add(second, MINUTE_S * offered / running)
        wanted = max(metric.wants(second, running, desired) for metric in (cpu, requests))
        wanted = min(max(wanted, config.min_tasks), config.max_tasks)
        if wanted > desired and second - moved_s >= OUT_COOLDOWN_S:
            starting.append((second + step.start_s, wanted - desired))
            desired, moved_s = wanted, second
        elif wanted < desired and second - moved_s >= IN_COOLDOWN_S and not starting:
            desired = running = wanted
            moved_s = second
        yield Second(offered, answered, running, desired)


def plot(seconds: list[Second], path: Path) -> None:
    """Plot load, answers and tasks over time in minutes."""
    mpl.use("agg")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    rates, tasks = figure.subplots(2, sharex=True)
    minutes = [second / MINUTE_S for second in range(len(seconds))]
    rates.plot(minutes, [s.offered for s in seconds], label="offered", color="#b00020")
    rates.plot(minutes, [s.answered for s in seconds], label="answered", color="#006d77")
    rates.set_ylabel("requests/s")
    rates.legend()
    tasks.step(minutes, [s.desired for s in seconds], label="wanted", color="#999999")
    tasks.step(minutes, [s.running for s in seconds], label="ready", color="#006d77")
    tasks.set_ylabel("tasks")
    tasks.set_xlabel("minutes")
    tasks.legend()
    figure.savefig(path, dpi=110)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity",
        description="Calculate how many Fargate tasks cameras need and what they cost.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cpu-ms-per-frame", type=positive, required=True, help="measured CPU of a POST /predict")
    add("--cpu-ms-per-stream-frame", type=positive, help="the same in a stream (default: equal)")
    add("--fps", type=positive, default=5, help="frames per second per camera (%(default)g)")
    add("--kb-per-frame", type=positive, default=43, help="size of a frame (%(default)g)")
    add("--start-seconds", type=positive, default=75, help="start time of a new task (%(default)g)")
    add("--region", default="us-east-1", choices=sorted(RATES), help="AWS region (%(default)s)")
    add("--file", type=Path, default=Path("deploy.toml"), help="settings file (%(default)s)")
    add("--plot", type=Path, help="write a plot of the autoscaler on a step of load")
    return parser.parse_args(arguments)


def positive(text: str) -> float:
    """Parse a finite number above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def table(config: Config, options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the Markdown table of cameras."""
    modes = {
        "frames": options.cpu_ms_per_frame,
        "stream": options.cpu_ms_per_stream_frame or options.cpu_ms_per_frame,
    }
    yield "| cameras | mode | frames/s | tasks | tasks, $/month | load balancer and rest, $/month |"
    yield "|---|---|---|---|---|---|"
    fixed = sum(cost for _, cost in fixed_month(config, options.region, ZONES))
    for cameras in CAMERAS:
        for mode, cpu_ms in modes.items():
            frames_s = cameras * options.fps
            tasks = tasks_needed(config, frames_s, cpu_ms, requests=mode == "frames")
            dollars = tasks * task_month(config, options.region)
            rest = fixed + balancer_month(options.region, frames_s, options.kb_per_frame)
            yield (
                f"| {cameras:,} | {mode} | {frames_s:,.0f} | {tasks:,} "
                f"| {dollars:,.0f} | {rest:,.0f} |"
            )


def step_of(config: Config, options: argparse.Namespace) -> Load:
    """Return the step: from half of one task's target load to eight times that, and back."""
    one = config.target_requests_per_minute / MINUTE_S
    return Load(
        before=one / 2,
        after=4 * one,
        step_s=5 * MINUTE_S,
        end_s=35 * MINUTE_S,
        length_s=75 * MINUTE_S,
        cpu_ms=options.cpu_ms_per_frame,
        start_s=round(options.start_seconds),
    )


def report(config: Config, options: argparse.Namespace) -> Iterator[str]:
    """Yield the report's lines of Markdown."""
    rate = per_vcpu(options.cpu_ms_per_frame)
    yield (
        f"{rate:.1f} frames/s per vCPU at its limit ({options.cpu_ms_per_frame:g} ms of CPU each); "
        f"{options.fps:g} frames/s per camera, {options.kb_per_frame:g} KB each; tasks of "
        f"{config.cpu / 1024:g} vCPU and {config.memory / 1024:g} GB, {config.architecture}; "
        f"{options.region}, list prices of {AS_OF}"
    )
    yield ""
    yield from table(config, options)
    step = step_of(config, options)
    slow = list(simulate(config, step, MINUTE_S))
    seconds = list(simulate(config, step))
    lost = sum(s.offered - s.answered for s in seconds)
    behind = [n for n, s in enumerate(seconds) if s.answered < s.offered]
    after = f"for {(behind[-1] + 1 - step.step_s) / MINUTE_S:.1f} minutes" if behind else "never"
    yield ""
    yield (
        f"On a step from {step.before:g} to {step.after:g} requests/s the tasks are overloaded "
        f"{after}, {lost:,.0f} requests refused with 503 "
        f"({100 * lost / sum(s.offered for s in seconds):.1f} % of all); "
        f"{max(s.running for s in seconds)} tasks at most; with the CPU metric per minute "
        f"{sum(s.offered - s.answered for s in slow):,.0f} refused"
    )
    if options.plot:
        plot(seconds, options.plot)


def main(arguments: list[str] | None = None) -> int:
    """Print the report and return the exit code."""
    options = parse(arguments)
    try:
        for line in report(load(options.file, {}), options):
            print(line)
    except (DeployError, OSError) as error:
        print(f"python -m bench.capacity: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
