"""LambdaFunction: call a function of your own, in any phase, in the Region that the phase acts on.

`InvocationType` is `Event` (the default: the function is triggered, and the resource is done when Lambda has accepted the call) or
`RequestResponse` (done when the function has returned; a FunctionError fails the resource with the function's own message).

The function gets the manifest's Payload and in it `context`: executionId, application, phase, mode, resourceName, attempt and
idempotencyKey. Whether a function was called cannot be observed afterwards, so the outcome is kept as the act's handle, and a check that
finds none says NOT_STARTED: after a crash between the call and its record the function is called again. It is called at least once, with
the same idempotencyKey in every attempt, and tells a repetition by that key.

In a drill the function is called too, and told so by `mode`: it must leave production untouched itself. What it has done then, the drill's
CLEANUP does not take back.

Example manifest resource:

    {
      "action": "LambdaFunction",
      "resourceName": "warm-caches",
      "parameters": {
        "FunctionName": "warm-caches",
        "InvocationType": "RequestResponse",
        "Payload": {"caches": ["sessions", "products"]}
      }
    }
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from pydantic import Field, field_validator

from dr_core.errors import ErrorClass
from dr_core.phases import Phase
from dr_modules.base import DRModule, Handle, ModuleParameters, Permissions, PreflightFinding, Status, Text, register

# All synchronous calls of one resource share this time. A function can run for 900 s, but so can the one that calls it: the rest is
# for recording what came back.
_CALL_SECONDS = 870
_NEVER_RUNS = ("Failed", "Deactivating", "Deactivated", "ActiveNonInvocable", "Deleting")


class LambdaFunctionParameters(ModuleParameters):
    """One call of a manifest resource; FunctionName is a name, a name with alias or version, or an ARN."""

    function: Text = Field(alias="FunctionName", description="a name, a name with alias or version, or an ARN")
    invocation_type: Literal["Event", "RequestResponse"] = Field(
        alias="InvocationType",
        default="Event",
        description="`Event`: done when Lambda has accepted the call; `RequestResponse`: when it returned",
    )
    payload: dict[str, Any] = Field(
        alias="Payload", default_factory=dict, description="what the function gets, beside the orchestrator's own key `context`"
    )

    @field_validator("payload")
    @classmethod
    def _context_is_ours(cls, payload: dict[str, Any]) -> dict[str, Any]:
        if "context" in payload:
            raise ValueError("Payload must not have a key `context`: the orchestrator writes the execution's there")
        return payload


@register("LambdaFunction")
class LambdaFunction(DRModule[LambdaFunctionParameters]):
    """Functions of AWS Lambda. All phases are the same call; the function is told which one it is."""

    drills = frozenset({Phase.INSTANTIATE, Phase.ACTIVATE})
    permissions: ClassVar[Permissions] = dict.fromkeys(
        Phase, ("lambda:InvokeFunction", "lambda:GetFunctionConfiguration", "lambda:GetFunctionConcurrency")
    )
    check_cap_seconds = 5
    timeout_seconds = 1200
    lease_seconds = _CALL_SECONDS + 60
    terminal_codes = frozenset({"RequestTooLargeException", "UnsupportedMediaTypeException", "RecursiveInvocationException"})

    _until: float | None = None  # when the calls of this resource must have ended

    @classmethod
    def not_undone(cls, raw: Mapping[str, object]) -> str:
        """Nobody but the function knows what it did."""
        return f"what {raw.get('FunctionName')} has done in the drill is known to it alone, and is left as it is"

    def preflight(self, parameters: LambdaFunctionParameters) -> Iterator[PreflightFinding]:
        """Whether the function is there and would run: its state, its time-out, its reserved concurrency."""
        function, client = parameters.function, self.client("lambda")
        try:
            found = client.get_function_configuration(FunctionName=function)
        except client.exceptions.ResourceNotFoundException:
            message = f"there is no function {function} in {self.target.region}: correct FunctionName, or deploy it there"
            yield self.obstacle("ResourceNotFoundException", message)
            return
        # Neither is told of functions that were made before states were.
        state, update = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
        reason = found.get("StateReason") or "no reason given"
        if state in _NEVER_RUNS:
            yield self.obstacle("FunctionNotActive", f"{function} is {state} ({reason}): deploy it again")
        elif state != "Active":
            yield self.warning(
                "FunctionNotActive", f"{function} is {state} ({reason}): wait until it is Active; an Inactive one, call once"
            )
        if update != "Successful":
            why = found.get("LastUpdateStatusReason") or "no reason given"
            yield self.warning("LastUpdate", f"the last update of {function} is {update} ({why}): what runs may be what was before it")
        if parameters.invocation_type == "RequestResponse" and found["Timeout"] > _CALL_SECONDS:
            message = f"{function} may run for {found['Timeout']} s, and its answer is awaited for {_CALL_SECONDS} s"
            yield self.warning("TimeoutTooLong", f"{message}: lower its time-out, or call it with InvocationType Event")
        unqualified = ":".join(found["FunctionArn"].split(":")[:7])  # concurrency is reserved for all versions together
        try:
            concurrency = client.get_function_concurrency(FunctionName=unqualified)
        except ClientError as error:
            if not error.response["Error"]["Code"].startswith("AccessDenied"):
                raise
            # It does not keep the function from being called: that needs another permission.
            yield self.warning(
                "ConcurrencyUnknown", f"the reserved concurrency of {function} could not be read, with 0 every call is throttled: {error}"
            )
            return
        if concurrency.get("ReservedConcurrentExecutions") == 0:
            message = f"{function} has a reserved concurrency of 0: every call is throttled"
            yield self.obstacle("NoConcurrency", f"{message}; reserve more, or none")

    def instantiate(self, parameters: LambdaFunctionParameters) -> Handle:
        """Call the function."""
        return self._call(parameters)

    def instantiate_status_check(self, parameters: LambdaFunctionParameters) -> Status:
        """What became of the call."""
        return self._outcome(parameters)

    def activate(self, parameters: LambdaFunctionParameters) -> Handle:
        """Call the function."""
        return self._call(parameters)

    def activate_status_check(self, parameters: LambdaFunctionParameters) -> Status:
        """What became of the call."""
        return self._outcome(parameters)

    def cleanup(self, parameters: LambdaFunctionParameters) -> Handle:
        """Call the function."""
        return self._call(parameters)

    def cleanup_status_check(self, parameters: LambdaFunctionParameters) -> Status:
        """What became of the call."""
        return self._outcome(parameters)

    def replicate(self, parameters: LambdaFunctionParameters) -> Handle:
        """Call the function."""
        return self._call(parameters)

    def replicate_status_check(self, parameters: LambdaFunctionParameters) -> Status:
        """What became of the call."""
        return self._outcome(parameters)

    def _outcome(self, parameters: LambdaFunctionParameters) -> Status:
        outcome, request_id = self.handle.get("outcome"), self.handle.get("requestId", "")
        if outcome == "accepted":
            return Status.done(f"{parameters.function}: call {request_id} accepted")
        if outcome == "returned":
            return Status.done(f"{parameters.function}: call {request_id} returned")
        if outcome == "failed":
            return Status.failed("FunctionError", f"{parameters.function}: call {request_id} failed: {self.handle.get('error', '')}")
        if outcome == "lost":
            message = "was sent, but its answer was lost; a retry calls it again with the same idempotencyKey"
            return Status.failed("AnswerLost", f"{parameters.function}: the call {message}")
        return Status.not_started(f"{parameters.function}: not called")

    def _call(self, parameters: LambdaFunctionParameters) -> Handle:
        try:
            answer = self._client().invoke(
                FunctionName=parameters.function,
                InvocationType=parameters.invocation_type,
                Payload=json.dumps({**parameters.payload, "context": self._context()}).encode(),
            )
        except (HTTPClientError, ClientError) as error:
            # Not every error says that the function has not run: without an answer, or with a server's error, it may have.
            if isinstance(error, HTTPClientError) or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                self.keep(self.position, {"outcome": "lost"})
            raise
        request_id = str(answer["ResponseMetadata"].get("RequestId", ""))
        status, expected = answer["StatusCode"], 202 if parameters.invocation_type == "Event" else 200
        if answer.get("FunctionError"):
            return {"outcome": "failed", "requestId": request_id, "error": _reason(answer["Payload"].read())}
        if status != expected:
            message = f"{parameters.function}: Lambda answered {status} instead of {expected}: look at call {request_id} in its log"
            raise self.error("UnexpectedAnswer", message, ErrorClass.RETRYABLE)
        return {"outcome": "accepted" if status == 202 else "returned", "requestId": request_id}

    def _client(self) -> Any:
        """A client that waits as long as a function can run, within what the resource's calls have left, and never repeats a call."""
        now = time.monotonic()
        self._until = self._until or now + _CALL_SECONDS
        if self._until - now < 1:
            message = f"the calls took {_CALL_SECONDS} s together: give each function a resource of its own, they run in parallel"
            raise self.error("OutOfTime", message, ErrorClass.RETRYABLE)
        once = Config(read_timeout=int(self._until - now), retries={"mode": "standard", "total_max_attempts": 1}, tcp_keepalive=True)
        return self.client("lambda", once)

    def _context(self) -> dict[str, object]:
        run = self.run
        key = hashlib.sha256(f"{run.execution_id}|{run.resource_id}|{self.position}".encode()).hexdigest()[:32]
        return {
            "executionId": run.execution_id,
            "application": run.application,
            "phase": run.phase,
            "mode": run.mode,
            "resourceName": run.resource_name,
            "attempt": run.attempt,
            "idempotencyKey": key,
        }


def _reason(payload: bytes) -> str:
    """What a failed function says of itself: errorType and errorMessage, else the beginning of its answer."""
    text = payload.decode(errors="replace")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("errorMessage"):
        text = f"{said.get('errorType', 'Error')}: {said['errorMessage']}"
    return text[:300]
