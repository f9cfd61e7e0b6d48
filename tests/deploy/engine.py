"""The part of CloudFormation that moto lacks, for the tests.

moto (5.2) makes log groups, roles and security groups. It drops most settings of load balancers,
target groups, listeners, clusters, task definitions and services, knows no egress rule, scaling,
alarm, VPC origin or distribution, and calls a stack complete at once, without an event of a
failure. Here those are made through the services' own APIs, which check each property,
and a stack is done when ECS says so (tests/deploy/ecs.py): if the deployment fails, the stack goes
back. CloudFront is a name without a server behind it. Permissions are not looked at.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.cloudformation import parsing
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import OutputMap, ResourceMap
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.common_models import CloudFormationModel

from tests.deploy import ecs

BREAKER = (
    "Resource handler returned message: \"Error occurred during operation 'ECS Deployment Circuit "
    "Breaker was triggered'.\" (HandlerErrorCode: GeneralServiceException)"
)
Properties = dict[str, Any]
Made = tuple[str, dict[str, Any]]  # the physical id and the attributes


def camel(value: Any) -> Any:
    """Spell names of CloudFormation as ECS's API does."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: camel(item) for key, item in value.items()}
    return value


def part(
    kind: str,
    create: Callable[[Properties], Made],
    update: Callable[[Any, Properties], Made] | None = None,
    delete: Callable[[Any], None] = lambda _: None,
) -> None:
    """Register a resource type with moto's CloudFormation."""

    class Model(CloudFormationModel):
        def __init__(self, properties: Properties, made: Made) -> None:
            self.properties = properties
            self.identity, self.attributes = made

        @property
        def physical_resource_id(self) -> str:
            return self.identity

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return f"AWS::{kind}"

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return bool(attr)

        def get_cfn_attribute(self, attribute_name: str) -> Any:
            return self.attributes[attribute_name]

        @classmethod
        def create_from_cloudformation_json(cls, _: str, given: Any, *__: Any, **___: Any) -> Any:
            return cls(given["Properties"], create(given["Properties"]))

        @classmethod
        def update_from_cloudformation_json(
            cls, original_resource: Any, cloudformation_json: Any, **_: Any
        ) -> Any:
            wanted = cloudformation_json["Properties"]
            made = update(original_resource, wanted) if update else create(wanted)
            return cls(wanted, made)

        def delete(self, *_: Any) -> None:
            delete(self)

    KINDS.append(Model)


KINDS: list[Any] = []


def client(name: str) -> Any:
    return boto3.client(name)


def make_cluster(given: Properties) -> Made:
    settings = camel(given.pop("ClusterSettings"))
    made = client("ecs").create_cluster(**camel(given), settings=settings)["cluster"]
    return made["clusterName"], {"Arn": made["clusterArn"]}


def change_cluster(held: Any, given: Properties) -> Made:
    settings = camel(given["ClusterSettings"])
    client("ecs").update_cluster(cluster=held.identity, settings=settings)
    return held.identity, held.attributes


def make_definition(given: Properties) -> Made:
    # The name of a test's stand-in for the balancer contains a port, which a host name may not.
    for container in given["ContainerDefinitions"]:
        for variable in container["Environment"]:
            if variable["Name"] == "ALLOWED_HOSTS":
                variable["Value"] = re.sub(r":\d+", "", variable["Value"])
    made = client("ecs").register_task_definition(**camel(given))["taskDefinition"]
    return made["taskDefinitionArn"], {}


def make_service(given: Properties) -> Made:
    wanted = {key: item for key, item in given.items() if key != "ForceNewDeployment"}
    made = client("ecs").create_service(**camel(wanted), desiredCount=1)["service"]
    return made["serviceArn"], {"Name": made["serviceName"]}


FIXED = {"ServiceName", "Cluster"}


