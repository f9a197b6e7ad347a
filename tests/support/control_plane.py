"""The orchestrator's own AWS in this process: moto, the table as the template has it, one clock, and a record of every call.

Calls are seen, and where a test says so answered, inside botocore: also those of pynamodb, whose sessions are its own. What is sent
to a queue is only recorded: a test delivers it when it wants to.
"""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.handlers
import botocore.session
import pytest
from botocore.compat import accepts_kwargs
from botocore.loaders import create_loader
from botocore.model import OperationModel
from moto import mock_aws
from moto.dynamodb import models as moto_models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table as MotoTable

from dr_core import approval_votes, approvals, bus, queues, state, target
from dr_core.phases import Mode, Phase
from dr_core.records import Approval, ApprovalStatus, Execution, ExecutionStatus, Layer, LayerStatus, Resource, ResourceStatus
from dr_core.state import Table
from dr_engine import executor, intake
from dr_people import asking, mail, slack, wellbeing
from tests.support.sessions import OneOfEach
from tests.support.state_table import TABLE_NAME, create_state_table

HOME, OTHER, ACCOUNT, SHA, ID = "us-west-2", "us-east-1", "123456789012", "5ha", "01JZZZZZZZZZZZZZZZZZZZZZZZ"
QUEUES = ("ADVANCE_QUEUE_URL", "START_QUEUE_URL", "CHECK_QUEUE_URL", "APPROVAL_QUEUE_URL", "PREFLIGHT_QUEUE_URL")
T0 = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)

# Each test has new sessions, of which each reads the services' models and looks at its handlers anew: most of a test's time.
_shared_loader = cache(create_loader)
_known_accepts_kwargs = cache(accepts_kwargs)


@dataclass
class Clock:
    """Tells the time that the test sets."""

    now: datetime = T0

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Call:
    """One call to AWS, as the service knows it; `parameters` as they were given."""

    service: str
    operation: str
    parameters: dict[str, Any]


