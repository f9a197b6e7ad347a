"""The functions as template.yaml deploys them: their own file, their own environment, and no call that their policy does not allow."""

import importlib.util
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, get_args

import pytest

from dr_core.calls import iam_action
from dr_core.settings import Name
from tests.support.control_plane import ACCOUNT, HOME, Cloud, forget
from tests.support.state_table import TABLE_NAME, TEMPLATE, template

BUCKET, REPORTS, BUS, TOPIC = "the-manifests", "the-reports", "the-bus", f"arn:aws:sns:{HOME}:{ACCOUNT}:the-topic"
MACHINE = f"arn:aws:states:{HOME}:{ACCOUNT}:stateMachine:the-machine"
PAGE, SECRET_NAME, SECRET = "https://page.example/", "the-signing-secret", "the-secret"
SLACK_SECRET_NAME = "the-slack-secret"
# What the template's references stand for here.
_STANDS_FOR = {
    "StateTableName": TABLE_NAME,
    "Bus": BUS,
    "ManifestBucket": BUCKET,
    "ReportBucket": REPORTS,
    "TargetRoleName": "the-role",
    "ExternalId": "the-external-id",
    "ApprovalTopic": TOPIC,
    "NotificationTopic": f"arn:aws:sns:{HOME}:{ACCOUNT}:the-notifications",
    "SigningSecret.Id": SECRET_NAME,
    "SlackSecret.Id": SLACK_SECRET_NAME,
    "SlackChannel": "-",
    "MailSender": "-",
    "OidcIssuer": "-",
    "OidcSecret.Id": "the-oidc-secret",
    "ApprovalStateMachine": MACHINE,
    "DecideApprovalFunctionUrl.FunctionUrl": PAGE,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": "dr-orchestrator",
    "DeadLetterQueue": "https://sqs.us-west-2.amazonaws.com/123456789012/dead-letters",
    "UndeliveredQueue": "https://sqs.us-west-2.amazonaws.com/123456789012/undelivered",
    "AdvanceQueue": "https://sqs/ADVANCE_QUEUE_URL",
    "StartResourceQueue": "https://sqs/START_QUEUE_URL",
    "CheckQueue": "https://sqs/CHECK_QUEUE_URL",
    "StartApprovalQueue": "https://sqs/APPROVAL_QUEUE_URL",
    "PreflightQueue": "https://sqs/PREFLIGHT_QUEUE_URL",
}
_TARGET_SERVICES = ("ssm", "ecs", "cloudformation")  # called with the rights of a target account's role
_numbers = count()
_noted: set[str] = set()
AUTHORISATIONS = TEMPLATE.parent / ".local" / "authorisations"
"""What the functions were allowed to do in a run of the tests, here and in local clouds; JSON lines."""


