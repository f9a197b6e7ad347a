"""Commands: carried out once, or refused with the reason; either way the timeline tells it."""

import json
from typing import Any

import pytest

from dr_core import flow
from dr_core.control import Control
from dr_core.errors import OrchestratorError
from dr_core.events import Incoming
from dr_core.records import ApprovalStatus, ExecutionStatus, LayerStatus, ResourceStatus
from dr_core.state import Receipt
from tests.support.control_plane import ID, Cloud, a_layer, a_resource, an_approval, an_execution

REQUEST: dict[str, Any] = {"executionId": ID, "command": "pause", "clientToken": "t-1", "requestedBy": "olga", "reason": "a look first"}


def running(cloud: Cloud, **values: Any) -> None:
    """An execution in its first layer, which has one resource."""
    execution = an_execution(status=ExecutionStatus.RUNNING, current_layer=1, started_at=cloud.clock())
    resource = a_resource(**values)
    layer = a_layer(status=LayerStatus.RUNNING)
    assert cloud.table.create(execution, [layer], [resource], an_approval(status=ApprovalStatus.APPROVED), cloud.clock())


def take(cloud: Cloud, event_id: str = "event-1", **changed: Any) -> Receipt | None:
    """The command comes out of the queue."""
    detail = {name: value for name, value in {**REQUEST, **changed}.items() if value is not None}
    return Control(cloud.table, cloud.clock).take(
        Incoming.model_validate({"id": event_id, "detail-type": "Command Requested", "detail": detail})
    )


def told(cloud: Cloud) -> list[tuple[str, dict[str, Any]]]:
    """The timeline without its beginning."""
    return [(entry.detail_type, json.loads(entry.detail)) for entry in cloud.table.timeline(ID)][1:]


def status(cloud: Cloud) -> str:
    state = cloud.table.load(ID)
    assert state
    return state.execution.status


def test_a_command_is_carried_out_and_told_with_who_and_why(cloud: Cloud) -> None:
    running(cloud)
    assert take(cloud) == Receipt("t-1", "pause", "olga", "ACCEPTED")
    assert status(cloud) == "PAUSED"
    (accepted, fields), (paused, _) = sorted(told(cloud))
    assert (accepted, paused) == ("Command Accepted", "Execution Paused")
    assert {name: fields[name] for name in ("command", "resourceIds", "actor", "reason")} == {
        "command": "pause",
        "resourceIds": [],
        "actor": "olga",
        "reason": "a look first",
    }
    assert cloud.table.receipt(ID, "t-1") == Receipt("t-1", "pause", "olga", "ACCEPTED")


@pytest.mark.parametrize(("token", "event_id"), [("t-1", "event-2"), (None, "event-1")], ids=["same token", "same event"])
def test_a_command_that_comes_twice_is_carried_out_once(cloud: Cloud, token: str | None, event_id: str) -> None:
    running(cloud)
    first = take(cloud, clientToken=token)
    assert take(cloud, command="resume", clientToken="t-9") and status(cloud) == "RUNNING"
    before = cloud.items()
    assert take(cloud, event_id, clientToken=token) == first
    assert cloud.items() == before and status(cloud) == "RUNNING", "the repetition does not pause it again"


def test_two_commands_without_a_token_are_two(cloud: Cloud) -> None:
    running(cloud)
    assert take(cloud, "event-1", clientToken=None)
    again = take(cloud, "event-2", clientToken=None)
    assert again and again.outcome == "REFUSED", "it is paused already"


def test_a_command_that_the_state_does_not_allow_is_refused_with_the_reason_once(cloud: Cloud) -> None:
    running(cloud)
    why = "resume needs an execution that is PAUSED, this one is RUNNING"
    assert take(cloud, command="resume") == Receipt("t-1", "resume", "olga", "REFUSED", why)
    ((detail_type, fields),) = told(cloud)
    assert (detail_type, fields["command"], fields["why"], fields["reason"]) == ("Command Refused", "resume", why, "a look first")
    before = cloud.items()
    assert take(cloud, command="resume") == Receipt("t-1", "resume", "olga", "REFUSED", why), "and stays refused"
    assert cloud.items() == before


def test_a_command_names_its_resources(cloud: Cloud) -> None:
    running(cloud, status=ResourceStatus.FAILED, attempt=3)
    receipt = take(cloud, command="retry", resourceIds=["0001-001"])
    assert receipt and receipt.outcome == "ACCEPTED"
    flow.advance(cloud.table, ID, cloud.clock)
    (resource,) = cloud.table.resources(ID)
    assert (resource.status, resource.attempt, resource.spent) == ("REQUESTED", 4, 0)
    unknown = take(cloud, command="retry", resourceIds=["0001-009"], clientToken="t-2")
    assert unknown and "no resource 0001-009; it has 0001-001" in unknown.why


def test_a_command_is_decided_anew_when_the_execution_has_moved_meanwhile(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    running(cloud)
    load = type(cloud.table).load

    def overtaken(table: Any, execution_id: str) -> Any:
        state = load(table, execution_id)
        monkeypatch.setattr(type(cloud.table), "load", load)
        take(cloud, clientToken="t-of-somebody-else")
        return state

    monkeypatch.setattr(type(cloud.table), "load", overtaken)
    receipt = take(cloud)
    assert receipt and "this one is PAUSED" in receipt.why


def test_an_execution_that_never_rests_gives_the_command_back(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    running(cloud)
    monkeypatch.setattr(type(cloud.table), "commit", lambda *_: False)
    with pytest.raises(OrchestratorError, match="moved 10 times while pause was decided"):
        take(cloud)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"executionId": "01OTHER"}, "key executionId: String should match pattern"),
        ({"command": "stop"}, "key command: Input should be 'pause', 'resume', 'cancel', 'retry'"),
        ({"reason": None}, "key reason: Field required (add it)"),
        ({"resourceIds": ["db"]}, "key resourceIds.0: String should match pattern"),
        ({"colour": "red"}, "known are clientToken, command, executionId, reason, requestedBy, resourceIds"),
        ({"executionId": "01J0000000000000000000000X"}, "command for an execution that there is not"),
    ],
)
def test_what_nobody_can_be_told_is_logged(cloud: Cloud, caplog: pytest.LogCaptureFixture, changed: dict[str, Any], said: str) -> None:
    running(cloud)
    before = cloud.items()
    assert take(cloud, **changed) is None
    assert cloud.items() == before
    assert said in " ".join(str(vars(record)) for record in caplog.records)
