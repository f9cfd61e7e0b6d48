"""The IAM documents: what ECS may do for the tasks, and what whoever runs these commands needs."""

from __future__ import annotations

from deploy.config import Config
from deploy.documents import Document
from deploy.names import Names


def statement(actions: list[str], resources: list[str], **conditions: Document) -> Document:
    """Make a statement that allows."""
    allowed: Document = {"Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return allowed | ({"Condition": conditions} if conditions else {})


def document(*statements: Document) -> Document:
    """Make a policy of statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trust(names: Names) -> Document:
    """Let ECS tasks of this account and region take a role, and nobody else."""
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "ArnLike": {"aws:SourceArn": names.arn("ecs", "*")},
                "StringEquals": {"aws:SourceAccount": names.account},
            },
        }
    )


def secret_arns(config: Config, names: Names) -> dict[str, list[str]]:
    """Sort the secrets' ARNs by the service that holds them: ssm and secretsmanager."""
    held: dict[str, list[str]] = {"ssm": [], "secretsmanager": []}
    for source in sorted(set(config.secrets.values())):
        if source.startswith("/"):
            held["ssm"].append(names.arn("ssm", f"parameter{source}"))
        elif ":ssm:" in source:
            held["ssm"].append(source)
        else:  # without the JSON key, stage and version that may follow the secret's own ARN
            held["secretsmanager"].append(":".join(source.split(":")[:7]))
    return {service: sorted(set(arns)) for service, arns in held.items()}


def execution(config: Config, names: Names) -> Document:
    """Allow what ECS does to start a task: fetch its one image, write its log, read its secrets."""
    secrets = secret_arns(config, names)
    statements = [
        statement(["ecr:GetAuthorizationToken"], ["*"]),
        statement(
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            [names.arn("ecr", f"repository/{names.name}")],
        ),
        statement(
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [names.arn("logs", f"log-group:{names.log_group}:*")],
        ),
    ]
    if secrets["ssm"]:
        statements.append(statement(["ssm:GetParameters"], secrets["ssm"]))
    if secrets["secretsmanager"]:
        statements.append(statement(["secretsmanager:GetSecretValue"], secrets["secretsmanager"]))
    if config.secrets_key_arn:
        statements.append(statement(["kms:Decrypt"], [config.secrets_key_arn]))
    return document(*statements)


def operator(config: Config, names: Names) -> Document:
    """Allow what these commands do and no more; reads that know no resource are for all."""
    name = names.name
    elb = "elasticloadbalancing"
    balancers = [
        names.arn(elb, f"loadbalancer/app/{name}/*"),
        names.arn(elb, f"targetgroup/{name}/*"),
        names.arn(elb, f"listener/app/{name}/*"),
    ]
    roles = [
        names.arn("iam", f"role/{role}", region=False)
        for role in (names.execution_role, names.task_role)
    ]
    secrets = secret_arns(config, names)
    return document(
        statement(READS, ["*"]),
        statement(ECR, [names.arn("ecr", f"repository/{name}")]),
        statement(
            LOGS,
            [
                names.arn("logs", f"log-group:{names.log_group}"),
                names.arn("logs", f"log-group:{names.log_group}:*"),
            ],
        ),
        statement(IAM, roles),
        statement(
            ["iam:PassRole"],
            roles,
            StringEquals={"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        ),
        statement(
            ["iam:CreateServiceLinkedRole"],
            [names.arn("iam", "role/aws-service-role/*", region=False)],
            StringEquals={"iam:AWSServiceName": sorted(LINKED_ROLES)},
        ),
        statement(
            ["ec2:CreateSecurityGroup"],
            [names.arn("ec2", "vpc/*"), names.arn("ec2", "security-group/*")],
        ),
        statement(
            ["ec2:CreateTags"],
            [names.arn("ec2", "security-group/*")],
            StringEquals={"ec2:CreateAction": "CreateSecurityGroup"},
        ),
        statement(
            EC2,
            [names.arn("ec2", "security-group/*"), names.arn("ec2", "security-group-rule/*")],
            StringEquals={"aws:ResourceTag/deployment": name},
        ),
        statement(BALANCER, balancers),
        statement(
            ECS,
            [
                names.arn("ecs", f"{kind}/{name}{rest}")
                for kind, rest in (
                    ("cluster", ""),
                    ("service", f"/{name}"),
                    ("task-definition", ":*"),
                    ("task", "/*"),
                    ("service-deployment", f"/{name}/*"),
                    ("service-revision", f"/{name}/*"),
                )
            ],
        ),
        statement(ECS_ANYWHERE, ["*"]),
        statement(SCALING, [names.arn("application-autoscaling", "scalable-target/*")]),
        statement(
            ALARMS,
            [  # the latter are those by which the autoscaler works
                names.arn("cloudwatch", f"alarm:{name}-*"),
                names.arn("cloudwatch", f"alarm:TargetTracking-{names.scalable}-*"),
            ],
        ),
        *([statement(["ssm:GetParameters"], secrets["ssm"])] if secrets["ssm"] else []),
        *(
            [
                statement(
                    ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
                    secrets["secretsmanager"],
                )
            ]
            if secrets["secretsmanager"]
            else []
        ),
    )


def actions(policy: Document) -> list[str]:
    """List the actions that a policy allows, each once."""
    return sorted({action for entry in policy["Statement"] for action in entry["Action"]})


# The roles that AWS's services take themselves, by service; made on the first use in an account.
LINKED_ROLES = {
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "elasticloadbalancing.amazonaws.com": "AWSServiceRoleForElasticLoadBalancing",
    "ecs.application-autoscaling.amazonaws.com": (
        "AWSServiceRoleForApplicationAutoScaling_ECSService"
    ),
}
# These actions know no resource, or one that does not exist yet.
READS = [
    "acm:DescribeCertificate",
    "application-autoscaling:DescribeScalableTargets",
    "application-autoscaling:DescribeScalingPolicies",
    "cloudwatch:DescribeAlarms",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroupAttributes",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
    "iam:GetRole",
    "iam:SimulatePrincipalPolicy",
    "logs:DescribeLogGroups",
    "sts:GetCallerIdentity",
]
ECR = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:CreateRepository",
    "ecr:DeleteRepository",
    "ecr:DescribeImages",
    "ecr:DescribeRepositories",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetLifecyclePolicy",
    "ecr:InitiateLayerUpload",
    "ecr:ListTagsForResource",
    "ecr:PutImage",
    "ecr:PutImageScanningConfiguration",
    "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy",
    "ecr:TagResource",
    "ecr:UploadLayerPart",
]
LOGS = [
    "logs:CreateLogGroup",
    "logs:DeleteLogGroup",
    "logs:DescribeLogStreams",
    "logs:FilterLogEvents",
    "logs:GetLogEvents",
    "logs:ListTagsForResource",
    "logs:PutRetentionPolicy",
    "logs:TagResource",
]
IAM = [
    "iam:CreateRole",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:GetRolePolicy",
    "iam:ListRolePolicies",
    "iam:PutRolePolicy",
    "iam:TagRole",
    "iam:UpdateAssumeRolePolicy",
]
EC2 = [
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:DeleteSecurityGroup",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
]
BALANCER = [
    "elasticloadbalancing:AddTags",
    "elasticloadbalancing:CreateListener",
    "elasticloadbalancing:CreateLoadBalancer",
    "elasticloadbalancing:CreateTargetGroup",
    "elasticloadbalancing:DeleteListener",
    "elasticloadbalancing:DeleteLoadBalancer",
    "elasticloadbalancing:DeleteTargetGroup",
    "elasticloadbalancing:ModifyListener",
    "elasticloadbalancing:ModifyLoadBalancerAttributes",
    "elasticloadbalancing:ModifyTargetGroup",
    "elasticloadbalancing:ModifyTargetGroupAttributes",
    "elasticloadbalancing:SetSecurityGroups",
    "elasticloadbalancing:SetSubnets",
]
ECS = [
    "ecs:CreateCluster",
    "ecs:CreateService",
    "ecs:DeleteCluster",
    "ecs:DeleteService",
    "ecs:DeleteTaskDefinitions",
    "ecs:DescribeClusters",
    "ecs:DescribeServiceRevisions",
    "ecs:DescribeServices",
    "ecs:DescribeTasks",
    "ecs:ListServiceDeployments",
    "ecs:PutClusterCapacityProviders",
    "ecs:RegisterTaskDefinition",
    "ecs:TagResource",
    "ecs:UpdateCluster",
    "ecs:UpdateService",
]
ECS_ANYWHERE = [
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:ListTaskDefinitions",
    "ecs:ListTasks",
]
SCALING = [
    "application-autoscaling:DeleteScalingPolicy",
    "application-autoscaling:DeregisterScalableTarget",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:RegisterScalableTarget",
]
ALARMS = [
    "cloudwatch:DeleteAlarms",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:TagResource",
]
