"""An operation of several steps: each is acted on when it is due, none of them spends an attempt, and they share one deadline."""

import json
from datetime import timedelta

import pytest

from dr_core import flow
from dr_core.commands import Command
from dr_core.errors import ErrorClass
from dr_core.records import ExecutionStatus, ResourceStatus
from tests.support import lamps
from tests.support.control_plane import ID, T0, Cloud, error
from tests.support.lamps import Lamp
from tests.support.lit_room import LAMP, CrashError, Room

THREE = {"Steps": 3, "Becomes": "on"}


def order(cloud: Cloud, name: str, *ids: str) -> None:
    """An operator steers."""
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Command(name, "olga", "because", ids), cloud.clock)  # type: ignore[arg-type]
    flow.advance(cloud.table, ID, cloud.clock)


def status(cloud: Cloud) -> ExecutionStatus:
    """The execution's."""
    state = cloud.table.load(ID)
    assert state
    return state.execution.status


def test_every_step_is_an_attempt_that_spends_none(room: Room, cloud: Cloud) -> None:
    room.loses(1.0)
    room.request(THREE, max_attempts=1)
    first = room.start()
    assert (first.status, first.attempt, first.step, first.spent) == (ResourceStatus.REQUESTED, 2, 1, 0)
    assert (first.detail, first.lease_owner, first.lease_until, first.handles) == ("part-1 of 3", None, None, '[{"lit": "hall"}]')
    assert first.due_at == cloud.clock() + timedelta(seconds=45), "the sweep asks again if the request is lost"
    requested = json.loads(cloud.table.timeline(ID)[-1].detail)
    assert (requested["attempt"], requested["afterStep"], requested["resourceId"]) == (2, "part-1 of 3", LAMP)
    second = room.start(attempt=2)
    assert (second.status, second.attempt, second.step, second.spent) == (ResourceStatus.REQUESTED, 3, 2, 0)
    third = room.start(attempt=3)
    assert (third.status, third.step, third.spent, len(room.acts)) == (ResourceStatus.SUCCEEDED, 2, 0, 3)
    assert json.loads(third.before or "") == [{"was": "off"}] and third.lag_seconds == 1.0
    assert Lamp.measured == [LAMP], "what would be lost is known before the first step"
    assert [attempt for _, attempt, _ in cloud.table.calls(ID)] == [1, 2, 3]


def test_a_check_finds_that_the_next_step_is_due(room: Room, cloud: Cloud) -> None:
    room.request({"Steps": 2, "Becomes": "warming"})
    lamps.make("warming")
    assert room.start().status is ResourceStatus.WAITING
    lamps.make("part-1")
    resource = room.check()
    assert (resource.status, resource.attempt, resource.step) == (ResourceStatus.REQUESTED, 2, 1)
    assert cloud.table.calls(ID) == [], "nobody has acted yet"
    before = cloud.items()
    room.check()
    room.start(attempt=1)
    assert cloud.items() == before, "messages of the step before are of the past"
    assert room.start(attempt=2).status is ResourceStatus.WAITING and len(cloud.table.calls(ID)) == 1


def test_all_steps_share_the_deadline_of_the_first(room: Room, cloud: Cloud) -> None:
    room.request({"Steps": 4, "Becomes": "on"})
    for attempt in (1, 2):
        resource = room.start(attempt=attempt)
        assert resource.deadline_at == T0 + timedelta(seconds=600)
        cloud.clock.advance(200)
    cloud.clock.advance(200)
    resource = room.start(attempt=3)
    assert resource.status is ResourceStatus.TIMED_OUT and resource.failure
    assert resource.failure.message.endswith("had not reached its goal after 600 s; last seen: part-3 of 4")
    assert (resource.due_at, resource.lease_owner) == (None, None)


def test_a_retry_of_what_timed_out_goes_on_with_a_fresh_deadline(room: Room, cloud: Cloud) -> None:
    room.request(THREE)
    room.start()
    cloud.clock.advance(601)
    assert room.start(attempt=2).status is ResourceStatus.TIMED_OUT
    flow.advance(cloud.table, ID, cloud.clock)
    order(cloud, "retry", LAMP)
    assert (room.resource.step, room.resource.spent, room.resource.status) == (0, 0, ResourceStatus.REQUESTED)
    resource = room.start(attempt=3)
    assert (resource.status, resource.deadline_at) == (ResourceStatus.SUCCEEDED, cloud.clock() + timedelta(seconds=600))
    assert len(room.acts) == 3, "the parts that were lit stay lit"


def test_a_failed_step_spends_an_attempt_and_begins_a_new_deadline(room: Room, cloud: Cloud) -> None:
    room.request(THREE, max_attempts=2)
    room.start()
    cloud.clock.advance(100)
    cloud.answer("ssm", "PutParameter", error("ParameterLimitExceeded"))
    resource = room.start(attempt=2)
    assert (resource.status, resource.spent, resource.step) == (ResourceStatus.RETRY_WAIT, 1, 0)
    cloud.clock.advance(300)
    flow.advance(cloud.table, ID, cloud.clock)
    resource = room.start(attempt=3)
    assert (resource.status, resource.step, resource.spent) == (ResourceStatus.REQUESTED, 1, 1)
    assert resource.deadline_at == cloud.clock() + timedelta(seconds=600)
    cloud.answer("ssm", "PutParameter", error("ParameterLimitExceeded"))
    assert room.start(attempt=4).status is ResourceStatus.FAILED


