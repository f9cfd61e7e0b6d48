"""The entry point: CloudFront, the load balancer, and their firewall rules."""

from __future__ import annotations

from typing import Any

from deploy.config import Config
from deploy.document import Document, att, pairs, ref, resource
from deploy.tasks import PORT, tcp

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
IDLE_S = 60  # below 75 s, for which the service keeps idle connections open
# AWS's managed policies: cache nothing, and pass on every header, cookie and parameter.
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"
# A security group without an egress rule may send anywhere; this rule matches nothing.
SEND_NOTHING = {"IpProtocol": "icmp", "FromPort": 252, "ToPort": 86, "CidrIp": "255.255.255.255/32"}


def resources(config: Config) -> Document:
    """Describe the load balancer and, if https comes from CloudFront, the distribution."""
    # When the scheme changes, AWS creates the new balancer first, so it needs another name.
    name = f"{config.name}-public" if config.public_balancer else config.name
    balancer = {
        "idle_timeout.timeout_seconds": str(IDLE_S),
        "routing.http.drop_invalid_header_fields.enabled": "true",
    }
    group = {
        "deregistration_delay.timeout_seconds": str(config.drain_seconds),
        "load_balancing.algorithm.type": "least_outstanding_requests",
    }
    made = {
        "BalancerGroup": resource(
            "EC2::SecurityGroup",
            GroupName=f"{config.name}-lb",
            GroupDescription=f"{config.name}: the load balancer",
            VpcId=ref("Vpc"),
            SecurityGroupIngress=ingress(config),
            SecurityGroupEgress=[SEND_NOTHING],
        ),
        "BalancerToTasks": resource(
            "EC2::SecurityGroupEgress",
            GroupId=att("BalancerGroup", "GroupId"),
            DestinationSecurityGroupId=att("TaskGroup", "GroupId"),
            **tcp(PORT),
        ),
        "Balancer": resource(
            "ElasticLoadBalancingV2::LoadBalancer",
            Name=name,
            Type="application",
            Scheme="internet-facing" if config.public_balancer else "internal",
            IpAddressType="ipv4",
            Subnets=ref("BalancerSubnets"),
            SecurityGroups=[att("BalancerGroup", "GroupId")],
            LoadBalancerAttributes=pairs("Key", "Value", balancer),
        ),
        "TargetGroup": resource(
            "ElasticLoadBalancingV2::TargetGroup",
            Name=name,
            Protocol="HTTP",
            Port=PORT,
            VpcId=ref("Vpc"),
            TargetType="ip",
            HealthCheckProtocol="HTTP",
            HealthCheckPath="/readyz",
            HealthCheckIntervalSeconds=10,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=3,
            Matcher={"HttpCode": "200"},
            TargetGroupAttributes=pairs("Key", "Value", group),
        ),
    } | listeners(config)
    return made | distribution(config) if config.https == "cloudfront" else made


def ingress(config: Config) -> list[Document]:
    """Describe who can reach the load balancer: only CloudFront, or the allowed networks."""
    if config.https == "cloudfront":
        return [tcp(80) | {"SourcePrefixListId": ref("CloudFrontPrefixList")}]
    ports = (80, 443) if config.https == "certificate" else (80,)
    return [tcp(port) | {"CidrIp": cidr} for port in ports for cidr in config.allowed_cidrs]


def listeners(config: Config) -> Document:
    """Describe the load balancer's listeners: https with a certificate, otherwise http."""
    forward: Document = {"Type": "forward", "TargetGroupArn": ref("TargetGroup")}
    if config.https != "certificate":
        return {"Listener": listener(80, "HTTP", forward)}
    redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    certificates = [{"CertificateArn": config.certificate_arn}]
    return {
        "Listener": listener(
            443, "HTTPS", forward, SslPolicy=TLS_POLICY, Certificates=certificates
        ),
        "Redirect": listener(80, "HTTP", {"Type": "redirect", "RedirectConfig": redirect}),
    }


def listener(port: int, protocol: str, action: Document, **more: Any) -> Document:
    """Describe a listener."""
    return resource(
        "ElasticLoadBalancingV2::Listener",
        LoadBalancerArn=ref("Balancer"),
        Port=port,
        Protocol=protocol,
        DefaultActions=[action],
        **more,
    )


def distribution(config: Config) -> Document:
    """Describe CloudFront, which reaches the internal load balancer through a VPC origin."""
    endpoint = {
        "Arn": ref("Balancer"),
        "Name": config.name,
        "HTTPPort": 80,
        "HTTPSPort": 443,
        "OriginProtocolPolicy": "http-only",
    }
    through = {
        "VpcOriginId": ref("VpcOrigin"),
        "OriginReadTimeout": IDLE_S,
        "OriginKeepaliveTimeout": IDLE_S - 5,  # CloudFront must close before the balancer does
    }
    origin = {"Id": "balancer", "DomainName": att("Balancer", "DNSName")}
    behaviour = {
        "TargetOriginId": "balancer",
        "ViewerProtocolPolicy": "redirect-to-https",
        "AllowedMethods": ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
        "CachePolicyId": CACHING_DISABLED,
        "OriginRequestPolicyId": ALL_VIEWER,
    }
    wanted = {
        "Comment": config.name,
        "Enabled": True,
        "HttpVersion": "http2and3",
        "IPV6Enabled": True,
        "Origins": [origin | {"VpcOriginConfig": through}],
        "DefaultCacheBehavior": behaviour,
    }
    return {
        "VpcOrigin": resource("CloudFront::VpcOrigin", VpcOriginEndpointConfig=endpoint),
        "Distribution": resource("CloudFront::Distribution", DistributionConfig=wanted),
    }
