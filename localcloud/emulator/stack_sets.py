"""AWS::CloudFormation::StackSet in a template, service-managed, which ministack lacks. In ministack's environment.

CloudFormation makes, updates and deletes a stack in each account of the organizational units, those below them included, but for the
management account, and in each Region. The operation is over when each of them is; one that fails fails it. What is not here: the API of
StackSets, self-managed sets, the tolerances of `OperationPreferences`, and the deployment into an account on the day that it joins.

Checked against ministack 1.5.33.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ministack.core.responses import get_account_id, request_scope
from ministack.services import organizations
from ministack.services.cloudformation import _stacks, handlers, helpers, provisioners, stacks

_TYPE: Final = "AWS::CloudFormation::StackSet"
_on_worker_thread = stacks._runs_on_worker_thread
Properties = Mapping[str, Any]
Place = tuple[str, str]


def _create(logical_id: str, props: Properties, stack_name: str) -> tuple[str, dict[str, Any]]:
    return _update(f"{props['StackSetName']}:{uuid.uuid4()}", {}, props, stack_name)


def _update(physical_id: str, old: Properties, props: Properties, _stack_name: str) -> tuple[str, dict[str, Any]]:
    if props.get("PermissionModel") != "SERVICE_MANAGED" or "TemplateURL" not in props:
        raise ValueError("the local cloud has service-managed StackSets with a TemplateURL alone")
    body, problem = helpers._resolve_template({"TemplateURL": [_path_style(props["TemplateURL"])]})
    if problem or not body:
        raise ValueError(f"no template at {props['TemplateURL']}")
    wanted, present = set(_places(props)), set(_places(old))
    for place in sorted(present - wanted):
        _carry_out(handlers._delete_stack, old, place, {})
    for place in sorted(wanted):
        name = _name(props, place)
        with request_scope(*place):
            exists = name in _stacks and _stacks[name]["StackStatus"] != "DELETE_COMPLETE"
        _carry_out(handlers._update_stack if exists else handlers._create_stack, props, place, _request(props, body))
    return physical_id, {"StackSetId": physical_id}


def _delete(_physical_id: str, props: Properties) -> None:
    for place in sorted(_places(props)):
        _carry_out(handlers._delete_stack, props, place, {})


def _path_style(url: str) -> str:
    """The address with the bucket in its path, the only one by which ministack finds an object."""
    address = urlsplit(url)
    bucket, named, host = address.netloc.partition(".s3.")
    return f"https://s3.{host}/{bucket}{address.path}" if named else url


def _places(props: Properties) -> Iterator[Place]:
    """Account and Region of each stack."""
    for group in props.get("StackInstancesGroup", []):
        accounts = {one for unit in group["DeploymentTargets"]["OrganizationalUnitIds"] for one in _accounts(unit)} - {get_account_id()}
        yield from ((account, region) for account in accounts for region in group["Regions"])


def _accounts(unit: str) -> Iterator[str]:
    parent = {"ParentId": unit}
    yield from (one["Id"] for one in json.loads(organizations._list_accounts_for_parent(parent)[2])["Accounts"])
    for below in json.loads(organizations._list_organizational_units_for_parent(parent)[2])["OrganizationalUnits"]:
        yield from _accounts(below["Id"])


def _name(props: Properties, place: Place) -> str:
    """As AWS names them, but the same each time."""
    return f"StackSet-{props['StackSetName']}-{uuid.uuid5(uuid.NAMESPACE_URL, '/'.join(place))}"


def _request(props: Properties, body: str) -> dict[str, list[str]]:
    """What CloudFormation is asked for each stack, as the parameters of a query."""
    given = {"TemplateBody": body}
    for number, one in enumerate(props.get("Parameters", []), 1):
        given[f"Parameters.member.{number}.ParameterKey"] = one["ParameterKey"]
        given[f"Parameters.member.{number}.ParameterValue"] = one["ParameterValue"]
    given |= {f"Capabilities.member.{number}": one for number, one in enumerate(props.get("Capabilities", []), 1)}
    return {key: [value] for key, value in given.items()}


def _carry_out(
    operation: Callable[[Any], tuple[int, Any, bytes]], props: Properties, place: Place, request: Mapping[str, list[str]]
) -> None:
    """Do it, and wait until it is done. On a thread without an event loop; the stack is worked on in one of its own."""
    name = _name(props, place)

    async def done() -> None:
        status, _, answer = operation({**request, "StackName": [name]})
        if status != 200 and b"No updates are to be performed" not in answer:
            raise ValueError(f"{name} in {' '.join(place)}: {answer.decode()}")
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    with request_scope(*place):
        asyncio.run(done())
        stack = _stacks.get(name) or {"StackStatus": "DELETE_COMPLETE"}
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"):
        raise ValueError(f"{name} in {' '.join(place)}: {stack['StackStatus']} {stack['StackStatusReason']}")


def install() -> None:
    """Extend CloudFormation in this process."""
    provisioners._RESOURCE_HANDLERS[_TYPE] = {"create": _create, "update": _update, "delete": _delete}
    stacks._runs_on_worker_thread = lambda kind: kind == _TYPE or _on_worker_thread(kind)
