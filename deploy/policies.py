"""The IAM policies that an operator of these commands needs."""

from __future__ import annotations

import json
from typing import Any

from deploy.config import Config
from deploy.document import Document, sub

LIMIT = 6144  # characters of a managed policy
# CloudFormation lets AWS create the service-linked roles of these services.
LINKED = [
    "ecs.amazonaws.com",
    "ecs.application-autoscaling.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "vpcorigin.cloudfront.amazonaws.com",
]


def allow(actions: str, resources: list[Any], equal: Document | None = None) -> Document:
    """Make a statement that allows actions; an action without a service takes the previous one's.

    equal: condition keys and the values they must have.
    """
    names: list[str] = []
    for word in actions.split():
        service = (word if ":" in word else names[-1]).partition(":")[0]
        names.append(word if ":" in word else f"{service}:{word}")
    made: Document = {"Effect": "Allow", "Action": sorted(names), "Resource": resources}
    return made | ({"Condition": {"StringEquals": equal}} if equal else {})


def policy(*statements: Document) -> Document:
    """Make a policy from statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def arn(service: str, resource: str, *, region: bool = True) -> Document:
    """Return the ARN of a resource in this account and region, in template form."""
    where = "${AWS::Region}" if region else ""
    return sub(f"arn:${{AWS::Partition}}:{service}:{where}:${{AWS::AccountId}}:{resource}")


def secret_arns(config: Config) -> dict[str, list[Any]]:
    """Return the secrets' ARNs by the service that holds them: ssm and secretsmanager."""
    sources = sorted(set(config.secrets.values()))
    managed = {
        ":".join(source.split(":")[:7]) for source in sources if ":secretsmanager:" in source
    }
    return {
        "ssm": [
            arn("ssm", f"parameter{source}") if source.startswith("/") else source
            for source in sources
            if ":secretsmanager:" not in source
        ],
        # Without the JSON key, stage and version that may follow the secret's ARN.
        "secretsmanager": sorted(managed),
    }


def resolve(document: Any, values: dict[str, str]) -> Any:
    """Replace AWS::Region, AWS::AccountId and AWS::Partition by their values."""
    if isinstance(document, list):
        return [resolve(item, values) for item in document]
    if not isinstance(document, dict):
        return document
    if text := document.get("Fn::Sub"):
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        return text
    return {key: resolve(item, values) for key, item in document.items()}


def operator(config: Config, values: dict[str, str]) -> list[Document]:
    """Return the policies that allow these commands, each of at most LIMIT characters.

    values: of AWS::Region, AWS::AccountId and AWS::Partition.

    CloudFormation acts with the operator's permissions. Every role must have the permissions
    boundary. Otherwise an operator could become an administrator by giving a task a powerful role.
    """
    name = config.name
    secrets = secret_arns(config)
    roles = [
        arn("iam", f"role/{name}-${{AWS::Region}}-{purpose}", region=False)
        for purpose in ("execution", "task")
    ]
    balancers = [
        arn("elasticloadbalancing", f"{kind}/{which}/*")
        for which in (name, f"{name}-public")
        for kind in ("loadbalancer/app", "targetgroup", "listener/app")
    ]
    kinds = ("service", "service-deployment", "service-revision")
    services = [
        *(arn("ecs", f"{kind}/{name}") for kind in ("cluster", "service")),
        *(arn("ecs", f"{kind}/{name}/*") for kind in ("task", *kinds)),
        arn("ecs", f"task-definition/{name}:*"),
    ]
    alarms = [  # the second kind belongs to the autoscaler
        arn("cloudwatch", f"alarm:{name}-*"),
        arn("cloudwatch", f"alarm:TargetTracking-service/{name}/{name}-*"),
    ]
    fronts = [
        arn("cloudfront", f"{kind}/*", region=False) for kind in ("distribution", "vpcorigin")
    ]
    log_group = [arn("logs", f"log-group:{config.log_group}{end}") for end in ("", ":*")]
    group = [arn("ec2", "security-group/*")]
    ours = {"aws:ResourceTag/deployment": name}
    linked = [arn("iam", "role/aws-service-role/*", region=False)]
    statements = [
        allow(READS, ["*"]),
        allow(STACK, [arn("cloudformation", f"stack/{name}/*")]),
        allow(REPOSITORY, [arn("ecr", f"repository/{name}")]),
        allow(LOGS, log_group),
        allow(BOUNDED, roles, {"iam:PermissionsBoundary": config.permissions_boundary}),
        allow(ROLES, roles),
        allow("iam:PassRole", roles, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}),
        allow("iam:CreateServiceLinkedRole", linked, {"iam:AWSServiceName": LINKED}),
        allow("ec2:CreateSecurityGroup CreateTags", [arn("ec2", "vpc/*"), *group]),
        allow(f"{RULES} DeleteSecurityGroup DeleteTags", group, ours),
        allow(RULES, [arn("ec2", "security-group-rule/*")]),
        allow(BALANCER, balancers),
        allow(ECS, services),
        allow(ALARMS, alarms),
        allow(SCALING, [arn("application-autoscaling", "scalable-target/*")]),
        allow(FRONTS_MADE, fronts),
        allow(FRONTS, fronts, ours),
        *(allow("ssm:GetParameters", [which]) for which in secrets["ssm"]),
        *(
            allow("secretsmanager:DescribeSecret GetSecretValue", [which])
            for which in secrets["secretsmanager"]
        ),
        *([allow("kms:Decrypt", [config.secrets_key_arn])] if config.secrets_key_arn else []),
    ]
    return pack(resolve(statements, values))


