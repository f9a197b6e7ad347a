"""A state machine calls functions with the rights of its role, which ministack does not ask for. In ministack's environment.

Asked for, as on AWS: the role, its trust in Step Functions, and `lambda:InvokeFunction` on the function. A task without the right fails
with Lambda.AWSLambdaException, also one that waits for a token. Checked against ministack 1.5.33.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import authorisations  # beside this file
from ministack.core.responses import get_region
from ministack.services import iam, lambda_svc, stepfunctions

_SERVICE: Final = "states.amazonaws.com"
_ACTION: Final = "lambda:InvokeFunction"
_role: ContextVar[str] = ContextVar("role", default="")  # of the execution at work

_run_execution = stepfunctions._run_execution
_call_lambda = stepfunctions._call_lambda
_invoke_with_callback = stepfunctions._invoke_with_callback


def _run_as_role(execution_arn: str) -> None:
    execution = stepfunctions._executions.get(execution_arn) or {}
    machine = stepfunctions._state_machines.get(execution.get("stateMachineArn")) or {}
    _role.set(machine.get("roleArn", ""))
    _run_execution(execution_arn)


def _call_if_allowed(function: str, event: Any) -> Any:
    _ask_for(function)
    return _call_lambda(function, event)


def _call_back_if_allowed(resource: str, given: Any, token: str, state: Mapping[str, Any]) -> Any:
    """ministack itself would wait for the token although the call was refused."""
    if "states:::lambda:invoke" in resource:
        _ask_for(stepfunctions._resolve_lambda_function_ref(given.get("FunctionName", ""), optimized=True))
    return _invoke_with_callback(resource, given, token, state)


def _ask_for(function: str) -> None:
    """Raise the error of a task whose state machine may not call the function. One that does not exist is not asked for."""
    _, config, _ = lambda_svc._get_func_record_for_ref(function)
    if config and (problem := _refusal(config["FunctionArn"])):
        raise stepfunctions._ExecutionError("Lambda.AWSLambdaException", problem)


def _refusal(function_arn: str) -> str:
    account, _, name = _role.get().removeprefix("arn:aws:iam::").partition(":role/")
    name = name.rpartition("/")[2]
    role = iam._roles.get_scoped(account, None, name)
    if role is None:
        return f"the state machine's role {_role.get()} does not exist"
    if not authorisations.trusts(role, _SERVICE):
        return f"the state machine's role {_role.get()} does not trust {_SERVICE}"
    who = f"arn:aws:sts::{account}:assumed-role/{name}/states"
    if authorisations.role_may(who, account, name, _ACTION, function_arn, get_region()):
        return ""
    return f"User: {who} is not authorized to perform: {_ACTION} on resource: {function_arn}"


def install() -> None:
    """Extend Step Functions in this process."""
    stepfunctions._run_execution = _run_as_role
    stepfunctions._call_lambda = _call_if_allowed
    stepfunctions._invoke_with_callback = _call_back_if_allowed
