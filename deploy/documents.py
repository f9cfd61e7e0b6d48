"""The documents that AWS is given, as pure functions of the settings; boto3 is not known here."""

from __future__ import annotations

from typing import Any

from deploy.config import Config
from deploy.names import Names, lower

Document = dict[str, Any]

PORT = 8000
UID = "10001:10001"
READY_PATH = "/readyz"
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
BALANCER_IDLE_S = 60  # below the 75 s that the service keeps connections, so none is cut in use
START_S = 60  # the load balancer's word is not heeded before
STOP_MARGIN_S = 10  # from the end of the drain to the kill; also the compose file's
CPU_ARCHITECTURE = {"x86_64": "X86_64", "arm64": "ARM64"}
PLATFORM = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}


def task_definition(
    config: Config, names: Names, image: str, execution_role: str, task_role: str
) -> Document:
    """Describe the container as Fargate runs it: read-only, an ordinary user, no capabilities.

    image: repository and digest. Lists are sorted, as AWS gives them back in any order.
    """
    environment = {
        "TRUSTED_PROXIES": "1",  # the load balancer
        **config.environment,
        "HOST": "0.0.0.0",
        "PORT": str(PORT),
        "GRACEFUL_TIMEOUT": str(config.drain_seconds),
    }
    container: Document = {
        "name": names.name,
        "image": image,
        "essential": True,
        "portMappings": [{"containerPort": PORT, "hostPort": PORT, "protocol": "tcp"}],
        "environment": [{"name": k, "value": v} for k, v in sorted(environment.items())],
        "user": UID,
        "readonlyRootFilesystem": True,
        "linuxParameters": {
            "capabilities": {"drop": ["ALL"]},
            "initProcessEnabled": True,
            "tmpfs": [
                {
                    "containerPath": "/tmp",  # noqa: S108 (in the container)
                    "size": 64,
                    "mountOptions": ["rw", "noexec", "nosuid", "nodev"],
                }
            ],
        },
        "healthCheck": {
            "command": ["CMD", "python3", "docker/healthcheck.py"],
            "interval": 10,
            "timeout": 5,
            "retries": 3,
            "startPeriod": START_S,
        },
        "stopTimeout": config.drain_seconds + STOP_MARGIN_S,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": names.log_group,
                "awslogs-region": names.region,
                "awslogs-stream-prefix": names.name,
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        },
    }
    if config.secrets:
        container["secrets"] = [
            {"name": k, "valueFrom": v} for k, v in sorted(config.secrets.items())
        ]
    return {
        "family": names.name,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(config.cpu),
        "memory": str(config.memory),
        "runtimePlatform": {
            "cpuArchitecture": CPU_ARCHITECTURE[config.architecture],
            "operatingSystemFamily": "LINUX",
        },
        "executionRoleArn": execution_role,
        "taskRoleArn": task_role,
        "containerDefinitions": [container],
    }


def target_group_check() -> Document:
    """Say how the load balancer asks whether a task is ready."""
    return {
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPath": READY_PATH,
        "HealthCheckIntervalSeconds": 10,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
        "Matcher": {"HttpCode": "200"},
    }


def target_group_attributes(config: Config) -> dict[str, str]:
    """Drain as long as the service itself does; send a frame where the fewest are waiting."""
    return {
        "deregistration_delay.timeout_seconds": str(config.drain_seconds),
        "load_balancing.algorithm.type": "least_outstanding_requests",
    }


def balancer_attributes() -> dict[str, str]:
    """Set the load balancer's time-out and refuse malformed headers."""
    return {
        "idle_timeout.timeout_seconds": str(BALANCER_IDLE_S),
        "routing.http.drop_invalid_header_fields.enabled": "true",
    }


def listeners(config: Config, target_group: str) -> dict[int, Document]:
    """Say, by port, what the load balancer listens to: http, or https with http sent on to it."""
    forward = [{"Type": "forward", "TargetGroupArn": target_group}]
    if not config.certificate_arn:
        return {80: {"Protocol": "HTTP", "DefaultActions": forward}}
    redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    return {
        443: {
            "Protocol": "HTTPS",
            "SslPolicy": TLS_POLICY,
            "Certificates": [{"CertificateArn": config.certificate_arn}],
            "DefaultActions": forward,
        },
        80: {
            "Protocol": "HTTP",
            "DefaultActions": [{"Type": "redirect", "RedirectConfig": redirect}],
        },
    }


def service(
    config: Config, subnets: list[str], task_group: str, target_group: str, task_definition_arn: str
) -> Document:
    """Describe the service but for the number of its tasks, which is the autoscaler's."""
    return {
        "taskDefinition": task_definition_arn,
        "capacityProviderStrategy": capacity_providers(config),
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
        },
        "availabilityZoneRebalancing": "ENABLED",
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": sorted(subnets),
                "securityGroups": [task_group],
                "assignPublicIp": "ENABLED" if config.public_ip else "DISABLED",
            }
        },
        "loadBalancers": [
            {"targetGroupArn": target_group, "containerName": config.name, "containerPort": PORT}
        ],
        "healthCheckGracePeriodSeconds": START_S,
        "enableECSManagedTags": True,
        "propagateTags": "SERVICE",
        "enableExecuteCommand": False,
    }


def capacity_providers(config: Config) -> list[Document]:
    """Put the first task where it is never taken away, the others on Spot if so wished."""
    if not config.spot:
        return [{"capacityProvider": "FARGATE", "weight": 1, "base": 0}]
    return [
        {"capacityProvider": "FARGATE", "weight": 0, "base": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0},
    ]


def cluster(config: Config, names: Names) -> Document:
    """Describe the cluster."""
    return {
        "clusterName": names.name,
        "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "settings": [
            {
                "name": "containerInsights",
                "value": "enabled" if config.container_insights else "disabled",
            }
        ],
        "tags": lower(names.tags),
    }


def security_rules(
    config: Config, balancer_group: str, task_group: str
) -> dict[str, list[Document]]:
    """Say, by group, who may talk to whom: the world to the balancer, the balancer to the tasks.

    The tasks themselves speak https only, to fetch their image and secrets and to log.
    """
    ports = [80, 443] if config.certificate_arn else [80]
    world = [rule("ingress", port, network) for port in ports for network in config.allowed_cidrs]
    return {
        balancer_group: [*world, rule("egress", PORT, task_group)],
        task_group: [rule("ingress", PORT, balancer_group), rule("egress", 443, "0.0.0.0/0")],
    }


def rule(direction: str, port: int, peer: str) -> Document:
    """Describe a TCP rule with a network or a security group."""
    return {"direction": direction, "protocol": "tcp", "from": port, "to": port, "peer": peer}


def lifecycle(config: Config) -> Document:
    """Keep the newest images and no layers that nothing names."""
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "images that no tag names",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": 1,
                },
                "action": {"type": "expire"},
            },
            {
                "rulePriority": 2,
                "description": "all but the newest",
                "selection": {
                    "tagStatus": "any",
                    "countType": "imageCountMoreThan",
                    "countNumber": config.images_kept,
                },
                "action": {"type": "expire"},
            },
        ]
    }
