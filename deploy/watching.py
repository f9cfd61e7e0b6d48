"""How AWS watches the service: the autoscaler's targets and the alarms, as documents."""

from __future__ import annotations

from deploy.config import Config
from deploy.documents import Document


def scaling_policies(config: Config, resource_label: str) -> dict[str, Document]:
    """Say, by name, what the autoscaler keeps near which value.

    It adds tasks at once when a minute's metric is above, and takes one away after a quiet while.
    resource_label: load balancer and target group as CloudWatch knows them.
    """
    cooldowns = {"ScaleOutCooldown": 60, "ScaleInCooldown": 300}
    return {
        f"{config.name}-cpu": {
            "TargetValue": float(config.target_cpu_percent),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "ECSServiceAverageCPUUtilization"
            },
            **cooldowns,
        },
        f"{config.name}-requests": {
            "TargetValue": float(config.target_requests_per_minute),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "ALBRequestCountPerTarget",
                "ResourceLabel": resource_label,
            },
            **cooldowns,
        },
    }


def alarms(config: Config, balancer: str, target_group: str) -> dict[str, Document]:
    """Describe, by name, the alarms: 5xx answers, the slowest 1 % and tasks that are not ready.

    balancer, target_group: as CloudWatch knows them, `app/NAME/ID` and `targetgroup/NAME/ID`.
    """
    dimensions = [
        {"Name": "LoadBalancer", "Value": balancer},
        {"Name": "TargetGroup", "Value": target_group},
    ]

    def count(identity: str, metric: str, which: list[Document]) -> Document:
        stat = {
            "Metric": {
                "Namespace": "AWS/ApplicationELB",
                "MetricName": metric,
                "Dimensions": which,
            },
            "Period": 60,
            "Stat": "Sum",
        }
        return {"Id": identity, "MetricStat": stat, "ReturnData": False}

    common: Document = {
        "TreatMissingData": "notBreaching",
        "ActionsEnabled": True,
        "AlarmActions": [config.alarm_topic] if config.alarm_topic else [],
        "OKActions": [config.alarm_topic] if config.alarm_topic else [],
    }
    metric = {"Namespace": "AWS/ApplicationELB", "Dimensions": dimensions, "Period": 60}
    return {
        f"{config.name}-5xx": {
            "AlarmDescription": "Too large a share of the requests is answered with a 5xx.",
            "Metrics": [
                count("target", "HTTPCode_Target_5XX_Count", dimensions),
                count("balancer", "HTTPCode_ELB_5XX_Count", dimensions[:1]),
                count("requests", "RequestCount", dimensions[:1]),
                {
                    "Id": "share",
                    "Expression": "100 * (FILL(target, 0) + FILL(balancer, 0)) / requests",
                    "Label": "5xx answers, percent",
                    "ReturnData": True,
                },
            ],
            "EvaluationPeriods": 5,
            "DatapointsToAlarm": 3,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": config.alarm_error_percent,
            **common,
        },
        f"{config.name}-p99": {
            "AlarmDescription": "The slowest 1 % of the answers takes too long.",
            "MetricName": "TargetResponseTime",
            "ExtendedStatistic": "p99",
            **metric,
            "EvaluationPeriods": 5,
            "DatapointsToAlarm": 3,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": config.alarm_p99_seconds,
            **common,
        },
        f"{config.name}-unhealthy": {
            "AlarmDescription": "Tasks do not answer the readiness check.",
            "MetricName": "UnHealthyHostCount",
            "Statistic": "Maximum",
            **metric,
            "EvaluationPeriods": 5,
            "DatapointsToAlarm": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 0.0,
            **common,
        },
    }
