"""Commands: carried out once, or refused with the reason; either way the timeline tells it."""

import json
from datetime import timedelta
from typing import Any

import boto3
import pytest

from dr_core import flow
from dr_core.control import Control
from dr_core.errors import OrchestratorError
from dr_core.events import Incoming
from dr_core.moves import LOST_AFTER
from dr_core.records import ApprovalStatus, ExecutionStatus, LayerStatus, ResourceStatus
from dr_core.state import LockedError, Receipt
from dr_core.triggers import Claim
from tests.support.control_plane import HOME, ID, OTHER, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.control_plane import cancelled as conflict
from tests.support.state_table import TABLE_NAME

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


@pytest.mark.failure("An operator's retry races with the close of the layer")
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


# --- takeover ---


def at_home_elsewhere(cloud: Cloud, **values: Any) -> None:
    """A replica of an execution of the other Region, whose only resource an executor there has claimed."""
    execution = an_execution(
        status=ExecutionStatus.RUNNING, current_layer=1, started_at=cloud.clock(), home_region=OTHER, due_at=cloud.clock(), **values
    )
    claimed: dict[str, Any] = {
        "status": ResourceStatus.STARTING,
        "attempt": 3,
        "lease_owner": "there",
        "lease_until": cloud.clock(),
        "due_at": cloud.clock(),
    }
    layer = a_layer(status=LayerStatus.RUNNING)
    approval = an_approval(status=ApprovalStatus.APPROVED)
    assert cloud.table.create(execution, [layer], [a_resource(**claimed)], approval, cloud.clock())


