"""From a wake-up to transactions: to rest in one go, one of two who race, and a sweep that nothing stops."""

import logging
from datetime import timedelta

import boto3
import pytest

from dr_core import flow
from dr_core.errors import OrchestratorError
from dr_core.moves import LOST_AFTER
from dr_core.records import ExecutionStatus, ResourceStatus
from dr_core.triggers import Asked, Checked, Claim, Outcome, Preflown, Vote
from tests.support.control_plane import HOME, ID, OTHER, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.state_table import TABLE_NAME

IN_PROGRESS = Outcome("IN_PROGRESS", "half way", 50)


def requested(cloud: Cloud, execution_id: str = ID, **values: str) -> None:
    """An execution of one layer with two resources."""
    execution = an_execution(execution_id, due_at=T0, **values)
    assert cloud.table.create(execution, [a_layer(1, 2)], [a_resource(1, 1), a_resource(1, 2)], an_approval(), T0)


def approved(cloud: Cloud, execution_id: str = ID) -> None:
    """Ann has approved."""
    state = cloud.table.load(execution_id)
    assert state
    assert flow.follow(cloud.table, state, Vote(True, "ann", "seen", SHA), cloud.clock)


def waiting(cloud: Cloud) -> None:
    """The first resource is waited for."""
    requested(cloud)
    approved(cloud)
    flow.advance(cloud.table, ID, cloud.clock)
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Claim("0001-001", 1, "x"), cloud.clock)


def test_advance_takes_every_step_that_the_state_leads_to(cloud: Cloud) -> None:
    requested(cloud)
    approved(cloud)
    state = flow.advance(cloud.table, ID, cloud.clock)
    assert state and state.execution.status is ExecutionStatus.RUNNING
    assert [resource.status for resource in state.resources] == [ResourceStatus.REQUESTED] * 2
    assert cloud.events()[1:] == [
        "Vote Recorded",
        "Approval Granted",
        "Execution Started",
        "Layer Started",
        "Resource Requested",
        "Resource Requested",
    ]


def test_advance_twice_is_once(cloud: Cloud) -> None:
    requested(cloud)
    approved(cloud)
    flow.advance(cloud.table, ID, cloud.clock)
    before = cloud.items()
    flow.advance(cloud.table, ID, cloud.clock)
    assert cloud.items() == before


def test_there_is_nothing_to_advance(cloud: Cloud) -> None:
    assert flow.advance(cloud.table, "01NO", cloud.clock) is None
    requested(cloud)
    before = cloud.items()
    state = flow.advance(cloud.table, ID, cloud.clock)
    assert state and state.execution.status is ExecutionStatus.PENDING_APPROVAL
    assert cloud.items() == before


def test_what_never_comes_to_rest_is_an_error(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    requested(cloud)
    approved(cloud)
    monkeypatch.setattr(type(cloud.table), "commit", lambda *_: False)
    monkeypatch.setattr(flow, "_MOST_STEPS", 5)
    with pytest.raises(OrchestratorError, match=f"execution {ID} did not come to rest in 5 steps"):
        flow.advance(cloud.table, ID, cloud.clock)


def test_of_two_who_read_the_same_one_moves(cloud: Cloud) -> None:
    waiting(cloud)
    state = cloud.table.load_resource(ID, "0001-002")
    assert state
    assert flow.follow(cloud.table, state, Claim("0001-002", 1, "x"), cloud.clock)
    before = cloud.items()
    assert flow.follow(cloud.table, state, Claim("0001-002", 1, "y"), cloud.clock) is None
    assert cloud.items() == before


def test_the_next_check_is_sent_only_by_who_moved(cloud: Cloud) -> None:
    waiting(cloud)
    cloud.clock.advance(200)  # the lease has ended: an execution that winds down adopts what was left
    state = cloud.table.load(ID)
    assert state
    checked = Checked("0001-001", 1, 0, IN_PROGRESS, 30.0, 0.5)
    assert flow.follow(cloud.table, state, checked, cloud.clock) is None, "it is not waited for yet"
    assert cloud.sent("CHECK_QUEUE_URL") == []


def test_every_move_is_logged_without_what_it_carries(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    requested(cloud)
    approved(cloud)
    flow.advance(cloud.table, ID, cloud.clock)
    moved = [vars(record) for record in caplog.records if record.message == "moved"]
    assert [record["detail_type"] for record in moved] == cloud.events()[1:]
    assert moved[-1]["about"] == {"layer": 1, "resourceId": "0001-002", "resourceName": "lamp-2", "module": "Lamp", "attempt": 1}


# --- the sweep ---


def test_a_request_that_nobody_was_asked_about_is_sent_again(cloud: Cloud) -> None:
    requested(cloud)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 0, "there is still time"
    cloud.clock.now = T0 + LOST_AFTER
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 1
    assert cloud.sent("PREFLIGHT_QUEUE_URL") == [({"type": "Execution Requested", "schemaVersion": "1", "executionId": ID}, 0)]
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Preflown(0, 0, 0), cloud.clock)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 0, "there is time again"
    cloud.clock.advance(LOST_AFTER.seconds)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 1
    assert cloud.sent("APPROVAL_QUEUE_URL") == [({"type": "Approval Requested", "schemaVersion": "1", "executionId": ID}, 0)]
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Asked(), cloud.clock)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 0


def test_resources_that_nobody_claimed_are_sent_again(cloud: Cloud) -> None:
    waiting(cloud)
    cloud.clock.advance(46)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 1
    ((message, delay),) = cloud.sent("START_QUEUE_URL")
    assert (message["type"], message["resourceId"], message["attempt"], delay) == ("Resource Requested", "0001-002", 1, 0)
    cloud.clock.advance(120)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 2, "the lease of the other has ended too"


def test_the_sweep_takes_the_steps_that_nobody_took(cloud: Cloud) -> None:
    requested(cloud)
    cloud.clock.advance(3601)
    flow.sweep(cloud.table, HOME, cloud.clock)
    state = cloud.table.load(ID)
    assert state and state.execution.status is ExecutionStatus.EXPIRED
    before = cloud.items()
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 0
    assert cloud.items() == before, "at rest a sweep finds nothing"


def test_the_sweep_stays_in_its_region(cloud: Cloud) -> None:
    requested(cloud, home_region=OTHER)
    cloud.clock.advance(4000)
    assert flow.sweep(cloud.table, HOME, cloud.clock) == 0
    assert cloud.made("SendMessage") == []


def test_one_broken_execution_does_not_hold_up_the_others(cloud: Cloud) -> None:
    requested(cloud, "01BROKEN")
    requested(cloud, application="blog")
    key = {"pk": {"S": "EXEC#01BROKEN"}, "sk": {"S": "META"}}
    put = {"TableName": TABLE_NAME, "UpdateExpression": "SET phase = :x", "ExpressionAttributeValues": {":x": {"S": "NONSENSE"}}}
    boto3.client("dynamodb").update_item(Key=key, **put)  # type: ignore[arg-type]
    cloud.clock.now = T0 + timedelta(minutes=5)
    assert cloud.table.due(HOME, cloud.clock())[0] == "01BROKEN"
    with pytest.raises(ExceptionGroup, match="1 of the executions that are due") as broken:
        flow.sweep(cloud.table, HOME, cloud.clock)
    assert "NONSENSE" in str(broken.value.exceptions[0])
    assert [message["executionId"] for message, _ in cloud.sent("APPROVAL_QUEUE_URL")] == [ID]
