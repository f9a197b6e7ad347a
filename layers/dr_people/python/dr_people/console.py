"""Where the AWS console shows more: links with the execution's id, its times and its names filled in. Pure.

The form of a Logs Insights link is not documented; it is the one that the console itself writes: JSURL, whose text values are
percent-encoded with `*` for `%`, then encoded once more with `$` for `%`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from dr_core.moves import text
from dr_core.records import Execution, Resource

_QUERY = 'fields @timestamp, @log, level, message, resource_id, @message | filter execution_id = "{}" | sort @timestamp asc | limit 1000'
# The functions whose logs tell of an execution; a query takes 50 groups at most.
FUNCTIONS = (
    "start-execution",
    "preflight-execution",
    "request-approval",
    "advance-execution",
    "control-execution",
    "start-resource",
    "check-resource",
    "sweep",
)
_MARGIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Link:
    """A link to another page: what it leads to, and where that is."""

    label: str
    url: str


def of_execution(execution: Execution, stack: str, state_machine_arn: str, now: datetime) -> list[Link]:
    """The logs of an execution, and the wait for its approval. `state_machine_arn`: of the approval, empty if it is not known."""
    region = execution.home_region
    groups = [f"/aws/lambda/{stack}-{function}" for function in FUNCTIONS]
    end = (execution.ended_at or now) + _MARGIN
    links = [
        Link("Logs (CloudWatch Logs Insights)", logs_insights(region, groups, _QUERY.format(execution.id), execution.requested_at, end))
    ]
    if state_machine_arn and not execution.dry_run:
        arn = f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{execution.id}"
        links.append(Link("Approval (Step Functions)", f"{_home('states', region)}#/v2/executions/details/{arn}"))
    return links


def logs_insights(region: str, groups: list[str], query: str, start: datetime, end: datetime) -> str:
    """Logs Insights with the query written, over these log groups, between two moments."""
    detail = {
        "end": f"'{_starred(text(end))}",
        "start": f"'{_starred(text(start))}",
        "timeType": "'ABSOLUTE",
        "tz": "'UTC",
        "editorString": f"'{_starred(query)}",
        "source": f"({''.join(f'~{_quoted(group)}' for group in groups)})",
    }
    jsurl = "~(" + "~".join(f"{key}~{value}" for key, value in detail.items()) + ")"
    inner = quote(jsurl, safe="*-._").replace("~", "%7E")  # which Python would leave as it is
    return f"{_home('cloudwatch', region)}#logsV2:logs-insights{quote('?queryDetail=' + inner, safe='*-._').replace('%', '$')}"


def of_resource(execution: Execution, resource: Resource) -> list[Link]:
    """The resource itself, where its module's parameters name it, and what CloudTrail has of the execution's sessions there.

    Both open in the target account: whoever follows them has to be signed in there.
    """
    region = execution.target_region
    links = [Link(f"{resource.module} in account {resource.account}", url) for url in _itself(resource, region)]
    trail = f"{_home('cloudtrailv2', region)}#/events?Username=dr-{execution.id}"
    return [*links, Link(f"CloudTrail in account {resource.account}", trail)]


def _itself(resource: Resource, region: str) -> list[str]:
    form = _PLACES.get(resource.module)
    parameters: Any = json.loads(resource.parameters)
    each: list[Any] = parameters if isinstance(parameters, list) else [parameters]
    found = []
    for one in each if form else ():
        names = {key: quote(value, safe="") for key, value in one.items() if isinstance(value, str)} if isinstance(one, dict) else {}
        if form and set(form.names) <= set(names):
            found.append(f"{_home(form.service, region)}{form.fragment.format_map(names)}")
    return found[:_MOST_PLACES]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the console shows what a module acts on: `fragment` follows the service's home, with parameters of the manifest in braces."""

    service: str
    fragment: str
    names: tuple[str, ...]


_MOST_PLACES = 5
_PLACES: Mapping[str, _Place] = {
    "AuroraMySQL": _Place("rds", "#database:id={DBClusterIdentifier};is-cluster=true", ("DBClusterIdentifier",)),
    "ECS": _Place("ecs", "#/clusters/{EcsClusterName}/services/{EcsServiceName}/details", ("EcsClusterName", "EcsServiceName")),
    "AutoScaling": _Place("ec2", "#AutoScalingGroupDetails:id={AutoScalingGroupName}", ("AutoScalingGroupName",)),
    "LambdaFunction": _Place("lambda", "#/functions/{FunctionName}", ("FunctionName",)),
    "R53Record": _Place("route53", "#ListRecordSets/{HostedZoneId}", ("HostedZoneId",)),
    "DRS": _Place("drs", "#/sourceServers", ()),
    "EventBridge": _Place("events", "#/rules", ()),
    "EventArchive": _Place("events", "#/archives", ()),
    "ElastiCache": _Place("elasticache", "#/", ()),
    "MemoryDB": _Place("memorydb", "#/clusters", ()),
    "OpenSearchService": _Place("aos", "#/opensearch/domains", ()),
    "SQLServer": _Place("rds", "#databases:", ()),
    "EC2": _Place("ec2", "#Instances:", ()),
}


def _home(service: str, region: str) -> str:
    path = {"route53": "route53/v2/hostedzones", "events": "events/home"}.get(service, f"{service}/home")
    return f"https://{region}.console.aws.amazon.com/{path}?region={region}"


def _starred(value: str) -> str:
    return quote(value, safe="-._").replace("%", "*")


def _quoted(value: str) -> str:
    return f"'{_starred(value)}"
