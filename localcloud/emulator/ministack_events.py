"""EventBridge between accounts and Regions, and the events of AWS's own services, which ministack lacks. In ministack's environment.

- A rule's target may be the bus of another account or Region. Asked for, as on AWS: the target's role, its trust in EventBridge, its right
  to put events on that bus, and the bus's own policy. An event keeps the account and the Region that it came from. What may not pass is
  logged and lost: ministack has no dead-letter queues of targets.
- A schedule whose target is a bus puts the event that its EventBridgeParameters and Input make, if its role may.
- AWS::Events::EventBusPolicy in a template.
- A POST of PATH puts events of sources `aws.…` on the default bus of an account and Region, which AWS lets nobody but its services do.

Checked against ministack 1.5.33.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

import authorisations  # beside this file
from ministack.core import iam_evaluator as evaluator
from ministack.core.arn import ArnParseError, parse_arn
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import eventbridge, iam
from ministack.services.cloudformation import provisioners
from own_path import Application, with_path  # beside this file

PATH: Final = "/_localcloud/service-events"
_SERVICE: Final = "events.amazonaws.com"
_SCHEDULER: Final = "scheduler.amazonaws.com"

_log = logging.getLogger("localcloud.events")
_invoke = eventbridge._invoke_target


def _invoke_anywhere(target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None) -> None:
    try:
        bus = parse_arn(target.get("Arn", ""))
    except ArnParseError:
        bus = None
    here = (get_account_id(), get_region())
    told = target.get("EventBridgeParameters")
    if told and bus is not None:
        problem = _refusal(target, told["Source"], here, bus, bus.resource.split("/", 1)[1], _SCHEDULER, told["DetailType"])
        if problem:
            _log.warning("schedule %s not carried out on %s: %s", rule.get("Name"), target["Arn"], problem)
            return
        event = {**event, "Source": told["Source"], "DetailType": told["DetailType"], "Resources": []}
    if bus is None or bus.service != "events" or not bus.resource.startswith("event-bus/") or (bus.account_id, bus.region) == here:
        _invoke(target, event, rule, view)
        return
    name = bus.resource.split("/", 1)[1]
    key = eventbridge._rule_key(rule.get("Name"), rule.get("EventBusName", "default"))
    path = list(event.get("_DispatchPath") or [])
    problem = _refusal(target, str(event.get("Source", "")), here, bus, name)
    if problem or key in path:
        _log.warning("event of %s not forwarded to %s: %s", event.get("Source"), target["Arn"], problem or "it has been here")
        return
    with request_scope(bus.account_id, bus.region):
        eventbridge._dispatch_event({**event, "EventBusName": name, "_DispatchPath": [*path, key]})


def _refusal(
    target: Mapping[str, Any], source: str, here: tuple[str, str], bus: Any, name: str, service: str = _SERVICE, detail_type: str = ""
) -> str:
    """Why the rule, or the schedule, may not put the event on the bus; empty if it may."""
    account, region = here
    owner, _, role_name = target.get("RoleArn", "").rpartition(":role/")
    role = iam._roles.get_scoped(account, None, role_name) if owner == f"arn:aws:iam::{account}" else None
    if role is None:
        return "the target has no role of its account"
    if not authorisations.trusts(role, service):
        return f"its role does not trust {service}"
    asked = evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{role_name}/events",
        principal_type="AssumedRole",
        principal_account=account,
        action="events:PutEvents",
        resource_arn=target["Arn"],
        region=region,
        service_context={"events:source": [source], **({"events:detail-type": [detail_type]} if detail_type else {})},
    )
    if evaluator.evaluate(asked, evaluator._gather_role_policies(role_name, account)).decision != "Allow":
        return "its role may not put events there"
    with request_scope(bus.account_id, bus.region):
        if name not in eventbridge._event_buses:
            return "there is no such bus"
        policy = eventbridge._event_bus_policies.get(name)
    if bus.account_id != account and evaluator.evaluate_resource_policy(policy, asked).decision != "Allow":
        return "the bus's policy does not let it"
    return ""


def _create_policy(_logical_id: str, props: Mapping[str, Any], _stack_name: str) -> tuple[str, dict[str, Any]]:
    bus, sid = props.get("EventBusName", "default"), props["StatementId"]
    _delete_policy(f"{bus}|{sid}", props)
    policy = eventbridge._event_bus_policies.get(bus) or {"Version": "2012-10-17", "Statement": []}
    eventbridge._event_bus_policies[bus] = {**policy, "Statement": [*policy["Statement"], {**props["Statement"], "Sid": sid}]}
    return f"{bus}|{sid}", {}


def _update_policy(physical_id: str, _old: Mapping[str, Any], props: Mapping[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    _delete_policy(physical_id, props)
    return _create_policy("", props, stack_name)


def _delete_policy(physical_id: str, _props: Mapping[str, Any]) -> None:
    bus, _, sid = physical_id.rpartition("|")
    policy = eventbridge._event_bus_policies.get(bus)
    if policy is not None:
        kept = [one for one in policy["Statement"] if one.get("Sid") != sid]
        eventbridge._event_bus_policies[bus] = {**policy, "Statement": kept}


def telling(served: Application) -> Application:
    """The application, which also takes events of AWS's own services: JSON, a list of events as EventBridge delivers them."""
    return with_path(served, PATH, _tell_all)


def _tell_all(_method: str, body: bytes) -> tuple[int, object]:
    try:
        for event in json.loads(body):
            _tell(event)
    except (ValueError, KeyError, TypeError) as error:
        return 400, {"message": f"not a list of events: {error!r}"}
    return 200, {}


def _tell(event: Mapping[str, Any]) -> None:
    entry = {
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Resources": event["resources"],
        "Detail": json.dumps(event["detail"]),
    }
    with request_scope(event["account"], event["region"]):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def install() -> None:
    """Extend EventBridge and CloudFormation in this process."""
    eventbridge._invoke_target = _invoke_anywhere
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBusPolicy"] = {
        "create": _create_policy,
        "update": _update_policy,
        "delete": _delete_policy,
    }
