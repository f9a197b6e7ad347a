"""Authorisations: each is noted with the statements that allow it, and the gateway may ask for one, for the calls that moto serves.

POST PATH {"accessKey", "account", "region", "action", "resources"} answers {} or {"message"}, why not. The notes are JSON lines in the file
LOCALCLOUD_AUTHORISATIONS, each once: account and role of the caller, action, decision, and of the role's own policies `allowed_by`, the
statements that allow it, by Sid, place of the action and place of the resource. Checked against ministack 1.5.33.
"""

import json
import os
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam
from own_path import Application, with_path  # beside this file

PATH = "/_localcloud/authorise"

_resolve_principal = iam_evaluator.resolve_principal
_evaluate = iam_evaluator.evaluate
_resource_matches = iam_evaluator._resource_matches
_noted: set[str] = set()


class _OwnPolicies(list[Any]):
    """The policies of a principal, to be told from those of a resource."""


def _resolve_principal_and_mark(*arguments: Any, **more: Any) -> Any:
    principal = _resolve_principal(*arguments, **more)
    if getattr(principal, "policies", None) is not None:
        principal.policies = _OwnPolicies(principal.policies)
    return principal


def _evaluate_and_note(context: Any, policies: Any, *limits: Any) -> Any:
    result = _evaluate(context, policies, *limits)
    if isinstance(policies, _OwnPolicies) and context.principal_type == "AssumedRole":
        matching = [_places(context, one) for policy in policies for one in policy if iam_evaluator._first_match(context, [one], "Allow")]
        role = iam_evaluator._role_name_from_assumed_arn(context.principal_arn)
        noted = {"account": context.principal_account, "role": role, "action": context.action, "allowed_by": matching}
        line = json.dumps({**noted, "decision": result.decision})
        if line not in _noted:
            _noted.add(line)
            with Path(os.environ["LOCALCLOUD_AUTHORISATIONS"]).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return result


def _matches_what_is_known(resource_arn: str, resources: list[str], not_resources: list[str]) -> bool:
    """ministack says "*" where it does not know what a call is about (a change of Route 53, an archive): any resource may be meant."""
    return resource_arn == "*" or _resource_matches(resource_arn, resources, not_resources)


def _places(context: Any, statement: Any) -> list[Any]:
    """The statement, and which of its actions and of its resources fit, by their places."""
    actions = [place for place, one in enumerate(statement.actions) if iam_evaluator._action_matches(context.action, [one], [])]
    fitting = [place for place, one in enumerate(statement.resources) if iam_evaluator._resource_matches(context.resource_arn, [one], [])]
    return [statement.sid, min(actions, default=None), min(fitting, default=None)]


def _authorise(asked: dict[str, Any]) -> dict[str, str]:
    """Why the principal of an access key may not do something to one of the resources; nothing where it may. Root may everything."""
    principal = iam_evaluator.resolve_principal(asked["accessKey"], asked["account"])
    if isinstance(principal, iam_evaluator.AuthError):
        return {"message": principal.message}
    for resource in asked["resources"] if principal.policies is not None else ():
        context = iam_evaluator.EvalContext(
            principal_arn=principal.arn,
            principal_type=principal.type,
            principal_account=principal.account,
            action=asked["action"],
            resource_arn=resource,
            region=asked["region"],
            principal_keys=principal.keys,
        )
        if iam_evaluator.evaluate(context, principal.policies, *principal.limits).decision != "Allow":
            return {"message": f"User: {principal.arn} is not authorized to perform: {asked['action']} on resource: {resource}"}
    return {}


def trusts(role: Any, service: str) -> bool:
    """Whether a role's trust policy names the service."""
    trust = role["AssumeRolePolicyDocument"]
    return service in json.dumps(trust if isinstance(trust, dict) else json.loads(trust))


def role_may(principal: str, account: str, role: str, action: str, resource: str, region: str) -> bool:
    """Whether a role's policies and its boundary let a session of it do something; noted like every authorisation."""
    policies = _OwnPolicies(iam_evaluator._gather_role_policies(role, account))
    context = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=region,
    )
    limits = iam_evaluator._permissions_boundary(iam._roles, role, account)
    return bool(iam_evaluator.evaluate(context, policies, *limits).decision == "Allow")


def serve(application: Application) -> Application:
    """The application with PATH."""
    return with_path(application, PATH, lambda _method, body: (200, _authorise(json.loads(body))))


iam_evaluator.resolve_principal = _resolve_principal_and_mark
iam_evaluator.evaluate = _evaluate_and_note
iam_evaluator._resource_matches = _matches_what_is_known