@dataclass
class Context:
    """What Lambda tells a function of its invocation."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-west-2:123456789012:function:it"
    aws_request_id: str = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        """Enough."""
        return 30_000


# moto takes a transaction that fails back by restoring all that there was when it began, also what others have written since.
_ONE_BY_ONE = ThreadPoolExecutor(1)


class Function:
    """One function; each invocation in an environment of its own, as after a cold start."""

    def __init__(self, name: str, cloud: Cloud, patch: pytest.MonkeyPatch) -> None:
        self.name = name
        self._cloud = cloud
        self._patch = patch
        self._defined = defined(name)

    def invoke(self, event: object) -> Any:
        """Call the handler. No call to AWS goes beyond the function's policy."""
        made = len(self._cloud.calls)
        with self._environment(), self._patch.context() as patch:
            module = self._load()
            if hasattr(module, "utc_now"):
                patch.setattr(module, "utc_now", self._cloud.clock)
            patch.setattr("dr_engine.executor.utc_now", self._cloud.clock)
            patch.setattr("dr_core.side_by_side._threads", _ONE_BY_ONE)
            answer = module.lambda_handler(event, Context(self.name))
        for call in self._cloud.calls[made:]:
            if call.service not in _TARGET_SERVICES:
                self._may(call.service, call.operation, call.parameters)
        return answer

    def deliver(self, *bodies: str) -> list[str]:
        """A batch of messages of its queue. Gives the positions, from 1, of those that failed."""
        answer = self.invoke({"Records": [_message(number, body) for number, body in enumerate(bodies, 1)]})
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def _load(self) -> Any:
        path = TEMPLATE.parent / "functions" / self.name / "app.py"
        spec = importlib.util.spec_from_file_location(f"handler_{self.name}_{next(_numbers)}", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """The variables that the template and Lambda itself give to the function, and no others."""
        forget()
        with self._patch.context() as patch:
            for name in get_args(Name):
                patch.delenv(name, raising=False)
            for name, value in variables(self._defined).items():
                patch.setenv(name, value)
            for name, value in {"AWS_REGION": HOME, "AWS_DEFAULT_REGION": HOME, "AWS_LAMBDA_FUNCTION_NAME": self.name}.items():
                patch.setenv(name, value)
            yield
        forget()

    def _may(self, service: str, operation: str, parameters: dict[str, Any]) -> None:
        if operation == "TransactWriteItems":
            wanted = {f"dynamodb:{_ACTIONS[kind]}" for action in parameters["TransactItems"] for kind in action}
        else:
            wanted = {iam_action(service, operation)}
        allowed = {action for statement in statements(self._defined) for action in _listed(statement["Action"])}
        assert wanted <= allowed, f"{self.name} calls {wanted - allowed}, which its policy does not allow"
        if index := parameters.get("IndexName"):
            resources = [str(one) for statement in statements(self._defined) for one in _listed(statement["Resource"])]
            assert any(one.endswith(f"/index/{index}") for one in resources), f"{self.name} may not use the index {index}"
        for action in wanted:
            self._note(action)

    def _note(self, action: str) -> None:
        (logical,) = [name for name, one in functions().items() if one is self._defined]
        note_authorisation(f"{logical}Role", action, [one["Sid"] for one in statements(self._defined) if action in _listed(one["Action"])])


def note_authorisation(role: str, action: str, sids: list[str]) -> None:
    """Keep which statements of a role allowed a call that a test saw, for tests.privileges: without them, it would have failed."""
    line = json.dumps({"role": role, "action": action, "allowed_by": [[sid, 0, 0] for sid in sids], "decision": "Allow"})
    if line not in _noted:
        _noted.add(line)
        AUTHORISATIONS.mkdir(parents=True, exist_ok=True)
        with (AUTHORISATIONS / f"unit-{os.getpid()}.jsonl").open("a") as file:
            file.write(line + "\n")


_ACTIONS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def defined(name: str) -> dict[str, Any]:
    """The function's properties in the template."""
    (found,) = [one for one in functions().values() if one["CodeUri"] == f"functions/{name}"]
    return found


def functions() -> dict[str, dict[str, Any]]:
    """The properties of all functions, by logical name."""
    return {name: one["Properties"] for name, one in template()["Resources"].items() if one["Type"] == "AWS::Serverless::Function"}


def statements(function: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of its policies."""
    return [statement for policy in function.get("Policies", []) for statement in policy["Statement"]]


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def variables(function: dict[str, Any]) -> dict[str, str]:
    """Its environment, everybody's and its own, with what the template's references stand for here."""
    given = {**template()["Globals"]["Function"]["Environment"]["Variables"], **function.get("Environment", {}).get("Variables", {})}
    return {name: value if name.startswith("POWERTOOLS_") else _value(value) for name, value in given.items()}


def _value(reference: object) -> str:
    if isinstance(reference, list):  # !If [condition, then, else], of which the default is the first
        return _value(reference[1])
    parameter = template()["Parameters"].get(reference, {})
    return _STANDS_FOR[str(reference)] if str(reference) in _STANDS_FOR else str(parameter.get("Default", reference))


def queue_function(queue: str) -> str:
    """The name of the function that a queue feeds."""
    (found,) = [
        one["CodeUri"].removeprefix("functions/")
        for one in functions().values()
        for source in one.get("Events", {}).values()
        if source["Type"] == "SQS" and source["Properties"]["Queue"] == f"{queue}.Arn"
    ]
    return str(found)


def announced(cloud: Cloud, execution_id: str, *detail_types: str) -> list[str]:
    """The execution's events of these types, as a rule puts them into a queue."""
    found = [entry for entry in cloud.table.timeline(execution_id) if entry.detail_type in detail_types]
    return [on_bus(entry.detail_type, json.loads(entry.detail), entry.source, entry.id) for entry in found]


def on_bus(detail_type: str, detail: object, source: str, event_id: str) -> str:
    """An event as EventBridge delivers it."""
    envelope = {"version": "0", "id": event_id, "detail-type": detail_type, "source": source, "account": ACCOUNT}
    return json.dumps({**envelope, "time": "2031-03-01T12:00:00Z", "region": HOME, "resources": [], "detail": detail})


def sample(path: Path) -> str:
    """A sample of events/ as the body of a message."""
    return json.dumps(json.loads(path.read_text()))


def _message(number: int, body: str) -> dict[str, object]:
    return {
        "messageId": str(number),
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{HOME}:{ACCOUNT}:the-queue",
        "awsRegion": HOME,
    }