def test_an_execution_of_another_region_is_left_alone(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    before = cloud.items()
    cloud.clock.advance(600)
    assert flow.sweep(cloud.table, OTHER, cloud.clock) == 0
    state = cloud.table.load_resource(ID, "0001-001")
    assert state and flow.follow(cloud.table, state, Claim("0001-001", 3, "here"), cloud.clock) is None
    assert cloud.items() == before


def test_a_command_in_another_region_is_refused(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    receipt = take(cloud)
    assert receipt and receipt.outcome == "REFUSED"
    assert receipt.why == "its home is us-east-1, not us-west-2: give pause there, or, when us-east-1 is lost, take it over"
    ((refused, fields),) = told(cloud)
    assert (refused, fields["homeRegion"]) == ("Command Refused", HOME), "this Region tells it"
    assert status(cloud) == "RUNNING"


def test_a_command_that_names_far_too_many_is_refused_in_words(cloud: Cloud) -> None:
    """The event that tells of it has room for all of them."""
    running(cloud, status=ResourceStatus.FAILED, attempt=3)
    receipt = take(cloud, command="retry", resourceIds=["0001-001"] * 1000, reason="x" * 512)
    assert receipt and (receipt.outcome, receipt.why) == ("REFUSED", "retry takes at most 45 resources at once, not 1000")
    assert take(cloud, command="retry", resourceIds=["0001-001"] * 1001, clientToken="t-2") is None


def large_and_failed(cloud: Cloud) -> None:
    """An execution that halted in a layer of a hundred resources, of which the first ten are done."""
    execution = an_execution(status=ExecutionStatus.FAILED, current_layer=1, held_at=cloud.clock())
    resources = [
        a_resource(1, number, status=ResourceStatus.FAILED if number > 10 else ResourceStatus.SUCCEEDED, attempt=3)
        for number in range(1, 101)
    ]
    layer, approval = a_layer(1, 100, status=LayerStatus.FAILED), an_approval(status=ApprovalStatus.APPROVED)
    assert cloud.table.create(execution, [layer], resources, approval, cloud.clock())


def retried(cloud: Cloud) -> list[str]:
    """The resources that were retried, as often as they were."""
    assert {one.status for one in cloud.table.resources(ID)} == {ResourceStatus.SUCCEEDED, ResourceStatus.PENDING}
    return [fields["resourceId"] for name, fields in told(cloud) if name == "Resource Retried"]


WANTED = [f"0001-{number:03d}" for number in range(11, 101)]


def test_one_retry_is_enough_for_a_large_layer(cloud: Cloud) -> None:
    large_and_failed(cloud)
    assert take(cloud, command="retry") == Receipt("t-1", "retry", "olga", "ACCEPTED")
    assert sorted(retried(cloud)) == WANTED, "each once"
    assert status(cloud) == "RUNNING"
    names = [name for name, _ in told(cloud)]
    assert (names.count("Command Accepted"), names.count("Layer Reopened"), names.count("Execution Resumed")) == (1, 2, 1)
    state = cloud.table.load(ID)
    assert state and not state.layers[0].pardoned, "nothing is left that the retry did not mean"


def test_a_retry_that_broke_off_is_carried_out_to_its_end_when_it_comes_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    large_and_failed(cloud)
    with monkeypatch.context() as patched:
        patched.setattr("dr_core.control.flow.tell", lambda *_: (_ for _ in ()).throw(TimeoutError()))
        with pytest.raises(TimeoutError):
            take(cloud, command="retry")
    assert cloud.table.receipt(ID, "t-1") is None
    assert take(cloud, command="retry") == Receipt("t-1", "retry", "olga", "ACCEPTED")
    assert sorted(retried(cloud)) == WANTED, "each once"


def test_a_large_retry_goes_on_where_somebody_moved_the_layer(cloud: Cloud) -> None:
    large_and_failed(cloud)
    cloud.answer("dynamodb", "TransactWriteItems", *[conflict("ConditionalCheckFailed")] * 9)
    assert take(cloud, command="retry") == Receipt("t-1", "retry", "olga", "ACCEPTED")
    assert sorted(retried(cloud)) == WANTED


def test_what_somebody_else_retries_meanwhile_is_left_alone(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    large_and_failed(cloud)
    tell, others = flow.tell, ["t-2"]

    def told_and_retried(*moved: Any) -> None:
        tell(*moved)
        if others:
            assert take(cloud, command="retry", resourceIds=["0001-099"], clientToken=others.pop())

    monkeypatch.setattr("dr_core.control.flow.tell", told_and_retried)
    assert take(cloud, command="retry") == Receipt("t-1", "retry", "olga", "ACCEPTED")
    assert sorted(retried(cloud)) == WANTED, "each once"


def test_a_large_retry_does_not_try_for_ever(cloud: Cloud) -> None:
    large_and_failed(cloud)
    cloud.answer("dynamodb", "TransactWriteItems", *[conflict("ConditionalCheckFailed")] * 50)
    with pytest.raises(OrchestratorError, match="moved 10 times while retry was decided"):
        take(cloud, command="retry")


def test_a_takeover_moves_home_fence_and_locks(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    cloud.clock.advance(600)
    receipt = take(cloud, command="takeover")
    assert receipt and receipt.outcome == "ACCEPTED", receipt
    state = cloud.table.load(ID)
    assert state and (state.execution.home_region, state.execution.fence, state.layers[0].epoch) == (HOME, 2, 1)
    assert cloud.table.locked_by("shop", [HOME, OTHER]) == {HOME: ID, OTHER: ID}
    assert {lock.fence for region in (HOME, OTHER) if (lock := cloud.table._lock("shop", region))} == {2}
    assert {(fields["homeRegion"], fields["fence"]) for _, fields in told(cloud)} == {(HOME, 2)}
    events = [item for item in cloud.items() if item["sk"]["S"].startswith("EVT#")]
    assert {item["home"]["S"] for item in events[1:]} == {HOME}, "this Region's relay sends them"
    assert ID in cloud.table.due(HOME, cloud.clock() + LOST_AFTER)
    assert take(cloud, command="takeover") == receipt, "it is one command"
    again = take(cloud, command="takeover", clientToken="t-2")
    assert again and again.why == "its home is us-west-2 already: there is nothing to take over"


def test_a_replica_without_its_approval_is_refused_and_says_so(cloud: Cloud) -> None:
    execution = an_execution(home_region=OTHER)
    assert cloud.table.create(execution, [a_layer()], [a_resource()], an_approval(), cloud.clock())
    boto3.client("dynamodb").delete_item(TableName=TABLE_NAME, Key={"pk": {"S": f"EXEC#{ID}"}, "sk": {"S": "APPR"}})
    receipt = take(cloud, command="takeover")
    assert receipt and (receipt.outcome, receipt.why) == ("REFUSED", "its approval has not come here")


def test_what_the_lost_region_claimed_begins_anew_when_its_lease_must_be_over(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    take(cloud, command="takeover")
    cloud.clock.advance(119)
    flow.sweep(cloud.table, HOME, cloud.clock)
    state = cloud.table.load_resource(ID, "0001-001")
    assert state and state.resources[0].status == "STARTING"
    assert flow.follow(cloud.table, state, Claim("0001-001", 3, "here"), cloud.clock) is None, "not under the lost Region's number"
    cloud.clock.advance(1)
    flow.sweep(cloud.table, HOME, cloud.clock)
    state = cloud.table.load_resource(ID, "0001-001")
    assert state and (state.resources[0].status, state.resources[0].attempt, state.resources[0].lease_owner) == ("REQUESTED", 101, None)
    assert flow.follow(cloud.table, state, Claim("0001-001", 101, "here"), cloud.clock)


def owned(region: str, owner: str) -> None:
    """Another execution holds the application's lock on a Region."""
    key = {"pk": {"S": f"LOCK#shop#{region}"}, "sk": {"S": "LOCK"}}
    put = {
        "UpdateExpression": "SET #o = :x",
        "ExpressionAttributeNames": {"#o": "owner"},
        "ExpressionAttributeValues": {":x": {"S": owner}},
    }
    boto3.client("dynamodb").update_item(TableName=TABLE_NAME, Key=key, **put)  # type: ignore[arg-type]


def test_a_takeover_of_a_big_execution_takes_as_many_moves_as_it_needs(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the resources of its closed layer ended has not come here."""
    monkeypatch.setattr("dr_core.takeover.RESOURCES_PER_MOVE", 1)
    execution = an_execution(status=ExecutionStatus.RUNNING, current_layer=2, layers_total=2, home_region=OTHER, due_at=cloud.clock())
    layers = [a_layer(1, 12, status=LayerStatus.SUCCEEDED), a_layer(2, 1, status=LayerStatus.RUNNING)]
    resources = [*(a_resource(1, index, status=ResourceStatus.WAITING, attempt=1) for index in range(1, 13)), a_resource(2, 1)]
    assert cloud.table.create(execution, layers, resources, an_approval(status=ApprovalStatus.APPROVED), cloud.clock())
    receipt = take(cloud, command="takeover")
    assert receipt and receipt.outcome == "ACCEPTED", receipt
    assert [one.status for one in cloud.table.resources(ID)] == ["SKIPPED"] * 12 + ["PENDING"]


def test_a_takeover_is_refused_when_another_execution_holds_a_lock(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    owned(OTHER, "01OTHER")
    receipt = take(cloud, command="takeover")
    assert receipt and receipt.why == "execution 01OTHER holds the lock of shop on us-east-1"


# --- given up away from its home ---


def lose(sk: str, pk: str = f"EXEC#{ID}") -> None:
    """An item that has not come to this Region."""
    boto3.client("dynamodb").delete_item(TableName=TABLE_NAME, Key={"pk": {"S": pk}, "sk": {"S": sk}})


def test_what_can_be_taken_over_is_not_abandoned_away_from_its_home(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    receipt = take(cloud, command="abandon")
    assert receipt and receipt.why == "it can be taken over: do that, and then cancel it here, or pause and abandon it"
    assert status(cloud) == "RUNNING"


@pytest.mark.parametrize("missing", ["LAYER#0001", "RES#0001-001"])
def test_what_cannot_be_taken_over_can_be_abandoned_and_stays_locked_until_nothing_can_act(cloud: Cloud, missing: str) -> None:
    at_home_elsewhere(cloud)
    lose(missing)
    refused = take(cloud, command="takeover", clientToken="t-0")
    assert refused and refused.outcome == "REFUSED"
    given_up_at = cloud.clock()
    receipt = take(cloud, command="abandon")
    assert receipt and receipt.outcome == "ACCEPTED", receipt
    state = cloud.table.load(ID)
    assert state and (state.execution.status, state.execution.home_region, state.execution.fence) == ("ABANDONED", HOME, 2)
    assert refused.why in state.execution.outcome_detail and "a look first" in state.execution.outcome_detail
    assert [name for name, _ in told(cloud)][-2:] == ["Execution Taken Over", "Execution Abandoned"]
    assert cloud.table.due(HOME, cloud.clock() + LOST_AFTER) == []

    later = an_execution(id="01LATER")
    new = ([a_layer()], [a_resource()], an_approval())
    cloud.clock.advance(899)
    with pytest.raises(LockedError, match=ID):
        cloud.table.create(later, *new, cloud.clock())
    assert cloud.table.locked_by("shop", [HOME, OTHER], cloud.clock()) == {HOME: ID, OTHER: ID}
    cloud.clock.advance(1)
    assert cloud.clock() - given_up_at == timedelta(minutes=15), "Lambda ends what the lost Region had begun"
    assert cloud.table.locked_by("shop", [HOME, OTHER], cloud.clock()) == {}
    assert cloud.table.create(later, *new, cloud.clock())
    assert cloud.table.locked_by("shop", [HOME, OTHER], cloud.clock() + timedelta(days=1)) == {HOME: "01LATER", OTHER: "01LATER"}


def test_only_its_own_locks_come_free_with_what_is_given_up(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    owned(OTHER, "01OTHER")
    receipt = take(cloud, command="abandon")
    assert receipt and receipt.outcome == "ACCEPTED", receipt
    assert cloud.table.locked_by("shop", [HOME, OTHER], cloud.clock() + timedelta(hours=1)) == {OTHER: "01OTHER"}


def test_a_takeover_of_a_lock_that_was_given_up_holds_it(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    free = {":past": {"S": "2000-01-01T00:00:00.000Z"}}
    for region in (HOME, OTHER):
        key = {"pk": {"S": f"LOCK#shop#{region}"}, "sk": {"S": "LOCK"}}
        boto3.client("dynamodb").update_item(
            TableName=TABLE_NAME, Key=key, UpdateExpression="SET free_at = :past", ExpressionAttributeValues=free
        )
    take(cloud, command="takeover")
    assert cloud.table.locked_by("shop", [HOME, OTHER], cloud.clock()) == {HOME: ID, OTHER: ID}


def test_what_has_ended_is_not_abandoned_away_from_its_home(cloud: Cloud) -> None:
    at_home_elsewhere(cloud)
    lose("LAYER#0001")
    take(cloud, command="abandon")
    again = take(cloud, command="abandon", clientToken="t-2")
    assert again and again.outcome == "REFUSED" and "ABANDONED" in again.why
    over = take(cloud, command="takeover", clientToken="t-3")
    assert over and over.why == "it has ended: it is ABANDONED"
    assert cloud.table.locked_by("shop", [HOME, OTHER], cloud.clock()) == {HOME: ID, OTHER: ID}, "nor do its locks come free sooner so"