@dataclass
class Cloud:
    """The table, the clock, and the calls made so far."""

    clock: Clock = field(default_factory=Clock)
    calls: list[Call] = field(default_factory=list)
    _answers: dict[tuple[str, str], list[tuple[dict[str, Any] | BaseException, int]]] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The state table."""
        return state.table()

    def made(self, *operations: str) -> list[Call]:
        """The calls of these operations so far."""
        return [call for call in self.calls if call.operation in operations]

    def answer(self, service: str, operation: str, *answers: dict[str, Any] | BaseException, status: int = 400) -> None:
        """Answer the next calls of `operation`, one each, with an `{"Error": …}` or an exception; then moto answers again."""
        self._answers[service, operation] = [(one, status) for one in answers]

    def sent(self, queue: str) -> list[tuple[dict[str, Any], int]]:
        """The messages sent to the queue that a variable names: detail-type with detail, and the delay."""
        found = [call.parameters for call in self.made("SendMessage") if call.parameters["QueueUrl"].endswith(queue)]
        bodies = [(json.loads(one["MessageBody"]), one["DelaySeconds"]) for one in found]
        return [({"type": body["detail-type"], **body["detail"]}, delay) for body, delay in bodies]

    def events(self, execution_id: str = ID) -> list[str]:
        """The detail-types of an execution's events, in order."""
        return [entry.detail_type for entry in self.table.timeline(execution_id)]

    def items(self) -> list[dict[str, Any]]:
        """Everything that the table holds, in DynamoDB's own words."""
        found = boto3.client("dynamodb").scan(TableName=TABLE_NAME, ConsistentRead=True)
        assert "LastEvaluatedKey" not in found
        return sorted(found["Items"], key=lambda item: (item["pk"]["S"], item["sk"]["S"]))

    def empty(self) -> None:
        """Make the table anew. moto copies it in each transaction: a full one is slow."""
        boto3.client("dynamodb").delete_table(TableName=TABLE_NAME)
        create_state_table()
        self.calls.clear()

    def _saw(self, params: dict[str, Any], model: OperationModel, **_: object) -> None:
        self.calls.append(Call(str(model.service_model.signing_name), model.name, dict(params)))

    def _answered(self, model: OperationModel, **_: object) -> tuple[Any, dict[str, Any]] | None:
        waiting = self._answers.get((str(model.service_model.signing_name), model.name))
        if not waiting and model.name != "SendMessage":
            return None
        response, status = waiting.pop(0) if waiting else ({"MessageId": "sent"}, 200)
        if isinstance(response, BaseException):
            raise response
        return SimpleNamespace(status_code=status), {"ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "req-1"}, **response}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[Cloud]:
    """An account with nothing in it but the table; the environment of a function that uses the table and every queue."""
    with emulated(monkeypatch) as made:
        yield made


@contextmanager
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The same where no fixture is."""
    made = Cloud()
    hooks = [("before-parameter-build.*.*", _saw), ("before-call.*.*", _answered)]
    monkeypatch.setattr(botocore.handlers, "BUILTIN_HANDLERS", [*botocore.handlers.BUILTIN_HANDLERS, *hooks])
    monkeypatch.setattr("botocore.session.create_loader", _shared_loader)
    monkeypatch.setattr("botocore.hooks.accepts_kwargs", _known_accepts_kwargs)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, HOME)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("TABLE_NAME", TABLE_NAME)
    for name in QUEUES:
        monkeypatch.setenv(name, f"https://sqs.{HOME}.amazonaws.com/{ACCOUNT}/{name}")
    _copy_once(monkeypatch)
    forget()
    with mock_aws(), monkeypatch.context() as patch:
        patch.setattr("tests.support.control_plane._clouds", [made])
        patch.setattr(boto3, "DEFAULT_SESSION", _session())
        patch.setattr("dr_core.aws.own_session", _own)
        patch.setattr("pynamodb.connection.base.get_session", _of_pynamodb)
        create_state_table()
        made.calls.clear()
        yield made
    forget()


_clouds: list[Cloud] = []  # the one of the test that runs


def _saw(**given: Any) -> None:
    for cloud in _clouds:
        cloud._saw(**given)


def _answered(**given: Any) -> tuple[Any, dict[str, Any]] | None:
    return _clouds[0]._answered(**given) if _clouds else None


# Sessions serve all tests: they answer to the cloud of the one that runs.


@cache
def _of_pynamodb() -> botocore.session.Session:
    """pynamodb hooks into each client that it is given, and so needs new ones."""
    core = botocore.session.Session()
    core.set_credentials("AKIATEST", "secret", "token")
    core.set_config_variable("region", HOME)
    return core


@cache
def _own() -> OneOfEach:
    return OneOfEach(HOME)


@cache
def _session() -> boto3.Session:
    return boto3.Session(botocore_session=OneOfEach(HOME))


def _copy_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto copies the table for each action of a transaction, to be able to roll back: once for all of them is enough."""
    original = DynamoDBBackend.transact_write_items

    def transact(self: DynamoDBBackend, actions: list[dict[str, Any]]) -> None:
        copies: dict[int, Any] = {}

        def deepcopy(value: object) -> object:
            if not isinstance(value, MotoTable):
                return copy.deepcopy(value)
            if id(value) not in copies:
                copies[id(value)] = copy.deepcopy(value)
            return copies[id(value)]

        with monkeypatch.context() as patch:
            patch.setattr(moto_models, "copy", SimpleNamespace(deepcopy=deepcopy, copy=copy.copy))
            original(self, actions)

    monkeypatch.setattr(DynamoDBBackend, "transact_write_items", transact)


def forget() -> None:
    """Forget the clients that a function keeps between its invocations."""
    functions = (state.table, queues._sqs, bus._events, target.target_access, target._assume, executor.executor, intake.intake)
    approving = (approvals._signing_secret, approval_votes.votes, approval_votes._s3, mail.ses, asking.sns, slack._stored)
    watching = (wellbeing._sqs, wellbeing._cloudwatch)
    for each in (*functions, *approving, *watching):
        each.cache_clear()


# --- what is stored ---


def an_execution(execution_id: str = ID, **values: Any) -> Execution:
    """An execution that waits for its approval."""
    made = Execution(
        id=execution_id,
        application="shop",
        phase=Phase.ACTIVATE,
        mode=Mode.PLANNED,
        source_region=OTHER,
        target_region=HOME,
        home_region=HOME,
        status=ExecutionStatus.PENDING_APPROVAL,
        current_layer=0,
        layers_total=1,
        fence=1,
        manifest_sha256=SHA,
        manifest_version_id="v1",
        requested_by="olga",
        reason="Region down",
        requested_at=T0,
        due_at=T0,
    )
    return replace(made, **values)


def a_layer(number: int = 1, total: int = 1, **values: Any) -> Layer:
    """A layer that has not begun."""
    return replace(Layer(number, LayerStatus.PENDING, 0, total), **values)


def a_resource(layer: int = 1, index: int = 1, **values: Any) -> Resource:
    """A resource that has not begun."""
    identity = f"{layer:04d}-{index:03d}"
    made = Resource(identity, layer, f"lamp-{index}", "Lamp", ACCOUNT, "{}", ResourceStatus.PENDING, 0, 0, 0, 3, 600, 120)
    return replace(made, **values)


def an_approval(**values: Any) -> Approval:
    """Nobody has decided yet."""
    return replace(Approval(ApprovalStatus.PENDING, T0 + timedelta(hours=1), SHA, "olga", due_at=T0), **values)


def error(code: str, message: str = "no") -> dict[str, Any]:
    """An error answer of AWS."""
    return {"Error": {"Code": code, "Message": message}}


def cancelled(*codes: str) -> dict[str, Any]:
    """DynamoDB's answer when a transaction is cancelled for these reasons."""
    reasons = [{"Code": code, "Message": code} for code in codes]
    return {**error("TransactionCanceledException", f"Transaction cancelled [{', '.join(codes)}]"), "CancellationReasons": reasons}
