"""The tasks' part of the template: roles, log group, cluster, task definition and service."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from deploy.config import Config
from deploy.document import Document, att, pairs, ref, resource, sub
from deploy.policies import allow, arn, policy, secret_arns

PORT = 8000
METRICS_PORT = 9000  # /metrics; no security group opens it
START_S = 60  # failed health checks of a younger task do not count
STOP_MARGIN_S = 10  # between the end of the drain and the kill
TRUSTED_PROXIES = {"cloudfront": "2", "certificate": "1", "none": "1"}


def resources(config: Config, hosts: Document) -> Document:
    """Describe all resources that run the container.

    hosts: the deployment's host names, for ALLOWED_HOSTS.
    """
    insights = "enabled" if config.container_insights else "disabled"
    return {
        "LogGroup": resource(
            "Logs::LogGroup",
            LogGroupName=config.log_group,
            RetentionInDays=config.log_retention_days,
        )
        | {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"},
        "ExecutionRole": role(config, "execution", {"start-tasks": execution_policy(config)}),
        "TaskRole": role(config, "task", {}),
        "TaskGroup": resource(
            "EC2::SecurityGroup",
            GroupName=f"{config.name}-task",
            GroupDescription=f"{config.name}: the tasks",
            VpcId=ref("Vpc"),
            SecurityGroupIngress=[
                tcp(PORT) | {"SourceSecurityGroupId": att("BalancerGroup", "GroupId")}
            ],
            SecurityGroupEgress=[
                tcp(port) | {"CidrIp": "0.0.0.0/0"} for port in egress_ports(config)
            ],
        ),
        "Cluster": resource(
            "ECS::Cluster",
            ClusterName=config.name,
            CapacityProviders=["FARGATE", "FARGATE_SPOT"],
            ClusterSettings=[{"Name": "containerInsights", "Value": insights}],
        ),
        "TaskDefinition": resource(
            "ECS::TaskDefinition",
            Family=config.name,
            NetworkMode="awsvpc",
            RequiresCompatibilities=["FARGATE"],
            Cpu=str(config.cpu),
            Memory=str(config.memory),
            RuntimePlatform={
                "CpuArchitecture": config.architecture.upper(),
                "OperatingSystemFamily": "LINUX",
            },
            ExecutionRoleArn=att("ExecutionRole", "Arn"),
            TaskRoleArn=att("TaskRole", "Arn"),
            ContainerDefinitions=[container(config, hosts)],
        ),
        "Service": service(config) | {"DependsOn": ["Listener", "BalancerToTasks"]},
    }


def tcp(port: int) -> Document:
    """Describe a TCP port for a security group's rule."""
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}


def egress_ports(config: Config) -> list[int]:
    """Return the ports that the tasks may reach: https, and those of endpoints in [environment].

    The tasks use https to fetch their image and secrets and to write their log.
    """
    ports = {443}
    for name, value in config.environment.items():
        address = urlsplit(value)
        if name.endswith("_ENDPOINT") and address.scheme in {"http", "https"}:
            ports.add(address.port or {"http": 80, "https": 443}[address.scheme])
    return sorted(ports)


