"""The cost per month, from list prices of one date; without taxes, discounts and traffic.

us-east-1's rates for Fargate and public addresses are those published in March 2026. The other
regions' rates are list prices as far as known: look them up before you rely on a difference.
"""

from __future__ import annotations

from typing import NamedTuple

from deploy.config import Config

AS_OF = "2026-03"
HOURS = 730  # in a month
PUBLIC_ADDRESS_HOUR = 0.005
LOG_GB = 0.50
IMAGE_GB_MONTH = 0.10
ALARM_METRIC_MONTH = 0.10
ALARM_METRICS = 6
FAST_METRIC_MONTH = 0.30  # CPU every 20 s, a detailed metric
CLOUDFRONT_FREE = "1 TB and 10 million requests a month are free"
IMAGE_GB = 0.3  # the service's image as ECR stores it, compressed
SPOT_AT_BEST = 0.3  # share of the on-demand price


class Rates(NamedTuple):
    """US dollars per hour for a vCPU, a GB of memory, a load balancer and an LCU."""

    vcpu: float
    gb: float
    arm_vcpu: float
    arm_gb: float
    balancer: float
    lcu: float


RATES = {
    "us-east-1": Rates(0.04048, 0.004445, 0.03238, 0.00356, 0.0225, 0.008),
    "us-east-2": Rates(0.04048, 0.004445, 0.03238, 0.00356, 0.0225, 0.008),
    "us-west-2": Rates(0.04048, 0.004445, 0.03238, 0.00356, 0.0225, 0.008),
    "eu-west-1": Rates(0.04048, 0.004445, 0.03238, 0.00356, 0.0252, 0.008),
    "eu-central-1": Rates(0.04656, 0.00511, 0.03725, 0.00409, 0.0270, 0.008),
    "ap-northeast-1": Rates(0.05056, 0.00553, 0.04045, 0.00442, 0.0243, 0.008),
}


def rates_of(region: str) -> Rates:
    """Return the region's rates, or us-east-1's if the region is not in the table."""
    return RATES.get(region, RATES["us-east-1"])


def task_month(config: Config, region: str) -> float:
    """Return the cost of one task in US dollars per month, its public address included."""
    rates = rates_of(region)
    arm = config.architecture == "arm64"
    vcpu, gb = (rates.arm_vcpu, rates.arm_gb) if arm else (rates.vcpu, rates.gb)
    hour = config.cpu / 1024 * vcpu + config.memory / 1024 * gb
    return HOURS * (hour + (PUBLIC_ADDRESS_HOUR if config.public_ip else 0))


def fixed_month(config: Config, region: str, zones: int) -> list[tuple[str, float]]:
    """Return the monthly costs that do not depend on the number of tasks: name and US dollars."""
    rates = rates_of(region)
    addresses = zones if config.public_balancer else 0
    cloudfront = [(f"CloudFront: {CLOUDFRONT_FREE}", 0.0)]
    return [
        ("load balancer and its first capacity unit", HOURS * (rates.balancer + rates.lcu)),
        (
            f"public addresses of the load balancer, {addresses}",
            HOURS * addresses * PUBLIC_ADDRESS_HOUR,
        ),
        *(cloudfront if config.https == "cloudfront" else []),
        (f"alarms, {ALARM_METRICS} metrics", ALARM_METRICS * ALARM_METRIC_MONTH),
        ("CPU metric every 20 s", FAST_METRIC_MONTH),
        (f"images, up to {config.images_kept}", config.images_kept * IMAGE_GB * IMAGE_GB_MONTH),
        ("logs, 1 GB", LOG_GB),
    ]


def month(config: Config, region: str, zones: int) -> list[str]:
    """Return lines with the cost per month, for the fewest and for the most tasks."""
    fixed = fixed_month(config, region, zones)
    task = task_month(config, region)
    low, high = config.min_tasks * task, config.max_tasks * task
    total = sum(cost for _, cost in fixed)
    lines = [f"    {cost:8.2f}  {name}" for name, cost in fixed]
    size = f"{config.cpu / 1024:g} vCPU and {config.memory / 1024:g} GB, {config.architecture}"
    lines.append(f"    {low:8.2f}  {config.min_tasks} x {size}, {task:.2f} each")
    known = "" if region in RATES else f"; no prices for {region}, these are us-east-1's"
    if config.opening_hours:
        lines.append(f"    {config.opening_tasks} tasks at least {config.opening_hours}")
    few, many = low + total, high + total
    lines += [
        f"  {few:.2f} US dollars a month with the fewest tasks, {many:.2f} with {config.max_tasks}",
        f"  by list prices of {AS_OF}, without traffic{known}",
    ]
    if config.spot:
        spare = (config.max_tasks - 1) * task * (1 - SPOT_AT_BEST)
        lines.append(f"  Fargate Spot: up to {spare:.2f} less with {config.max_tasks} tasks")
    return lines
