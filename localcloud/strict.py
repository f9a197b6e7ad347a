"""What AWS refuses and an emulator would accept: refused here, with AWS's error.

Only where a defect of ours would hide behind it. Checked against ministack 1.5.33; what it refuses itself (DynamoDB's limits, the size of
an SQS or SNS message, eleven entries in PutEvents) is not repeated.

    events     EnableRule, DisableRule, RemoveTargets, ListTargetsByRule of a rule that is not there, ListRules of such a bus
    events     PutEvents: 1 MB in all its entries together; an entry without source, detail type or detail, or whose detail is no JSON
               object, fails alone
    sqs        SendMessage delayed by more than 15 minutes
    route53    ChangeResourceRecordSets: names outside the zone, a CNAME at its apex or beside other records, a routing policy beside a
               simple record, health checks that do not exist
    monitoring PutDashboard with a body that is no dashboard
    ssm        PutParameter above 4 KB (Standard) or 8 KB; GetParameters of more than ten names
    states     StartExecution, SendTaskSuccess, SendTaskFailure: 256 KB, names of 80 characters, input and output that are no JSON
    lambda     Invoke above 6 MB, as an event above 1 MB, or with a payload that is no JSON
    sns        Publish with a subject that is longer than 100 characters, not ASCII, or of several lines

And one thing that AWS accepts and ministack does not: an event bus named by its ARN.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp
from aiohttp import web
from botocore.model import ListShape, Shape, StructureShape

from localcloud import wire
from localcloud.control_plane import ControlPlane
from localcloud.intervention import Onward, Passing, refusal
from localcloud.wire import Call

_MIB: Final = 1024 * 1024
_EVENTS_BYTES: Final = _MIB
_DELAY_SECONDS: Final = 900
_PAYLOAD_BYTES: Final = {"RequestResponse": 6 * _MIB, "DryRun": 6 * _MIB, "Event": _MIB}
_SUBJECT: Final = re.compile(r"[!-~][ -~]{0,99}")
# Services whose modelled lengths are checked, since they are what AWS checks.
_MODELLED_LENGTHS: Final = frozenset({"ssm", "states"})

Parameters = Mapping[str, Any]


class RefusedError(Exception):
    """AWS would refuse this call, with this error code."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Strict:
    """Refuses what AWS refuses; looks up what it must know at `ministack`, as the administrator of the caller's account."""

    def __init__(self, session: aiohttp.ClientSession, ministack: str) -> None:
        self._session = session
        self._ministack = ministack

    async def __call__(self, passing: Passing, onward: Onward) -> web.StreamResponse:
        """Let a call pass that AWS would accept."""
        call = passing.call
        name = f"{call.service}:{call.operation}"
        if call.service == "events":
            passing.body = _bus_by_name(passing)
        try:
            if call.service in _MODELLED_LENGTHS:
                check_lengths(call, passing.parameters())
            if name in _CHECKS:
                _CHECKS[name](passing)
            # Somebody without an account has no rights either, as the emulator will say.
            if name in _LOOK_UPS and call.account is not None:
                await _LOOK_UPS[name](passing, ControlPlane(self._session, self._ministack, call.account))
            if name == "events:PutEvents":
                return await _put_events(passing, onward)
        except RefusedError as error:
            return refusal(call, error.status, error.code, str(error))
        return await onward(passing.body)


def check_lengths(call: Call, parameters: Parameters) -> None:
    """Raise where a text or a list is shorter or longer than the operation's model allows."""
    model = wire.operation_model(call)
    if model is not None and model.input_shape is not None:
        problems = list(_length_problems(model.input_shape, parameters, ""))
        if problems:
            count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
            raise RefusedError("ValidationException", count + "; ".join(problems))


