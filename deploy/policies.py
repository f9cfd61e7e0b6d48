"""The IAM policies: what an operator of these commands needs, and the bound of the tasks' roles."""

from __future__ import annotations

import json
from typing import Any

from deploy.config import Config
from deploy.document import Document, sub

LIMIT = 6144  # characters of a managed policy
# The roles that AWS's services take themselves, by service; made on the first use in an account.
LINKED_ROLES = {
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "elasticloadbalancing.amazonaws.com": "AWSServiceRoleForElasticLoadBalancing",
    "ecs.application-autoscaling.amazonaws.com": (
        "AWSServiceRoleForApplicationAutoScaling_ECSService"
    ),
    "vpcorigin.cloudfront.amazonaws.com": "AWSServiceRoleForCloudFrontVPCOrigin",
}


def allow(actions: list[str], resources: list[Any], **conditions: Document) -> Document:
    """Make a statement that allows."""
    allowed: Document = {"Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return allowed | ({"Condition": conditions} if conditions else {})


def policy(*statements: Document) -> Document:
    """Make a policy of statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def secret_sources(config: Config) -> dict[str, list[str]]:
    """Sort the secrets by the service that holds them: ssm and secretsmanager.

    They are ARNs, but for a parameter that is given by name: `parameter/NAME`.
    """
    held: dict[str, set[str]] = {"ssm": set(), "secretsmanager": set()}
    for source in config.secrets.values():
        if ":secretsmanager:" in source:  # without the JSON key, stage and version at the end
            held["secretsmanager"].add(":".join(source.split(":")[:7]))
        else:
            held["ssm"].add(source if source.startswith("arn:") else f"parameter{source}")
    return {service: sorted(sources) for service, sources in held.items()}


def arn(service: str, resource: str, *, region: bool = True) -> Document:
    """Name a resource of this account, and region, as a template does."""
    where = "${AWS::Region}" if region else ""
    return sub(f"arn:${{AWS::Partition}}:{service}:{where}:${{AWS::AccountId}}:{resource}")


def resolve(document: Any, values: dict[str, str]) -> Any:
    """Fill in AWS::Region, AWS::AccountId and AWS::Partition outside of a template."""
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
    """Return the policies that allow what these commands do, one or more of at most LIMIT.

    values: of AWS::Region, AWS::AccountId and AWS::Partition.

    CloudFormation acts with the operator's own rights. Roles can be made only within the bound, so
    that no one becomes an administrator by handing a role of their making to a task.
    """
    name = config.name
    ours = {"StringEquals": {"aws:ResourceTag/deployment": name}}
    bound = {"StringEquals": {"iam:PermissionsBoundary": config.permissions_boundary}}
    to_tasks = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    linked = {"StringEquals": {"iam:AWSServiceName": sorted(LINKED_ROLES)}}
    roles = [
        arn("iam", f"role/{name}-${{AWS::Region}}-{purpose}", region=False)
        for purpose in ("execution", "task")
    ]
    balancers = [
        arn("elasticloadbalancing", f"{kind}/{which}/*")
        for which in (name, f"{name}-public")
        for kind in ("loadbalancer/app", "targetgroup", "listener/app")
    ]
    services = [
        arn("ecs", resource)
        for resource in (
            f"cluster/{name}",
            f"service/{name}/{name}",
            f"task-definition/{name}:*",
            f"task/{name}/*",
            f"service-deployment/{name}/{name}/*",
            f"service-revision/{name}/{name}/*",
        )
    ]
    alarms = [  # the latter are those by which the autoscaler works
        arn("cloudwatch", f"alarm:{name}-*"),
        arn("cloudwatch", f"alarm:TargetTracking-service/{name}/{name}-*"),
    ]
    fronts = [
        arn("cloudfront", f"{kind}/*", region=False) for kind in ("distribution", "vpcorigin")
    ]
    sources = secret_sources(config)
    secrets: dict[str, list[Any]] = {
        "ssm:GetParameters": [
            source if source.startswith("arn:") else arn("ssm", source) for source in sources["ssm"]
        ],
        "secretsmanager:DescribeSecret secretsmanager:GetSecretValue": sources["secretsmanager"],
        "kms:Decrypt": [config.secrets_key_arn] if config.secrets_key_arn else [],
    }
    statements = [
        allow(READS, ["*"]),
        allow(STACK, [arn("cloudformation", f"stack/{name}/*")]),
        allow(REPOSITORY, [arn("ecr", f"repository/{name}")]),
        allow(LOGS, [arn("logs", f"log-group:{config.log_group}{end}") for end in ("", ":*")]),
        allow(BOUNDED, roles, **bound),
        allow(ROLES, roles),
        allow(["iam:PassRole"], roles, **to_tasks),
        allow(
            ["iam:CreateServiceLinkedRole"],
            [arn("iam", "role/aws-service-role/*", region=False)],
            **linked,
        ),
        allow(GROUPS_MADE, [arn("ec2", "vpc/*"), arn("ec2", "security-group/*")]),
        allow(GROUPS, [arn("ec2", "security-group/*")], **ours),
        allow(RULES, [arn("ec2", "security-group-rule/*")]),
        allow(BALANCER, balancers),
        allow(ECS, services),
        allow(ALARMS, alarms),
        allow(SCALING, [arn("application-autoscaling", "scalable-target/*")]),
        allow(FRONTS_MADE, fronts),
        allow(FRONTS, fronts, **ours),
        *(allow(actions.split(), [which]) for actions, held in secrets.items() for which in held),
    ]
    return pack(resolve(statements, values))


def pack(statements: list[Document]) -> list[Document]:
    """Put statements into as few policies as hold them in their order."""
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


def named(service: str, words: str) -> list[str]:
    """Write the actions of a service in full."""
    return [f"{service}:{word}" for word in words.split()]


# These know no resource, or one that does not exist yet.
READS = [
    "acm:DescribeCertificate",
    *named(
        "application-autoscaling",
        "DescribeScalableTargets DescribeScalingPolicies DescribeScheduledActions",
    ),
    *named("cloudwatch", "DescribeAlarms GetMetricData"),
    *named("ecr", "GetAuthorizationToken"),
    *named("ecs", "DeregisterTaskDefinition DescribeTaskDefinition ListTaskDefinitions ListTasks"),
    *named("ec2", "DescribeAccountAttributes DescribeAddresses DescribeInstances"),
    *named("ec2", "DescribeInternetGateways DescribeManagedPrefixLists DescribeRouteTables"),
    *named("ec2", "DescribeSecurityGroupRules DescribeSecurityGroups DescribeSubnets DescribeVpcs"),
    "elasticloadbalancing:Describe*",
    *named("iam", "GetRole SimulatePrincipalPolicy"),
    "logs:DescribeLogGroups",
    "sts:GetCallerIdentity",
]
STACK = named(
    "cloudformation",
    "CreateChangeSet CreateStack DeleteChangeSet DeleteStack DescribeChangeSet DescribeStackEvents "
    "DescribeStacks ExecuteChangeSet TagResource",
)
REPOSITORY = named(
    "ecr",
    "BatchCheckLayerAvailability BatchGetImage CompleteLayerUpload CreateRepository "
    "DeleteRepository DescribeImages DescribeRepositories GetDownloadUrlForLayer "
    "GetLifecyclePolicy InitiateLayerUpload ListTagsForResource PutImage PutLifecyclePolicy "
    "TagResource UploadLayerPart",
)
LOGS = named(
    "logs",
    "CreateLogGroup DeleteLogGroup DescribeIndexPolicies DescribeLogStreams FilterLogEvents "
    "GetDataProtectionPolicy GetLogEvents ListTagsForResource PutRetentionPolicy TagResource "
    "UntagResource",
)
BOUNDED = named("iam", "CreateRole DeleteRolePolicy PutRolePermissionsBoundary PutRolePolicy")
ROLES = named(
    "iam",
    "DeleteRole GetRolePolicy ListAttachedRolePolicies ListRolePolicies TagRole UntagRole "
    "UpdateAssumeRolePolicy UpdateRole",
)
GROUPS_MADE = named("ec2", "CreateSecurityGroup CreateTags")
RULES = named(
    "ec2",
    "AuthorizeSecurityGroupEgress AuthorizeSecurityGroupIngress RevokeSecurityGroupEgress "
    "RevokeSecurityGroupIngress",
)
GROUPS = [*RULES, *named("ec2", "DeleteSecurityGroup DeleteTags")]
BALANCER = named(
    "elasticloadbalancing",
    "AddTags CreateListener CreateLoadBalancer CreateTargetGroup DeleteListener DeleteLoadBalancer "
    "DeleteTargetGroup ModifyListener ModifyListenerAttributes ModifyLoadBalancerAttributes "
    "ModifyTargetGroup ModifyTargetGroupAttributes RemoveTags SetSecurityGroups SetSubnets",
)
ECS = named(
    "ecs",
    "CreateCluster CreateService DeleteCluster DeleteService DescribeClusters "
    "DescribeServiceDeployments DescribeServiceRevisions DescribeServices DescribeTasks "
    "ListServiceDeployments ListTagsForResource PutClusterCapacityProviders RegisterTaskDefinition "
    "StopServiceDeployment TagResource UntagResource UpdateCluster UpdateClusterSettings "
    "UpdateService",
)
ALARMS = named(
    "cloudwatch", "DeleteAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource"
)
SCALING = named(
    "application-autoscaling",
    "DeleteScalingPolicy DeleteScheduledAction DeregisterScalableTarget ListTagsForResource "
    "PutScalingPolicy PutScheduledAction RegisterScalableTarget TagResource UntagResource",
)
FRONTS_MADE = named(
    "cloudfront",
    "CreateDistribution CreateVpcOrigin GetDistribution GetDistributionConfig GetVpcOrigin "
    "ListTagsForResource TagResource",
)
FRONTS = named(
    "cloudfront",
    "DeleteDistribution DeleteVpcOrigin UntagResource UpdateDistribution UpdateVpcOrigin",
)
