"""Where the AWS console shows more: links with the execution's id, its times and its names filled in. Pure.

AWS documents none of these addresses; they are those that the console itself writes. That of Logs Insights is JSURL, whose text values
are percent-encoded with `*` for `%`, then encoded once more with `$` for `%`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from string import Formatter
from typing import Any
from urllib.parse import quote

from dr_core.moves import text
from dr_core.records import Execution, Resource

_CONSOLE = "https://{region}.console.aws.amazon.com/"
_QUERY = 'fields @timestamp, @log, level, message, resource_id, @message | filter execution_id = "{}" | sort @timestamp asc | limit 1000'
# The functions whose logs tell of an execution; a query takes 50 groups at most.
FUNCTIONS = (
    "accept-request",
    "advance-execution",
    "answer-slack",
    "check-resource",
    "control-execution",
    "decide-approval",
    "expire-approval",
    "notice-change",
    "notify-people",
    "preflight-execution",
    "publish-changes",
    "remind-approvers",
    "request-approval",
    "settle-approval",
    "start-approval",
    "start-execution",
    "start-resource",
    "store-report",
    "sweep",
    "update-slack",
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
    links = [Link(f"{resource.module}{name} in account {resource.account}", url) for name, url in _itself(resource, region)]
    trail = f"{_home('cloudtrailv2', _TRAILS.get(resource.module, region))}#/events?Username=dr-{execution.id}"
    return [*links, Link(f"CloudTrail in account {resource.account}", trail)]


def _itself(resource: Resource, region: str) -> list[tuple[str, str]]:
    """What the resource is called in AWS, and where it is shown."""
    form = _PLACES.get(resource.module, "")
    wanted = [name for _, name, _, _ in Formatter().parse(form) if name and name != "region"]
    parameters: Any = json.loads(resource.parameters)
    found: dict[str, str] = {}
    for one in parameters if isinstance(parameters, list) else [parameters]:
        given = {**_UNLESS_GIVEN, "DBInstanceIdentifier": one.get("DBInstanceIdentifierSource"), **one} if isinstance(one, dict) else {}
        values = [_named(name, given.get(name)) for name in wanted]
        for each in product(*values) if form else ():
            quoted = {key: quote(value, safe="") for key, value in zip(wanted, each, strict=True)}
            found[form.format(region=region, **quoted)] = " " + "/".join(each) if each else ""
    return [(name, url) for url, name in found.items()][:_MOST_PLACES]


def _named(name: str, value: object) -> list[str]:
    """What a parameter names, one or several, as the console's addresses have it: by name where an ARN is given."""
    texts = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one]
    return [_SHORT.get(name, _last)(one) for one in texts]


def _last(value: str) -> str:
    return value.rpartition("/")[2] if value.startswith("arn:") else value


def _function(value: str) -> str:
    """A function's name, of a name or an ARN, with or without alias or version."""
    return (value.partition(":function:")[2] or value).partition(":")[0]


_MOST_PLACES = 5
# Where the console shows what a module acts on, with the manifest's parameters in braces; where they do not name it, the list it is in.
_PLACES: Mapping[str, str] = {
    "AuroraMySQL": _CONSOLE + "rds/home?region={region}#database:id={DBClusterIdentifier};is-cluster=true",
    "ECS": _CONSOLE + "ecs/v2/clusters/{EcsClusterName}/services/{EcsServiceName}/health?region={region}",
    "AutoScaling": _CONSOLE + "ec2/home?region={region}#AutoScalingGroupDetails:id={Autoscalinggroupnames}",
    "R53Record": "https://console.aws.amazon.com/route53/v2/hostedzones#ListRecordSets/{HostedZoneId}",
    "EventBridge": _CONSOLE + "events/home?region={region}#/eventbus/{BusName}/rules/{EventRuleName}",
    "EventArchive": _CONSOLE + "events/home?region={region}#/archives",
    "LambdaFunction": _CONSOLE + "lambda/home?region={region}#/functions/{FunctionName}",
    "DRS": _CONSOLE + "drs/home?region={region}#/sourceServers",
    "ElastiCache": _CONSOLE + "elasticache/home?region={region}#/redis/{DBClusterIdentifier}",
    "MemoryDB": _CONSOLE + "memorydb/home?region={region}#/clusters/{ClusterName}",
    "OpenSearchService": _CONSOLE + "aos/home?region={region}#/opensearch/domains/{DomainName}",
    "SQLServer": _CONSOLE + "rds/home?region={region}#database:id={DBInstanceIdentifier};is-cluster=false",
    "EC2": _CONSOLE + "ec2/home?region={region}#Instances:tag:Orchestrator:HostName={Orchestrator_HostNames}",
}
_UNLESS_GIVEN: Mapping[str, str] = {"BusName": "default"}
_SHORT: Mapping[str, Callable[[str], str]] = {
    "FunctionName": _function,
    "HostedZoneId": lambda value: value.removeprefix("/hostedzone/"),
    "DBClusterIdentifier": str.lower,  # as AWS keeps them
    "DBInstanceIdentifier": str.lower,
    "ClusterName": str.lower,
}
# Route 53 is called in one Region, whichever the phase acts on.
_TRAILS: Mapping[str, str] = {"R53Record": "us-east-1"}


def _home(service: str, region: str) -> str:
    return f"{_CONSOLE}{service}/home?region={{region}}".format(region=region)


def _starred(value: str) -> str:
    return quote(value, safe="-._").replace("%", "*")


def _quoted(value: str) -> str:
    return f"'{_starred(value)}"