def _length_problems(shape: Shape, value: object, path: str) -> list[str]:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = ((shape.members[name], given, f"{path}.{name}") for name, given in value.items() if name in shape.members)
        return [problem for member, given, where in members for problem in _length_problems(member, given, where)]
    if not isinstance(value, str | list):
        return []
    lowest, highest = shape.metadata.get("min", 0), shape.metadata.get("max")
    where = path.removeprefix(".")
    where = where[:1].lower() + where[1:]
    bound = f"less than or equal to {highest}" if highest is not None and len(value) > highest else ""
    bound = f"greater than or equal to {lowest}" if len(value) < lowest else bound
    found = [f"Value '{_shortened(value)}' at '{where}' failed to satisfy constraint: Member must have length {bound}"] if bound else []
    if isinstance(shape, ListShape) and isinstance(value, list):
        found += [
            problem for number, one in enumerate(value, 1) for problem in _length_problems(shape.member, one, f"{where}.{number}.member")
        ]
    return found


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "..."


# EventBridge


def _bus_by_name(passing: Passing) -> bytes:
    """The body of a call, its event bus named as the emulator knows it."""
    parameters = passing.parameters()
    bus = parameters.get("EventBusName", "")
    if not bus.startswith("arn:"):
        return passing.body
    return json.dumps({**parameters, "EventBusName": bus.rpartition("/")[2]}).encode()


async def _rule_exists(passing: Passing, aws: ControlPlane) -> None:
    parameters = passing.parameters()
    rule = parameters.get("Name") or parameters.get("Rule") or ""
    bus = parameters.get("EventBusName", "default")
    answer = await aws.json("events", passing.call.region, "AWSEvents.DescribeRule", {"Name": rule, "EventBusName": bus})
    if answer.status != 200:
        raise RefusedError("ResourceNotFoundException", f"Rule {rule} does not exist on EventBus {bus}.")


async def _bus_exists(passing: Passing, aws: ControlPlane) -> None:
    parameters = passing.parameters()
    bus = parameters.get("EventBusName", "default")
    answer = await aws.json("events", passing.call.region, "AWSEvents.DescribeEventBus", {"Name": bus})
    if answer.status != 200:
        raise RefusedError("ResourceNotFoundException", f"Event bus {bus} does not exist.")


async def _put_events(passing: Passing, onward: Onward) -> web.StreamResponse:
    """Put the entries that are right; the others fail alone, as their place in the answer tells."""
    parameters = passing.parameters()
    entries: Sequence[Parameters] = parameters.get("Entries", [])
    if sum(entry_bytes(entry) for entry in entries) > _EVENTS_BYTES:
        raise RefusedError("ValidationException", "Total size of the entries in the request is over the limit.")
    problems = {number: problem for number, entry in enumerate(entries) if (problem := entry_problem(entry))}
    if not problems:
        return await onward(None)
    right = [entry for number, entry in enumerate(entries) if number not in problems]
    taken: dict[str, Any] = {"FailedEntryCount": 0, "Entries": []}
    if right:
        answer = await onward(json.dumps({**parameters, "Entries": right}).encode())
        if answer.status != 200 or not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
            return answer
        taken = json.loads(answer.body)
    results = iter(taken["Entries"])
    together = [
        {"ErrorCode": problems[number][0], "ErrorMessage": problems[number][1]} if number in problems else next(results)
        for number in range(len(entries))
    ]
    body = {"FailedEntryCount": taken["FailedEntryCount"] + len(problems), "Entries": together}
    return web.Response(body=json.dumps(body).encode(), headers={"Content-Type": "application/x-amz-json-1.1"})


def entry_bytes(entry: Parameters) -> int:
    """The size of an entry as EventBridge counts it: fourteen bytes for a time, and the texts in UTF-8."""
    texts = [entry.get("Source", ""), entry.get("DetailType", ""), entry.get("Detail", ""), *entry.get("Resources", [])]
    return sum(len(str(text).encode()) for text in texts) + (14 if entry.get("Time") is not None else 0)


def entry_problem(entry: Parameters) -> tuple[str, str] | None:
    """Why EventBridge does not take an entry: error code and message; None where it does."""
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            return "InvalidArgument", f"Parameter {name} is not valid. Reason: {name} is a required argument."
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        detail = None
    return None if isinstance(detail, dict) else ("MalformedDetail", "Detail is malformed.")


