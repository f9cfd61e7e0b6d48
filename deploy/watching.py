"""The autoscaler and the alarms."""

from __future__ import annotations

from typing import Any

from deploy.config import Config
from deploy.document import Document, att, pairs, ref, resource, sub

OUT_COOLDOWN_S, IN_COOLDOWN_S = 60, 300
CPU_METRIC = "ECSServiceAverageCPUUtilizationHighResolution"  # every 20 s


def resources(config: Config) -> Document:
    """Describe the autoscaler and the alarms."""
    label = sub("${Balancer.LoadBalancerFullName}/${TargetGroup.TargetGroupFullName}")
    cpu = {"PredefinedMetricType": CPU_METRIC}
    requests = {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label}
    return {
        "ScalableTarget": scalable_target(config),
        "CpuScaling": scaling(f"{config.name}-cpu", cpu, config.target_cpu_percent),
        "RequestScaling": scaling(
            f"{config.name}-requests", requests, config.target_requests_per_minute
        ),
        "ErrorAlarm": error_alarm(config),
        "SlowAlarm": alarm(
            config,
            "p99",
            "The slowest 1 % of the answers take too long.",
            **metric("TargetResponseTime"),
            Period=60,
            ExtendedStatistic="p99",
            Threshold=config.alarm_p99_seconds,
        ),
        "UnhealthyAlarm": alarm(
            config,
            "unhealthy",
            "Some tasks do not pass the readiness check.",
            **metric("UnHealthyHostCount"),
            Period=60,
            Statistic="Maximum",
            DatapointsToAlarm=5,
            Threshold=0,
        ),
        # Without any task AWS reports no data, so missing data raises this alarm too.
        "OutageAlarm": alarm(
            config,
            "outage",
            "No task passes the readiness check.",
            **metric("HealthyHostCount"),
            Period=60,
            Statistic="Maximum",
            Threshold=1,
            ComparisonOperator="LessThanThreshold",
            TreatMissingData="breaching",
        ),
    }


def scalable_target(config: Config) -> Document:
    """Describe the limits on the number of tasks, and the opening hours."""
    low, high = ref("MinTasks"), ref("MaxTasks")
    properties: Document = {
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": sub("service/${Cluster}/${Service.Name}"),
        "MinCapacity": low,
        "MaxCapacity": high,
    }
    if config.opening_hours:
        days, _, hours = config.opening_hours.partition(" ")
        opens, closes = (hour.split(":") for hour in hours.split("-"))
        properties["ScheduledActions"] = [
            {
                "ScheduledActionName": name,
                "Schedule": f"cron({int(minute)} {int(hour)} ? * {days} *)",
                "Timezone": config.timezone,
                "ScalableTargetAction": {"MinCapacity": fewest, "MaxCapacity": high},
            }
            for name, (hour, minute), fewest in (
                ("open", opens, config.opening_tasks),
                ("close", closes, low),
            )
        ]
    return resource("ApplicationAutoScaling::ScalableTarget", **properties)


def scaling(name: str, metric: Document, target: int) -> Document:
    """Describe a scaling policy that keeps a metric near its target."""
    tracking = {
        "TargetValue": target,
        "PredefinedMetricSpecification": metric,
        "ScaleOutCooldown": OUT_COOLDOWN_S,
        "ScaleInCooldown": IN_COOLDOWN_S,
    }
    return resource(
        "ApplicationAutoScaling::ScalingPolicy",
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        ScalingTargetId=ref("ScalableTarget"),
        TargetTrackingScalingPolicyConfiguration=tracking,
    )


def metric(name: str, *, group: bool = True) -> Document:
    """Describe a metric of the load balancer, with `group` only of its target group."""
    balancer = {"LoadBalancer": att("Balancer", "LoadBalancerFullName")}
    target = {"TargetGroup": att("TargetGroup", "TargetGroupFullName")} if group else {}
    return {
        "Namespace": "AWS/ApplicationELB",
        "MetricName": name,
        "Dimensions": pairs("Name", "Value", balancer | target),
    }


def alarm(config: Config, name: str, words: str, **more: Any) -> Document:
    """Describe an alarm; by default it needs 3 of 5 minutes above the threshold.

    By default missing data raises no alarm.
    """
    topic = [config.alarm_topic] if config.alarm_topic else []
    defaults = {
        "EvaluationPeriods": 5,
        "DatapointsToAlarm": 3,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": topic,
        "OKActions": topic,
    }
    named = {"AlarmName": f"{config.name}-{name}", "AlarmDescription": words}
    return resource("CloudWatch::Alarm", **(named | defaults | more))


def error_alarm(config: Config) -> Document:
    """Describe the alarm for 5xx answers, as a share of all requests.

    RequestCount does not include requests that the load balancer itself refused. They are added;
    otherwise the share would have no value when no task answers.
    """

    def count(identity: str, name: str, *, group: bool) -> Document:
        stat = {"Metric": metric(name, group=group), "Period": 60, "Stat": "Sum"}
        return {"Id": identity, "MetricStat": stat, "ReturnData": False}

    share = (
        "IF(FILL(requests, 0) + FILL(refused, 0) > 0, 100 * (FILL(failed, 0) + FILL(refused, 0)) / "
        "(FILL(requests, 0) + FILL(refused, 0)), 0)"
    )
    metrics = [
        count("failed", "HTTPCode_Target_5XX_Count", group=True),
        count("refused", "HTTPCode_ELB_5XX_Count", group=False),
        count("requests", "RequestCount", group=False),
        {"Id": "share", "Expression": share, "Label": "5xx answers, %", "ReturnData": True},
    ]
    words = "Too many requests are answered with a 5xx status."
    return alarm(config, "5xx", words, Metrics=metrics, Threshold=config.alarm_error_percent)