def change_service(held: Any, given: Properties) -> Made:
    force = held.properties["ForceNewDeployment"] != given["ForceNewDeployment"]
    wanted = {key: item for key, item in given.items() if held.properties.get(key) != item}
    wanted.pop("ForceNewDeployment", None)
    assert not FIXED & set(wanted), "AWS would replace the service"
    name = given["ServiceName"]
    client("ecs").update_service(
        cluster=given["Cluster"],
        service=name,
        **camel(wanted),
        **({"forceNewDeployment": True} if force else {}),
    )
    return held.identity, held.attributes


def remove_service(held: Any) -> None:
    cluster, name = held.properties["Cluster"], held.properties["ServiceName"]
    client("ecs").delete_service(cluster=cluster, service=name, force=True)


def make_egress(given: Properties) -> Made:
    pair = {"GroupId": given["DestinationSecurityGroupId"]}
    rule = {"IpProtocol": given["IpProtocol"], "UserIdGroupPairs": [pair]}
    rule |= {"FromPort": given["FromPort"], "ToPort": given["ToPort"]}
    group = given["GroupId"]
    client("ec2").authorize_security_group_egress(GroupId=group, IpPermissions=[rule])
    return f"{group}-egress", {"rule": rule}


def remove_egress(held: Any) -> None:
    client("ec2").revoke_security_group_egress(
        GroupId=held.properties["GroupId"], IpPermissions=[held.attributes["rule"]]
    )


DNS_NAME = ""  # the address of a stand-in for the load balancer


