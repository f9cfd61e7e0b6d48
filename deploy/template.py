"""The CloudFormation template: a pure function of the settings, without boto3.

Parameters hold what differs per account or changes at run time: the image, the network, and the
values that `scale` and `restart` change. So the text is the same in every account.
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
        "Outputs": {"Url": {"Description": "The service's address", "Value": url(config)}},
    }


def parameters(config: Config) -> Document:
    """Describe the template's parameters."""
    told: Document = {
        "Image": {"Type": "String", "Description": "Repository and digest of the image"},
        "Vpc": {"Type": "AWS::EC2::VPC::Id"},
        "Subnets": {"Type": SUBNETS, "Description": "Subnets of the tasks"},
        "BalancerSubnets": {"Type": SUBNETS, "Description": "Two or more, in different zones"},
        "MinTasks": {"Type": "Number", "MinValue": 0, "Default": config.min_tasks},
        "MaxTasks": {"Type": "Number", "MinValue": 0, "Default": config.max_tasks},
        "Restart": {
            "Type": "String",
            "Default": "never",
            "Description": "A new value replaces all tasks, so that they read their secrets again",
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
    """Return the service's host names as the value of ALLOWED_HOSTS.

    CloudFront passes on the client's Host header. The distribution depends only on the load
    balancer, so the task definition can refer to its name without a cycle.
    """
    names = [
        "${Balancer.DNSName}",
        *(["${Distribution.DomainName}"] if config.https == "cloudfront" else []),
        *([config.domain] if config.domain else []),
        *([more] if (more := config.environment.get("ALLOWED_HOSTS")) else []),
    ]
    return sub(",".join(names))