# SQS and SNS


def _send_message(passing: Passing) -> None:
    parameters = passing.parameters()
    delay = parameters.get("DelaySeconds", 0)
    if not 0 <= int(delay) <= _DELAY_SECONDS:
        reason = f"DelaySeconds must be >= 0 and <= {_DELAY_SECONDS}."
        raise RefusedError("InvalidParameterValue", f"Value {delay} for parameter DelaySeconds is invalid. Reason: {reason}")


def _publish(passing: Passing) -> None:
    parameters = passing.parameters()
    if "Subject" in parameters and _SUBJECT.fullmatch(parameters["Subject"]) is None:
        raise RefusedError("InvalidParameter", "Invalid parameter: Subject")


# Route 53


async def _change_record_sets(passing: Passing, aws: ControlPlane) -> None:
    parameters = passing.parameters()
    zone_id = parameters.get("Id") or parameters.get("HostedZoneId") or ""
    region = passing.call.region
    zone = await aws.get("route53", region, f"/2013-04-01/hostedzone/{quote(zone_id)}")
    if zone.status != 200:
        return  # the emulator says so itself
    apex = _name(ElementTree.fromstring(zone.body).findtext(".//{*}HostedZone/{*}Name"))  # noqa: S314 - our own emulator's answer
    changes = [_Change(element) for element in ElementTree.fromstring(passing.body).iterfind(".//{*}Change")]  # noqa: S314 - an SDK's request
    problems = [problem for change in changes if (problem := change.problem(apex))]
    if problems:
        raise RefusedError("InvalidChangeBatch", f"[{', '.join(problems)}]")
    removed = {change.key for change in changes if change.action == "DELETE"}
    for change in changes:
        if change.action == "DELETE":
            continue
        if change.health_check and (await aws.get("route53", region, f"/2013-04-01/healthcheck/{change.health_check}")).status != 200:
            raise RefusedError("NoSuchHealthCheck", f"A health check with id {change.health_check} does not exist.", 404)
        listed = await aws.get("route53", region, f"/2013-04-01/hostedzone/{quote(zone_id)}/rrset?name={quote(change.name)}")
        sets = [_Change(element) for element in ElementTree.fromstring(listed.body).iterfind(".//{*}ResourceRecordSet")]  # noqa: S314
        beside = [known for known in sets if known.name == change.name and known.key not in removed | {change.key}]
        if (problem := change.conflict(beside, apex)) is not None:
            raise RefusedError("InvalidChangeBatch", f"[{problem}]")