def make_balancer(given: Properties) -> Made:
    elb, wanted = client("elbv2"), dict(given)
    attributes = wanted.pop("LoadBalancerAttributes")
    made = elb.create_load_balancer(**wanted)["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=attributes)
    full_name = arn.partition("loadbalancer/")[2]
    return arn, {"DNSName": DNS_NAME or made["DNSName"], "LoadBalancerFullName": full_name}


def change_balancer(held: Any, given: Properties) -> Made:
    if any(held.properties[key] != given[key] for key in ("Name", "Scheme")):
        made = make_balancer(given)
        held.delete()
        return made
    client("elbv2").set_subnets(LoadBalancerArn=held.identity, Subnets=given["Subnets"])
    return held.identity, held.attributes


def make_group(given: Properties) -> Made:
    elb, wanted = client("elbv2"), dict(given)
    attributes = wanted.pop("TargetGroupAttributes")
    arn = elb.create_target_group(**wanted)["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)
    return arn, {"TargetGroupFullName": arn.rpartition(":")[2]}


def change_group(held: Any, given: Properties) -> Made:
    if held.properties["Name"] != given["Name"]:
        return make_group(given)  # the old one would be deleted at the end
    attributes = given["TargetGroupAttributes"]
    client("elbv2").modify_target_group_attributes(
        TargetGroupArn=held.identity, Attributes=attributes
    )
    return held.identity, held.attributes


def make_listener(given: Properties) -> Made:
    made = client("elbv2").create_listener(**given)["Listeners"][0]
    return made["ListenerArn"], {}


def target(given: Properties) -> Properties:
    return {key: given[key] for key in ("ServiceNamespace", "ScalableDimension", "ResourceId")}


def make_target(given: Properties) -> Made:
    scaling, wanted = client("application-autoscaling"), dict(given)
    actions = wanted.pop("ScheduledActions", [])
    scaling.register_scalable_target(**wanted)
    for action in actions:
        scaling.put_scheduled_action(**target(given), **action)
    return "|".join(target(given).values()), {}


def remove_target(held: Any) -> None:
    client("application-autoscaling").deregister_scalable_target(**target(held.properties))


def make_policy(given: Properties) -> Made:
    wanted = dict(given)
    names = ("ServiceNamespace", "ScalableDimension", "ResourceId")
    about = dict(zip(names, wanted.pop("ScalingTargetId").split("|"), strict=True))
    client("application-autoscaling").put_scaling_policy(**about, **wanted)
    return given["PolicyName"], about


def remove_policy(held: Any) -> None:
    client("application-autoscaling").delete_scaling_policy(
        PolicyName=held.identity, **held.attributes
    )


def make_alarm(given: Properties) -> Made:
    client("cloudwatch").put_metric_alarm(**given)
    return given["AlarmName"], {}


part(
    "ECS::Cluster",
    make_cluster,
    change_cluster,
    lambda held: client("ecs").delete_cluster(cluster=held.identity),
)
part(
    "ECS::TaskDefinition",
    make_definition,
    None,
    lambda held: client("ecs").deregister_task_definition(taskDefinition=held.identity),
)
part("ECS::Service", make_service, change_service, remove_service)
part(
    "ElasticLoadBalancingV2::LoadBalancer",
    make_balancer,
    change_balancer,
    lambda held: client("elbv2").delete_load_balancer(LoadBalancerArn=held.identity),
)
part(
    "ElasticLoadBalancingV2::TargetGroup",
    make_group,
    change_group,
    lambda held: client("elbv2").delete_target_group(TargetGroupArn=held.identity),
)
part(
    "ElasticLoadBalancingV2::Listener",
    make_listener,
    None,
    lambda held: client("elbv2").delete_listener(ListenerArn=held.identity),
)
part("EC2::SecurityGroupEgress", make_egress, None, remove_egress)
part("ApplicationAutoScaling::ScalableTarget", make_target, None, remove_target)
part("ApplicationAutoScaling::ScalingPolicy", make_policy, None, remove_policy)
part(
    "CloudWatch::Alarm",
    make_alarm,
    None,
    lambda held: client("cloudwatch").delete_alarms(AlarmNames=[held.identity]),
)
part(
    "CloudFront::VpcOrigin",
    lambda _: ("vo_0123456789abcdef", {}),
    lambda held, _: (held.identity, {}),
)
DOMAIN = {"DomainName": "d111111abcdef8.cloudfront.net"}
part(
    "CloudFront::Distribution",
    lambda _: ("E1234567890ABC", DOMAIN),
    lambda held, _: (held.identity, DOMAIN),
)


def delete_all(self: ResourceMap) -> None:
    """Delete the parts, the newest first."""
    for name in [key for key in self._parsed_resources if key in self._resource_json_map][::-1]:
        held = self._parsed_resources.pop(name)
        if held is not None:
            self._delete_resource(held, self._resource_json_map[name])


def text(value: Any) -> str:
    """Return a parameter as it was given."""
    return ",".join(value) if isinstance(value, list) else str(value)


def texts(stack: Stack) -> dict[str, str]:
    return {key: text(value) for key, value in stack.resource_map.resolved_parameters.items()}


def listed(stack: Stack) -> list[dict[str, str]]:
    return [{"ParameterKey": k, "ParameterValue": v} for k, v in texts(stack).items()]


DIFF = ResourceMap.build_resource_diff


def differences(self: ResourceMap, other: dict[str, Any], parameters: Any = None) -> Any:
    """Find also changes that come from a parameter or from a replaced part."""
    found: dict[str, list[str]] = DIFF(self, other)
    new, old = other["Resources"], self._resource_json_map
    given = {key: text(value) for key, value in (parameters or {}).items()}
    changed = [key for key in given if text(self.resolved_parameters.get(key)) != given[key]]
    replaced = "TaskDefinition"  # every change replaces it
    for names in ([*changed], [replaced]):
        for name in new:
            mentions = any(f'{{"Ref": "{key}"}}' in json.dumps(new[name]) for key in names)
            relevant = names != [replaced] or replaced in found["Modify"]
            if name in old and mentions and relevant and name not in found["Modify"]:
                found["Modify"].append(name)
    return found


REFERENCE = re.compile(r'(?:"Ref": "|"Fn::GetAtt": \["|\$\{)(\w+)')


def in_order(parts: dict[str, Any]) -> list[str]:
    """List the parts, each after those that it depends on."""
    done: list[str] = []

    def visit(name: str) -> None:
        for other in sorted(set(REFERENCE.findall(json.dumps(parts[name])))):
            if other in parts and other not in done:
                visit(other)
        if name not in done:
            done.append(name)

    for name in parts:
        visit(name)
    return done


def update_all(self: ResourceMap, template: dict[str, Any], parameters: Any = None) -> None:
    """Change, create, then delete parts, in the order of their dependencies."""
    found = self.build_resource_diff(template, parameters)
    before = self._resource_json_map
    self._template, self._resource_json_map = template, template["Resources"]
    self.input_parameters = parameters
    self.load_mapping()
    self.load_parameters()
    self.load_conditions()
    place = {"account_id": self._account_id, "region_name": self._region_name}
    for name in in_order(self._resource_json_map):
        if name in found["Modify"]:
            part_ = self._resource_json_map[name]
            made = parsing.parse_and_update_resource(name, part_, self, **place)
            self._parsed_resources[name] = made
        elif name in found["Add"]:
            assert self[name]
    for name in [name for name in in_order(before) if name in found["Remove"]][::-1]:
        held = self._parsed_resources.pop(name)
        self._delete_resource(held, before[name])


def compare(self: ChangeSet) -> list[Change]:
    found = self.stack.resource_map.build_resource_diff(self.template_dict, self.parameters)
    kinds = vars(self.stack.resource_map)["_resource_json_map"] | self.template_dict["Resources"]
    return [
        Change(action=action, logical_resource_id=name, resource_type=kinds[name]["Type"])
        for action, names in found.items()
        for name in names
    ]


class Operation:
    """An operation on a stack; it is done when the deployment it started has ended."""

    def __init__(self, stack: Stack, verb: str, awaited: str | None, before: Any) -> None:
        self.stack, self.verb, self.awaited, self.before = stack, verb, awaited, before
        self.failed = False
        self.token = TOKEN[-1]

    def state(self) -> str:
        """Return the state of the deployment."""
        service = ecs.STATE.services.get((self.stack.name, self.stack.name))
        if self.awaited is None or service is None:
            return "COMPLETED"
        ours = next((d for d in service["deployments"] if d["id"] == self.awaited), None)
        return "FAILED" if ours is None or ours["status"] != "PRIMARY" else ours["rolloutState"]

    def settle(self) -> None:
        """Advance one step, if ECS has got that far."""
        if self.failed:
            self.go_back()
            return
        state = self.state()
        if state == "COMPLETED":
            self.end(f"{self.verb}_COMPLETE")
        elif state == "FAILED":
            self.failed = True
            say(self.stack, f"{self.verb}_FAILED", BREAKER, "Service", "AWS::ECS::Service")
            self.stack.status = f"{PREFIX[self.verb]}ROLLBACK_IN_PROGRESS"
            say(self.stack, self.stack.status)

    def go_back(self) -> None:
        if self.verb == "CREATE":
            self.stack.resource_map.delete()
        else:
            self.stack.__dict__ |= self.before[0]
            self.stack.resource_map.__dict__ |= self.before[1]
        self.end(f"{PREFIX[self.verb]}ROLLBACK_COMPLETE")

    def end(self, status: str) -> None:
        self.stack.status = status
        say(self.stack, status)
        GOING.pop(self.stack.stack_id)


PREFIX = {"CREATE": "", "UPDATE": "UPDATE_"}
GOING: dict[str, Operation] = {}
TOKEN = [""]


def say(
    stack: Stack, status: str, reason: str | None = None, name: str = "", kind: str = ""
) -> None:
    event = Event(
        stack_id=stack.stack_id,
        stack_name=stack.name,
        logical_resource_id=name or stack.name,
        physical_resource_id=stack.stack_id,
        resource_type=kind or "AWS::CloudFormation::Stack",
        resource_status=status,
        resource_status_reason=reason,
        resource_properties=None,
    )
    going = GOING.get(stack.stack_id)
    event.client_request_token = going.token if going else TOKEN[-1]  # type: ignore[assignment]
    stack.events.append(event)


def add_event(
    self: Stack, resource_status: str, resource_status_reason: Any = None, **_: Any
) -> None:
    if not resource_status.endswith(("CREATE_COMPLETE", "UPDATE_COMPLETE")):
        say(self, resource_status, resource_status_reason)


def snapshot(stack: Stack) -> Any:
    parts = stack.resource_map.__dict__
    held = {key: dict(value) if isinstance(value, dict) else value for key, value in parts.items()}
    kept = ("template", "template_dict", "parameters", "output_map")
    return {key: stack.__dict__[key] for key in kept}, held


def begin(stack: Stack, verb: str, before: Any, names: Any) -> None:
    stack.status = f"{verb}_IN_PROGRESS"
    GOING[stack.stack_id] = Operation(stack, verb, ecs.STATE.started, before)
    for name in names:
        kind = stack.template_dict["Resources"].get(name, {}).get("Type", "")
        if kind and kind != "AWS::ECS::Service":
            say(stack, f"{verb}_COMPLETE", None, name, kind)


CREATE = CloudFormationBackend.create_stack
EXECUTE = CloudFormationBackend.execute_change_set
STACKS = CloudFormationBackend.describe_stacks
EVENTS = CloudFormationBackend.describe_stack_events


def create_stack(self: CloudFormationBackend, **given: Any) -> Stack:
    ecs.STATE.started = None
    stack: Stack = CREATE(self, **given)
    begin(stack, "CREATE", None, stack.template_dict["Resources"])
    return stack


def execute(self: CloudFormationBackend, change_set_name: str, **given: Any) -> None:
    change_set = self.describe_change_set(change_set_name)
    assert change_set
    stack = change_set.stack
    before, ecs.STATE.started = snapshot(stack), None
    old = before[1]["_parsed_resources"].get("TaskDefinition")
    EXECUTE(self, change_set_name=change_set_name, **given)
    stack.template_dict, stack.parameters = change_set.template_dict, change_set.parameters
    stack.output_map = OutputMap(stack.resource_map, stack.template_dict, stack.stack_id)
    del self.change_sets[change_set.change_set_id]
    begin(stack, "UPDATE", before, [change.logical_resource_id for change in change_set.changes])
    if (
        old is not stack.resource_map["TaskDefinition"]
        and GOING[stack.stack_id].state() == "COMPLETED"
    ):
        old.delete()  # in the clean-up at the end


def settled(self: CloudFormationBackend) -> None:
    for operation in list(GOING.values()):
        operation.settle()
    assert self


def describe_stacks(self: CloudFormationBackend, name_or_stack_id: str) -> list[Stack]:
    settled(self)
    return STACKS(self, name_or_stack_id)


def describe_stack_events(self: CloudFormationBackend, stack_name: str) -> list[Event]:
    settled(self)
    return EVENTS(self, stack_name)


def with_token(call: Callable[[CloudFormationResponse], Any]) -> Callable[..., Any]:
    def answer(self: CloudFormationResponse) -> Any:
        TOKEN[-1] = self._get_param("ClientRequestToken") or ""
        return call(self)

    return answer


@contextmanager
def patched() -> Iterator[None]:
    """Make moto's CloudFormation use this file."""
    GOING.clear()
    caches = (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map)
    for cache in caches:
        cache.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "parameter_list", property(listed))
        patch.setattr(Stack, "stack_parameters", property(texts))
        patch.setattr(Stack, "_add_stack_event", add_event)
        patch.setattr(ResourceMap, "build_resource_diff", differences)
        patch.setattr(ResourceMap, "update", update_all)
        patch.setattr(ResourceMap, "delete", delete_all)
        patch.setattr(ChangeSet, "diff", compare)
        patch.setattr(CloudFormationBackend, "create_stack", create_stack)
        patch.setattr(CloudFormationBackend, "execute_change_set", execute)
        patch.setattr(CloudFormationBackend, "describe_stacks", describe_stacks)
        patch.setattr(CloudFormationBackend, "describe_stack_events", describe_stack_events)
        for name in ("create_stack", "execute_change_set", "delete_stack"):
            call = getattr(CloudFormationResponse, name)
            patch.setattr(CloudFormationResponse, name, with_token(call))
        yield