def role(config: Config, purpose: str, policies: Document) -> Document:
    """Describe a role that only tasks in this account and region may assume."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "ArnLike": {"aws:SourceArn": arn("ecs", "*")},
            "StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")},
        },
    }
    bound = {"PermissionsBoundary": config.permissions_boundary}
    return resource(
        "IAM::Role",
        RoleName=sub(f"{config.name}-${{AWS::Region}}-{purpose}"),
        AssumeRolePolicyDocument=policy(trust),
        Policies=pairs("PolicyName", "PolicyDocument", policies),
        **(bound if config.permissions_boundary else {}),
    )


def execution_policy(config: Config) -> Document:
    """Allow ECS to start a task: fetch its image, write its log and read its secrets."""
    secrets = secret_arns(config)
    fetch = "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer"
    statements: dict[str, list[Any]] = {
        "ecr:GetAuthorizationToken": ["*"],
        fetch: [arn("ecr", f"repository/{config.name}")],
        "logs:CreateLogStream logs:PutLogEvents": [arn("logs", f"log-group:{config.log_group}:*")],
        "ssm:GetParameters": secrets["ssm"],
        "secretsmanager:GetSecretValue": secrets["secretsmanager"],
        "kms:Decrypt": [config.secrets_key_arn] if config.secrets_key_arn else [],
    }
    return policy(*(allow(actions, which) for actions, which in statements.items() if which))


def environment(config: Config, hosts: Document) -> Document:
    """Return the container's environment variables.

    A task on Fargate cannot see its CPU limit, so INFERENCE_SLOTS is set from `cpu`.
    """
    return {
        "TRUSTED_PROXIES": TRUSTED_PROXIES[config.https],
        "INFERENCE_SLOTS": str(max(1, config.cpu // 1024)),
        **config.environment,
        "ALLOWED_HOSTS": hosts,
        "HOST": "0.0.0.0",
        "PORT": str(PORT),
        "METRICS_PORT": str(METRICS_PORT),
        "GRACEFUL_TIMEOUT": str(config.drain_seconds),
    }


def container(config: Config, hosts: Document) -> Document:
    """Describe the container: read-only, an ordinary user, no capabilities, a memory limit."""
    tmpfs = {
        "ContainerPath": "/tmp",  # noqa: S108 (in the container)
        "Size": 64,
        "MountOptions": ["rw", "noexec", "nosuid", "nodev"],
    }
    log = {
        "awslogs-group": ref("LogGroup"),
        "awslogs-region": ref("AWS::Region"),
        "awslogs-stream-prefix": config.name,
        "mode": "non-blocking",
        "max-buffer-size": "4m",
    }
    return {
        "Name": config.name,
        "Image": ref("Image"),
        "Essential": True,
        "Memory": config.memory,  # otherwise the container would not see a memory limit
        "PortMappings": [{"ContainerPort": PORT, "HostPort": PORT, "Protocol": "tcp"}],
        "Environment": pairs("Name", "Value", dict(sorted(environment(config, hosts).items()))),
        "Secrets": pairs("Name", "ValueFrom", dict(sorted(config.secrets.items()))),
        "User": "10001:10001",
        "ReadonlyRootFilesystem": True,
        "LinuxParameters": {
            "Capabilities": {"Drop": ["ALL"]},
            "InitProcessEnabled": True,
            "Tmpfs": [tmpfs],
        },
        "HealthCheck": {
            "Command": ["CMD", "python3", "docker/healthcheck.py"],
            "Interval": 10,
            "Timeout": 5,
            "Retries": 3,
            "StartPeriod": START_S,
        },
        "StopTimeout": config.drain_seconds + STOP_MARGIN_S,
        "LogConfiguration": {"LogDriver": "awslogs", "Options": log},
    }


def service(config: Config) -> Document:
    """Describe the service; the autoscaler sets its number of tasks.

    A deployment is rolled back if new tasks crash or an alarm is raised.
    """
    first = {"CapacityProvider": "FARGATE", "Base": 1, "Weight": 0 if config.spot else 1}
    rest = [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}] if config.spot else []
    alarms = [ref("ErrorAlarm"), ref("SlowAlarm")]
    network = {
        "Subnets": ref("Subnets"),
        "SecurityGroups": [att("TaskGroup", "GroupId")],
        "AssignPublicIp": "ENABLED" if config.public_ip else "DISABLED",
    }
    target = {"ContainerName": config.name, "ContainerPort": PORT}
    every_20_s = {"MetricNames": ["CPUUtilization"], "ResolutionSeconds": 20}
    return resource(
        "ECS::Service",
        ServiceName=config.name,
        Cluster=ref("Cluster"),
        TaskDefinition=ref("TaskDefinition"),
        CapacityProviderStrategy=[first, *rest],
        ForceNewDeployment={
            "EnableForceNewDeployment": True,
            "ForceNewDeploymentNonce": ref("Restart"),
        },
        DeploymentConfiguration={
            "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
            "Alarms": {"AlarmNames": alarms, "Enable": True, "Rollback": True},
            "MinimumHealthyPercent": 100,
            "MaximumPercent": 200,
        },
        AvailabilityZoneRebalancing="ENABLED",
        NetworkConfiguration={"AwsvpcConfiguration": network},
        LoadBalancers=[target | {"TargetGroupArn": ref("TargetGroup")}],
        HealthCheckGracePeriodSeconds=START_S,
        EnableECSManagedTags=True,
        PropagateTags="SERVICE",
        Monitoring={"MetricConfigurations": [every_20_s]},
    )