def pack(statements: list[Document]) -> list[Document]:
    """Distribute statements, in their order, over as few policies as possible."""
    packed: list[list[Document]] = [[]]
    for statement in statements:
        if len(json.dumps(policy(*packed[-1], statement), separators=(",", ":"))) > LIMIT:
            packed.append([])
        packed[-1].append(statement)
    return [policy(*part) for part in packed]


def actions(policies: list[Document]) -> set[str]:
    """Return the actions that policies allow."""
    return {
        action
        for document in policies
        for statement in document["Statement"]
        for action in statement["Action"]
    }


# These actions support no resource, or need one that does not exist yet.
READS = """
acm:DescribeCertificate
application-autoscaling:DescribeScalableTargets DescribeScalingPolicies DescribeScheduledActions
cloudwatch:DescribeAlarms GetMetricData
ec2:DescribeAccountAttributes DescribeAddresses DescribeInstances DescribeInternetGateways
    DescribeManagedPrefixLists DescribeRouteTables DescribeSecurityGroupRules DescribeSecurityGroups
    DescribeSubnets DescribeVpcs
ecr:GetAuthorizationToken
ecs:DeregisterTaskDefinition DescribeTaskDefinition ListTaskDefinitions ListTasks
elasticloadbalancing:Describe*
iam:GetRole SimulatePrincipalPolicy
logs:DescribeLogGroups
sts:GetCallerIdentity
"""
STACK = """
cloudformation:CreateChangeSet CreateStack DeleteChangeSet DeleteStack DescribeChangeSet
    DescribeStackEvents DescribeStacks ExecuteChangeSet TagResource
"""
REPOSITORY = """
ecr:BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload CreateRepository DeleteRepository
    DescribeImages DescribeRepositories GetDownloadUrlForLayer GetLifecyclePolicy
    InitiateLayerUpload ListTagsForResource PutImage PutLifecyclePolicy TagResource UploadLayerPart
"""
LOGS = """
logs:CreateLogGroup DeleteLogGroup DescribeIndexPolicies FilterLogEvents GetDataProtectionPolicy
    GetLogEvents ListTagsForResource PutRetentionPolicy TagResource UntagResource
"""
BOUNDED = "iam:CreateRole DeleteRolePolicy PutRolePermissionsBoundary PutRolePolicy"
ROLES = """
iam:DeleteRole GetRolePolicy ListAttachedRolePolicies ListRolePolicies TagRole UntagRole
    UpdateAssumeRolePolicy UpdateRole
"""
RULES = """
ec2:AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress RevokeSecurityGroupEgress
    RevokeSecurityGroupIngress
"""
BALANCER = """
elasticloadbalancing:AddTags CreateListener CreateLoadBalancer CreateTargetGroup DeleteListener
    DeleteLoadBalancer DeleteTargetGroup ModifyListener ModifyListenerAttributes
    ModifyLoadBalancerAttributes ModifyTargetGroup ModifyTargetGroupAttributes RemoveTags
    SetSecurityGroups SetSubnets
"""
ECS = """
ecs:CreateCluster CreateService DeleteCluster DeleteService DescribeClusters
    DescribeServiceDeployments DescribeServiceRevisions DescribeServices DescribeTasks
    ListServiceDeployments ListTagsForResource PutClusterCapacityProviders RegisterTaskDefinition
    StopServiceDeployment TagResource UntagResource UpdateCluster UpdateClusterSettings
    UpdateService
"""
ALARMS = "cloudwatch:DeleteAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource"
SCALING = """
application-autoscaling:DeleteScalingPolicy DeleteScheduledAction DeregisterScalableTarget
    ListTagsForResource PutScalingPolicy PutScheduledAction RegisterScalableTarget TagResource
    UntagResource
"""
FRONTS_MADE = """
cloudfront:CreateDistribution CreateVpcOrigin GetDistribution GetDistributionConfig GetVpcOrigin
    ListTagsForResource TagResource
"""
FRONTS = """
cloudfront:DeleteDistribution DeleteVpcOrigin UntagResource UpdateDistribution UpdateVpcOrigin
"""