class _Change:
    """A change of a record set, or the set itself."""

    def __init__(self, element: ElementTree.Element) -> None:
        self.action = element.findtext(".//{*}Action") or ""
        self.name = _name(element.findtext(".//{*}Name"))
        self.kind = element.findtext(".//{*}Type") or ""
        self.identifier = element.findtext(".//{*}SetIdentifier")
        self.health_check = element.findtext(".//{*}HealthCheckId")

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What makes it one set and not another."""
        return self.name, self.kind, self.identifier

    def problem(self, apex: str) -> str | None:
        """What is wrong with it in a zone of this name, whatever else is in there."""
        if self.name != apex and not self.name.endswith("." + apex):
            return f"RRSet with DNS name {self.name} is not permitted in zone {apex}"
        if self.kind == "CNAME" and self.name == apex and self.action != "DELETE":
            return f"RRSet of type CNAME with DNS name {self.name} is not permitted at apex in zone {apex}"
        return None

    def conflict(self, beside: Sequence["_Change"], apex: str) -> str | None:
        """What keeps it from being beside other sets of its name."""
        if any("CNAME" in (self.kind, other.kind) and self.kind != other.kind for other in beside):
            reason = f"conflicts with other records with the same DNS name in zone {apex}"
            return f"RRSet of type {self.kind} with DNS name {self.name} is not permitted as it {reason}"
        if any(other.kind == self.kind and (other.identifier is None) != (self.identifier is None) for other in beside):
            reason = "as a simple and a routed record set cannot have the same name and type"
            return f"RRSet with DNS name {self.name}, type {self.kind}, SetIdentifier {self.identifier} cannot be created {reason}"
        return None


def _name(text: str | None) -> str:
    return (text or "").lower().rstrip(".") + "."


# CloudWatch and Systems Manager


def _put_dashboard(passing: Passing) -> None:
    parameters = passing.parameters()
    try:
        body = json.loads(parameters.get("DashboardBody", ""))
    except ValueError:
        problems = [("/", "The field DashboardBody must be a valid JSON object")]
    else:
        problems = list(_dashboard_problems(body))
    if problems:
        listed = json.dumps([{"dataPath": path, "message": message} for path, message in problems])
        count = f"there are {len(problems)} validation errors" if len(problems) > 1 else "there is 1 validation error"
        raise RefusedError("InvalidParameterInput", f"The dashboard body is invalid, {count}: {listed}")


def _dashboard_problems(body: object) -> list[tuple[str, str]]:
    if not isinstance(body, dict) or not isinstance(body.get("widgets"), list):
        return [("/", "Should have required property 'widgets'")]
    return [
        (f"/widgets/{number}", f"Should have required property '{name}'")
        for number, widget in enumerate(body["widgets"])
        for name in ("type", "properties")
        if not isinstance(widget, dict) or name not in widget
    ]


def _put_parameter(passing: Passing) -> None:
    parameters = passing.parameters()
    standard = parameters.get("Tier", "Standard") == "Standard"
    tier, most = ("Standard", 4096) if standard else ("Advanced", 8192)
    if len(str(parameters.get("Value", "")).encode()) > most:
        message = f"{tier} tier parameters support a maximum parameter value of {most} characters."
        if standard:
            message += " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
        raise RefusedError("ValidationException", message)


# Step Functions and Lambda


def _start_execution(passing: Passing) -> None:
    parameters = passing.parameters()
    if not _is_json(parameters.get("input", "{}")):
        raise RefusedError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{_shortened(parameters['input'])}'")


def _send_task_success(passing: Passing) -> None:
    parameters = passing.parameters()
    if not _is_json(parameters.get("output", "")):
        raise RefusedError("InvalidOutput", f"Invalid Output: '{_shortened(parameters.get('output'))}'")


def _invoke(passing: Passing) -> None:
    kind, size = passing.request.headers.get("X-Amz-Invocation-Type", "RequestResponse"), len(passing.body)
    most = _PAYLOAD_BYTES.get(kind, _PAYLOAD_BYTES["RequestResponse"])
    if size > most:
        message = f"{size} byte payload is too large for the {kind} invocation type (limit {most} bytes)"
        raise RefusedError("RequestTooLargeException", message, 413)
    if passing.body and not _is_json(passing.body):
        raise RefusedError("InvalidRequestContentException", "Could not parse request body into json: Could not parse payload into json")


def _is_json(text: str | bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


_CHECKS: Final[Mapping[str, Callable[[Passing], None]]] = {
    "lambda:Invoke": _invoke,
    "monitoring:PutDashboard": _put_dashboard,
    "sns:Publish": _publish,
    "sqs:SendMessage": _send_message,
    "ssm:PutParameter": _put_parameter,
    "states:SendTaskSuccess": _send_task_success,
    "states:StartExecution": _start_execution,
}
# Those that must know what there is.
_LOOK_UPS: Final[Mapping[str, Callable[[Passing, ControlPlane], Awaitable[None]]]] = {
    "events:DisableRule": _rule_exists,
    "events:EnableRule": _rule_exists,
    "events:ListRules": _bus_exists,
    "events:ListTargetsByRule": _rule_exists,
    "events:RemoveTargets": _rule_exists,
    "route53:ChangeResourceRecordSets": _change_record_sets,
}