def test_a_throttled_step_keeps_its_deadline_and_its_number(room: Room, cloud: Cloud) -> None:
    room.request(THREE, max_attempts=1)
    room.start()
    cloud.answer("ssm", "PutParameter", error("ThrottlingException"))
    resource = room.start(attempt=2)
    assert resource.failure and resource.failure.error_class is ErrorClass.THROTTLED
    assert (resource.status, resource.spent, resource.step) == (ResourceStatus.RETRY_WAIT, 0, 1)
    cloud.clock.advance(300)
    flow.advance(cloud.table, ID, cloud.clock)
    assert room.start(attempt=3).deadline_at == T0 + timedelta(seconds=600)
    assert room.start(attempt=4).status is ResourceStatus.SUCCEEDED


def test_a_cancel_between_steps_begins_nothing_more(room: Room, cloud: Cloud) -> None:
    room.request(THREE)
    room.start()
    order(cloud, "cancel")
    assert (room.resource.status, status(cloud)) == (ResourceStatus.CANCELLED, ExecutionStatus.CANCELLED)
    room.start(attempt=2)
    assert len(room.acts) == 1 and lamps.shown() == "part-1"


def test_a_cancel_within_a_step_begins_no_further_one(room: Room, cloud: Cloud) -> None:
    room.request({"Steps": 2, "Becomes": "on"})
    lamps.make("warming")
    room.start()
    order(cloud, "cancel")
    assert status(cloud) is ExecutionStatus.CANCELLING
    lamps.make("part-1")
    room.check()
    flow.advance(cloud.table, ID, cloud.clock)
    assert (room.resource.status, status(cloud)) == (ResourceStatus.CANCELLED, ExecutionStatus.CANCELLED)
    assert cloud.table.calls(ID) == []


@pytest.mark.parametrize("within", [True, False])
def test_a_pause_holds_back_the_next_step(room: Room, cloud: Cloud, within: bool) -> None:
    if within:
        lamps.make("warming")
    room.request({"Steps": 2, "Becomes": "on"})
    room.start()
    order(cloud, "pause")
    if within:
        lamps.make("part-1")
        room.check()
    assert room.resource.status is ResourceStatus.REQUESTED
    acts = len(room.acts)
    assert room.start(attempt=2).status is ResourceStatus.REQUESTED and len(room.acts) == acts
    cloud.clock.advance(100)
    order(cloud, "resume")
    cloud.calls.clear()
    flow.sweep(cloud.table, "us-west-2", cloud.clock)
    ((message, _),) = cloud.sent("START_QUEUE_URL")
    assert (message["resourceId"], message["attempt"]) == (LAMP, 2), "and is asked for again"
    assert room.start(attempt=2).status is ResourceStatus.SUCCEEDED


def test_a_crash_before_the_act_of_a_step_asks_for_it_again(room: Room, cloud: Cloud) -> None:
    """Who takes over cannot know whether the step that is due follows one that was taken in this attempt: it leaves it to the next."""
    room.request(THREE, max_attempts=1)
    room.start()
    room.crash("before")
    with pytest.raises(CrashError):
        room.start(attempt=2)
    cloud.clock.advance(120)
    resource = room.start(owner="y", attempt=2)
    assert (resource.status, resource.attempt, resource.step, resource.spent) == (ResourceStatus.REQUESTED, 3, 2, 0)
    assert len(room.acts) == 1 and lamps.shown() == "part-1"
    assert room.start(attempt=3).status is ResourceStatus.REQUESTED and lamps.shown() == "part-2"


def test_a_step_that_was_taken_is_adopted(room: Room, cloud: Cloud) -> None:
    room.request({"Steps": 2, "Becomes": "warming"})
    room.start()
    room.crash("after")
    with pytest.raises(CrashError):
        room.start(attempt=2)
    assert room.resource.status is ResourceStatus.STARTING
    cloud.clock.advance(120)
    resource = room.start(owner="y", attempt=2)
    assert (resource.status, resource.attempt, resource.step) == (ResourceStatus.WAITING, 2, 1)
    assert len(room.acts) == 2
    lamps.make("on")
    assert room.check(resource.check_no, attempt=2).status is ResourceStatus.SUCCEEDED


def test_a_crash_after_a_step_goes_on_with_the_next(room: Room, cloud: Cloud) -> None:
    """Acted and not recorded: who takes over finds the next step due, and asks for it."""
    room.request(THREE)
    room.crash("after")
    with pytest.raises(CrashError):
        room.start()
    cloud.clock.advance(120)
    resource = room.start(owner="y")
    assert (resource.status, resource.attempt, resource.step) == (ResourceStatus.REQUESTED, 2, 1)
    assert len(room.acts) == 1 and room.start(attempt=2).status is ResourceStatus.REQUESTED
    assert room.start(attempt=3).status is ResourceStatus.SUCCEEDED
    assert json.loads(room.resource.before or "") == [{"was": "off"}]


def test_what_somebody_else_began_and_gave_up_is_begun_anew(room: Room, cloud: Cloud) -> None:
    lamps.make("warming")
    room.request(max_attempts=1)
    assert (room.start().status, room.resource.before) == (ResourceStatus.WAITING, None)
    lamps.make("off")
    cloud.clock.advance(300)
    resource = room.check()
    assert (resource.status, resource.spent, resource.attempt) == (ResourceStatus.REQUESTED, 0, 2)
    assert room.start(attempt=2).status is ResourceStatus.WAITING and len(cloud.table.calls(ID)) == 1
    lamps.make("off")
    assert room.check(2, attempt=2).status is ResourceStatus.WAITING, "an act shows within a minute"
    cloud.clock.advance(60)
    resource = room.check(3, attempt=2)
    assert (resource.status, resource.failure and resource.failure.code) == (ResourceStatus.FAILED, "NotStarted")
