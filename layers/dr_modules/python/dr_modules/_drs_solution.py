"""Recovery plans of the DRS Orchestration Solution (github.com/johnjcousens/aws-elasticdrs-orchestrator), through its execution handler.

The handler is a Lambda function: `{"operation": "start_execution", ...}` answers 202 with an executionId, or 409 while the plan or one
of its servers is being executed; `{"operation": "get_execution_details", ...}` answers the execution. Answers are
`{"statusCode", "body"}`, the body a JSON text.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.config import Config

from dr_core.errors import ErrorClass, ModuleError
from dr_modules.base import Status

# It validates the plan against DRS before it answers. A repetition would be a second request to start.
PATIENTLY_ONCE = Config(read_timeout=60, retries={"mode": "standard", "total_max_attempts": 1})

_FAILED = frozenset({"FAILED", "CANCELLED", "PARTIAL"})
_SERVER_OK = frozenset({"LAUNCHED", "COMPLETED", "SUCCEEDED"})
# Under one of these names a wave has its servers, depending on the solution's version.
_SERVERS = ("serverExecutions", "servers", "serverStatuses")

ErrorMaker = Callable[[str, str, ErrorClass], ModuleError]


@dataclass(frozen=True)
class Answer:
    """What the handler said."""

    code: int
    body: Mapping[str, Any]

    @property
    def message(self) -> str:
        """Its own words."""
        return f"{self.code} {self.body.get('error', '')}: {self.body.get('message', '')}"[:500]


@dataclass(frozen=True)
class Solution:
    """A plan, the handler that executes it, and how to make an error that names the resource."""

    function: str
    plan: str
    execution_type: str  # RECOVERY or DRILL
    error: ErrorMaker

    def start(self, lambda_client: Any, initiated_by: str) -> str:
        """Have the plan executed, or adopt the execution that runs. Returns its id; raises ModuleError where there is none."""
        answer = self._call(
            lambda_client,
            {"operation": "start_execution", "planId": self.plan, "executionType": self.execution_type, "initiatedBy": initiated_by},
        )
        if answer.code == 409:
            return self._running(lambda_client, answer)
        execution = answer.body.get("executionId")
        if answer.code not in (200, 202) or not execution:
            raise self._refusal(answer)
        return str(execution)

    def status(self, lambda_client: Any, execution: str) -> Status:
        """How the execution does."""
        found = self._details(lambda_client, execution)
        state = str(found.get("status", "unknown")).upper()
        waves = [wave for wave in found.get("waves") or [] if isinstance(wave, Mapping)]
        ended = [wave for wave in waves if str(wave.get("status", "")).upper() == "COMPLETED"]
        total = max(len(waves), int(found.get("totalWaves") or 0))
        what = f"plan {self.plan}: execution {execution} is {state}" + (f", {len(ended)} of {total} waves done" if total else "")
        if state == "COMPLETED":
            return Status.done(what)
        if state in _FAILED:
            servers = ", ".join(_not_launched(waves)) or "it names no server"
            reason = found.get("errorMessage") or found.get("statusMessage") or ""
            return Status.failed(f"Execution{state.capitalize()}", f"{what}: {servers} {reason}".rstrip())
        if state == "PAUSED":
            return Status.in_progress(f"{what}: it waits for its own approval; resume it in the DRS Orchestration Solution")
        return Status.in_progress(what, 100 * len(ended) // total if total else None)

    def _running(self, lambda_client: Any, refused: Answer) -> str:
        """The execution of this plan that runs already, out of the refusal to start another one."""
        details = refused.body.get("details") or {}
        others = [other for other in details.get("conflictingExecutions") or [] if other.get("planId") == self.plan]
        executions = [*(details.get("activeExecutions") or []), *(other.get("executionId") for other in others)]
        if not executions or not executions[0]:
            raise self.error("PlanInUse", f"plan {self.plan} cannot be executed now: {refused.message}", ErrorClass.RETRYABLE)
        kind = self._details(lambda_client, str(executions[0])).get("executionType", self.execution_type)
        if str(kind).upper() != self.execution_type:
            message = f"plan {self.plan} is being executed as {kind} ({executions[0]}), not as {self.execution_type}"
            raise self.error("PlanInUse", f"{message}: wait until it has ended, or cancel it there", ErrorClass.RETRYABLE)
        return str(executions[0])

    def _details(self, lambda_client: Any, execution: str) -> Mapping[str, Any]:
        event = {"operation": "get_execution_details", "executionId": execution, "queryParams": {"planId": self.plan}}
        answer = self._call(lambda_client, event)
        if answer.code != 200:
            raise self._refusal(answer)
        return answer.body

    def _call(self, lambda_client: Any, event: Mapping[str, object]) -> Answer:
        returned = lambda_client.invoke(FunctionName=self.function, Payload=json.dumps(event).encode())
        text = returned["Payload"].read().decode(errors="replace")
        if returned.get("FunctionError"):
            message = f"{self.function} failed in {event['operation']}: {text[:300]}"
            raise self.error("FunctionError", f"{message}; look at its log", ErrorClass.AMBIGUOUS)
        try:
            answer = json.loads(text)
            body = answer["body"]
            body = json.loads(body) if isinstance(body, str) else body
            return Answer(int(answer["statusCode"]), {**body})
        except (KeyError, TypeError, ValueError) as error:
            message = f"{self.function} answered {event['operation']} with {text[:300]}"
            remedy = "name the DRS Orchestration Solution's execution handler in FunctionName"
            raise self.error("UnexpectedAnswer", f"{message}: {remedy}", ErrorClass.TERMINAL) from error

    def _refusal(self, answer: Answer) -> ModuleError:
        classes = {4: ErrorClass.TERMINAL, 5: ErrorClass.AMBIGUOUS}
        error_class = ErrorClass.THROTTLED if answer.code == 429 else classes.get(answer.code // 100, ErrorClass.RETRYABLE)
        message = f"the DRS Orchestration Solution refused plan {self.plan}: {answer.message}"
        return self.error(str(answer.body.get("error") or "SolutionRefused"), f"{message}; mend it there", error_class)


def _not_launched(waves: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The servers that did not come up, with their state."""
    for wave in waves:
        for server in next((wave[name] for name in _SERVERS if wave.get(name)), []):
            state = str(server.get("launchStatus") or server.get("status") or "unknown").upper()
            if state not in _SERVER_OK:
                name = server.get("serverName") or server.get("hostname") or server.get("sourceServerId") or "a server"
                yield f"{name} {state}"
