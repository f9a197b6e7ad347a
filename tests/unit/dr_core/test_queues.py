"""Wake-ups that go past the bus: to the right queue, at the right time, with ids and fences and nothing else."""

from datetime import timedelta

import pytest

from dr_core import queues
from dr_core.events import WakeUp
from dr_core.execution import decide
from dr_core.records import DetailType, Event, ResourceStatus
from dr_core.settings import SettingMissingError
from dr_core.triggers import Checked, Claim, Outcome, Started
from tests.support.control_plane import Cloud
from tests.support.story import DONE, Story, broken

PLACES = {
    DetailType.APPROVAL_REQUESTED: "APPROVAL_QUEUE_URL",
    DetailType.RESOURCE_REQUESTED: "START_QUEUE_URL",
    DetailType.RESOURCE_WAITING: "CHECK_QUEUE_URL",
    DetailType.RESOURCE_FAILED: "ADVANCE_QUEUE_URL",
}


@pytest.mark.parametrize("detail_type", PLACES)
def test_each_wake_up_has_its_queue(cloud: Cloud, detail_type: DetailType) -> None:
    queues.send("01X", Event(detail_type, {"resourceId": "0001-001", "attempt": 2, "checkNo": 3}), 7)
    ((message, delay),) = cloud.sent(PLACES[detail_type])
    assert (message["type"], delay) == (detail_type, 7)
    (call,) = cloud.made("SendMessage")
    assert WakeUp.from_queue(call.parameters["MessageBody"]) == WakeUp(executionId="01X", resourceId="0001-001", attempt=2, checkNo=3)


@pytest.mark.parametrize(("wanted", "given"), [(-5, 0), (0, 0), (900, 900), (901, 900), (10**6, 900)])
def test_a_delay_is_what_a_queue_can_hold(cloud: Cloud, wanted: int, given: int) -> None:
    queues.send("01X", Event(DetailType.RESOURCE_WAITING), wanted)
    assert [delay for _, delay in cloud.sent("CHECK_QUEUE_URL")] == [given]


def test_a_function_without_the_queue_says_so(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHECK_QUEUE_URL")
    with pytest.raises(SettingMissingError, match="CHECK_QUEUE_URL is not set"):
        queues.send("01X", Event(DetailType.RESOURCE_WAITING))


def story() -> Story:
    told = Story(2, max_attempts=3).approve()
    assert told.claim(1, 0)
    return told


def test_a_started_resource_is_checked_after_its_delay() -> None:
    told = story()
    started = Started("0001-000", 1, told.owner, Outcome("IN_PROGRESS"), None, 7.6, 0.5)
    move = told.decide(started)
    assert move
    (one,) = queues.follow_ups(told.table.load("e1"), move, told.now)
    assert one == (Event(DetailType.RESOURCE_WAITING, {"resourceId": "0001-000", "attempt": 1, "checkNo": 1}), 8)


def test_each_check_sends_the_next_number() -> None:
    told = story()
    assert told.started(1, 0)
    move = told.decide(Checked("0001-000", 1, 1, Outcome("IN_PROGRESS"), 10.0, 0.5))
    assert move
    (one,) = queues.follow_ups(told.table.load("e1"), move, told.now)
    assert (one[0].fields["checkNo"], one[1]) == (2, 10)


def test_a_retry_wakes_the_execution_when_it_is_due_and_not_before() -> None:
    told = story()
    assert told.started(1, 0)
    move = told.decide(Checked("0001-000", 1, 1, broken(), 10.0, 0.5))
    assert move
    state = told.table.load("e1")
    ((event, delay),) = queues.follow_ups(state, move, told.now)
    assert (event.detail_type, event.fields) == (DetailType.RESOURCE_FAILED, {"resourceId": "0001-000", "attempt": 1})
    assert told.table.commit("e1", move)
    told.after(delay - 1.1).wake()
    assert told.resource(1, 0).status is ResourceStatus.RETRY_WAIT, "5 · 2 · 0.5 s and one more"
    told.after(1.1).wake()
    assert told.resource(1, 0).status is ResourceStatus.REQUESTED


def test_what_needs_no_later_look_sends_nothing() -> None:
    told = story()
    state = told.table.load("e1")
    for trigger in (Claim("0001-001", 1, "x"), Started("0001-000", 1, told.owner, DONE, None, 5.0, 0.5)):
        move = decide(state, trigger, told.now + timedelta(seconds=1))
        assert move and queues.follow_ups(state, move, told.now) == []
