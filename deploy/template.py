"""The CloudFormation template: a pure function of the settings, which knows no boto3.

What must be looked up in the account comes in through parameters, so the text is the same in every
account: the image, the network, and what `scale` and `restart` change.
"""

from __future__ import annotations

from deploy import front, tasks, watching
from deploy.config import Config
from deploy.document import Document, sub

SUBNETS = "List<AWS::EC2::Subnet::Id>"


def template(config: Config) -> Document:
    """Return the whole template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"The face-mask detection service {config.name} on ECS Fargate",
        "Parameters": parameters(config),
        "Resources": tasks.resources(config, hosts(config))
        | front.resources(config)
        | watching.resources(config),
        "Outputs": {"Url": {"Description": "Where the service answers", "Value": url(config)}},
    }


def parameters(config: Config) -> Document:
    """Describe what the template must be told."""
    told: Document = {
        "Image": {"Type": "String", "Description": "Repository and digest of the image"},
        "Vpc": {"Type": "AWS::EC2::VPC::Id"},
        "Subnets": {"Type": SUBNETS, "Description": "Where the tasks run"},
        "BalancerSubnets": {"Type": SUBNETS, "Description": "Two or more, in different zones"},
        "MinTasks": {"Type": "Number", "MinValue": 0, "Default": config.min_tasks},
        "MaxTasks": {"Type": "Number", "MinValue": 0, "Default": config.max_tasks},
        "Restart": {
            "Type": "String",
            "Default": "never",
            "Description": "Another text replaces all tasks, so that they read their secrets again",
        },
    }
    if config.https == "cloudfront":
        words = "Id of com.amazonaws.global.cloudfront.origin-facing in this region"
        told["CloudFrontPrefixList"] = {"Type": "String", "Description": words}
    return told


def url(config: Config) -> Document | str:
    """Return the address that clients use."""
    if config.https == "cloudfront":
        return sub("https://${Distribution.DomainName}")
    return f"https://{config.domain}" if config.domain else sub("http://${Balancer.DNSName}")


def hosts(config: Config) -> Document:
    """Return the host names that the service answers to, as ALLOWED_HOSTS has them.

    CloudFront passes on the viewer's own Host header. The distribution needs the load balancer
    alone, so that the task definition may wait for its name without a cycle.
    """
    names = [
        "${Balancer.DNSName}",
        *(["${Distribution.DomainName}"] if config.https == "cloudfront" else []),
        *([config.domain] if config.domain else []),
        *([more] if (more := config.environment.get("ALLOWED_HOSTS")) else []),
    ]
    return sub(",".join(names))
