"""Stories of executors: who may start a resource, and what comes of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dr_core.errors import ErrorClass
from dr_core.records import Kind, LayerStatus
from dr_core.triggers import Checked, Claim, Outcome, Started, Wake
from tests.support.memory_table import T0, Lock
from tests.support.simulation import command
from tests.support.story import DONE, IN_PROGRESS, NOT_STARTED, Story, broken, error

RETRYABLE, THROTTLED, TERMINAL, AMBIGUOUS = ErrorClass.RETRYABLE, ErrorClass.THROTTLED, ErrorClass.TERMINAL, ErrorClass.AMBIGUOUS


def test_claim_takes_the_lease_for_this_attempt() -> None:
    """Until then somebody else could; from then on nobody, for the time of the lease."""
    story = Story(1, timeout_seconds=600).approve().after(20)
    assert story.claim(1, 0)
    resource = story.resource(1, 0)
    assert (resource.status, resource.lease_owner, resource.started_at) == ("STARTING", "executor-1", story.now)
    assert resource.lease_until == resource.due_at == story.now + timedelta(seconds=120)
    assert resource.deadline_at == story.now + timedelta(seconds=600)
    assert story.last("Resource Started").fields["leaseUntil"] == "2031-03-01T12:02:20.000Z"
    assert story.last("Resource Started").fields["takeover"] is False
    story.owner = "executor-2"
    assert not story.after(119).claim(1, 0)


def test_expired_lease_is_taken_over_within_the_attempt() -> None:
    """The new owner has a lease of its own; attempt, deadline and handles stay, and the old owner has nothing to say any more."""
    story = Story(1).approve()
    assert story.claim(1, 0)
    first = story.resource(1, 0)
    story.after(120).owner = "executor-2"
    assert story.claim(1, 0)
    taken = story.resource(1, 0)
    assert (taken.lease_owner, taken.attempt, taken.deadline_at, taken.started_at) == ("executor-2", 1, first.deadline_at, T0)
    assert story.last("Resource Started").fields["takeover"] is True
    story.owner = "executor-1"
    assert not story.started(1, 0, DONE)
    story.owner = "executor-2"
    assert story.started(1, 0, DONE)


@pytest.mark.failure("Events out of order, a message of an earlier attempt")
@pytest.mark.parametrize("attempt", [0, 2])
def test_claim_of_another_attempt_is_stale(attempt: int) -> None:
    """The message is of the past, or of nowhere."""
    assert not Story(1).approve().claim(1, 0, attempt)


def test_claim_of_what_is_not_requested_is_stale() -> None:
    """Whatever came first has been done."""
    story = Story(2, 1).approve().begun(1, 0)
    assert not story.claim(1, 0)
    assert story.decide(Claim("0002-000", 0, "executor-1")) is None


def test_two_takeovers_at_once_one_holds_the_lease() -> None:
    """Both saw the same expired lease."""
    story = Story(1).approve()
    assert story.claim(1, 0)
    story.after(120)
    one, two = story.decide(Claim("0001-000", 1, "executor-2")), story.decide(Claim("0001-000", 1, "executor-3"))
    assert one is not None and two is not None
    assert story.table.commit("e1", two)
    assert not story.table.commit("e1", one)


def test_claim_that_was_decided_in_an_earlier_attempt_is_refused() -> None:
    """Meanwhile somebody else claimed, was throttled, and the resource is requested anew: it looks the same but for its attempt."""
    story = Story(1).approve()
    late = story.decide(Claim("0001-000", 1, "executor-2"))
    assert late is not None
    assert story.claim(1, 0) and story.started(1, 0, error(THROTTLED))
    assert story.after(300).wake().statuses(1) == ["REQUESTED"]
    assert not story.table.commit("e1", late)


@pytest.mark.parametrize("moved", [{"fence": 2}, {"current_layer": 9}, {"status": "PAUSED"}])
def test_moves_of_an_execution_that_was_moved_are_refused(moved: dict[str, Any]) -> None:
    """A request, a claim, a close, a command: each holds on the execution as it was read."""
    story = Story(2, 1).approve().begun(1, 0)
    story.checked(1, 0, broken())
    story.order("retry", (1, 0))
    moves = [story.decide(Wake()), story.decide(Claim("0001-001", 1, "executor-1")), story.decide(command("pause"))]
    story.table.records["e1", Kind.EXECUTION, ""] = replace(story.execution, **moved)
    assert [move is not None and story.table.commit("e1", move) for move in moves] == [False, False, False]


def test_close_does_not_open_a_layer_that_is_open() -> None:
    """Nor free a lock that is somebody else's: each change holds on what it is about."""
    story = Story(1, 1).approve().begun(1, 0)
    story.checked(1, 0, DONE)
    close = story.decide(Wake())
    story.table.records["e1", Kind.LAYER, "2"] = replace(story.layer(2), status=LayerStatus.RUNNING)
    assert close is not None and not story.table.commit("e1", close)
    last = Story(1).approve().begun(1, 0)
    last.checked(1, 0, DONE)
    last.table.records["", Kind.LOCK, "us-east-1"] = Lock("e2")
    end = last.decide(Wake())
    assert end is not None and not last.table.commit("e1", end)


@pytest.mark.parametrize("name", ["pause", "cancel"])
def test_claim_that_races_with_a_command_is_refused(name: str) -> None:
    """Decided while RUNNING, committed after the command: the claim holds on the execution."""
    story = Story(1).approve()
    claim = story.decide(Claim("0001-000", 1, "executor-1"))
    assert claim is not None
    story.order(name)
    assert not story.table.commit("e1", claim)
    assert not story.claim(1, 0)


def test_world_before_the_first_act_is_kept() -> None:
    """Stored with the claim, once: neither a takeover nor a later attempt writes over it."""
    story = Story(1, max_attempts=2).approve()
    assert story.claim(1, 0, before='{"size": 2}')
    story.after(120).owner = "executor-2"
    assert story.claim(1, 0, before='{"size": 9}')
    assert story.started(1, 0, error(THROTTLED)) and story.after(300).wake().statuses(1) == ["REQUESTED"]
    assert story.claim(1, 0, before='{"size": 9}')
    assert story.resource(1, 0).before == '{"size": 2}'


def test_claim_to_adopt_keeps_nothing() -> None:
    """Nobody acts, so nothing was before the act; whoever acts later notes it."""
    story = Story(1, max_attempts=2).approve()
    assert story.claim(1, 0)
    assert story.resource(1, 0).before is None
    story.after(120).owner = "executor-2"
    assert story.claim(1, 0, before="{}")
    assert story.resource(1, 0).before == "{}"


@pytest.mark.parametrize(("lag", "told"), [(1.23456, [1.235]), (0.0, [0.0]), (None, [])])
def test_lag_is_told_with_the_claim(lag: float | None, told: list[float]) -> None:
    """Once, and only what could be measured."""
    story = Story(1).approve()
    assert story.do(Claim("0001-000", 1, "executor-1", "{}", lag))
    story.after(120)
    assert story.do(Claim("0001-000", 1, "executor-2", "{}", 99.0))
    assert story.resource(1, 0).lag_seconds == lag
    assert [event.fields["lagSeconds"] for event in story.table.timeline("e1") if event.detail_type == "Resource Measured"] == told


def test_started_resource_waits_for_its_first_check() -> None:
    """The handles of the act are kept for the checks; the sweep looks 45 seconds after the check is due."""
    story = Story(1).approve()
    assert story.claim(1, 0) and story.started(1, 0, IN_PROGRESS, handles='[{"job": "7"}]')
    resource = story.resource(1, 0)
    assert (resource.status, resource.check_no, resource.handles) == ("WAITING", 1, '[{"job": "7"}]')
    assert (resource.detail, resource.percent) == ("half way", 50)
    assert (resource.lease_owner, resource.lease_until) == (None, None)
    assert resource.next_at == story.now + timedelta(seconds=5)
    assert resource.due_at == story.now + timedelta(seconds=50)
    assert story.last("Resource Waiting").fields["checkNo"] == 1


def test_resource_may_be_done_at_once() -> None:
    """Nothing was left to do."""
    story = Story(1).approve()
    assert story.claim(1, 0) and story.started(1, 0, DONE, handles="[]")
    resource = story.resource(1, 0)
    assert (resource.status, resource.handles, resource.lease_owner, resource.lease_until) == ("SUCCEEDED", "[]", None, None)
    assert story.wake().execution.status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("outcome", "status", "spent"),
    [
        (IN_PROGRESS, "WAITING", 0),
        (NOT_STARTED, "WAITING", 0),
        (error(AMBIGUOUS), "WAITING", 0),
        (error(THROTTLED), "RETRY_WAIT", 0),
        (error(RETRYABLE), "RETRY_WAIT", 1),
        (error(TERMINAL), "FAILED", 0),
        (broken(), "RETRY_WAIT", 1),
        (broken(TERMINAL), "FAILED", 0),
    ],
)
def test_what_becomes_of_a_start(outcome, status: str, spent: int) -> None:  # type: ignore[no-untyped-def]
    """Terminal ends it, throttled and retryable wait for another attempt, anything unsure is observed."""
    story = Story(1, max_attempts=2).approve()
    assert story.claim(1, 0) and story.started(1, 0, outcome)
    assert (story.resource(1, 0).status, story.resource(1, 0).spent) == (status, spent)


def test_stale_record_of_a_start_changes_nothing() -> None:
    """Of another attempt, or of a resource that nobody holds."""
    story = Story(1).approve()
    assert story.decide(Started("0001-000", 1, "executor-1", DONE, None, 1, 0.5)) is None
    assert story.claim(1, 0)
    assert story.decide(Started("0001-000", 2, "executor-1", DONE, None, 1, 0.5)) is None
    assert story.decide(Started("0009-000", 1, "executor-1", DONE, None, 1, 0.5)) is None


def test_unknown_trigger_is_a_mistake_of_the_program() -> None:
    """Not a stale one."""
    with pytest.raises(TypeError, match="not a trigger: 'what'"):
        Story(1).decide("what")  # type: ignore[arg-type]


def test_stale_check_is_dropped() -> None:
    """Of an older check, of another attempt, of a resource that does not wait."""
    story = Story(2).approve().begun(1, 0)
    assert story.checked(1, 0, IN_PROGRESS)
    for attempt, check_no in [(1, 1), (1, 3), (2, 2), (0, 2)]:
        assert story.decide(Checked("0001-000", attempt, check_no, DONE, 1.0, 0.5)) is None
    assert story.decide(Checked("0001-001", 1, 0, DONE, 1.0, 0.5)) is None
    assert story.decide(Checked("0009-000", 1, 0, DONE, 1.0, 0.5)) is None


def test_the_time_of_each_step_is_kept() -> None:
    """From its claim to its end; what failed is told by the attempt that follows alone."""
    story = Story(1).approve().begun(1, 0).after(30)
    assert story.checked(1, 0, Outcome("NEXT_STEP", "copied"))
    assert story.resource(1, 0).taken == (30.0,)
    story.begun(1, 0).after(60)
    assert story.checked(1, 0, DONE)
    assert story.resource(1, 0).taken == (30.0, 60.0)


def test_an_attempt_that_fails_takes_its_times_with_it() -> None:
    story = Story(1, max_attempts=2).approve().begun(1, 0).after(30)
    assert story.checked(1, 0, Outcome("NEXT_STEP", "copied"))
    story.begun(1, 0).after(60)
    assert story.checked(1, 0, broken())
    assert (story.resource(1, 0).step, story.resource(1, 0).taken) == (0, ())


def test_what_a_person_retries_begins_its_times_anew() -> None:
    story = Story(1).approve().begun(1, 0).after(30)
    assert story.checked(1, 0, Outcome("NEXT_STEP", "copied"))
    story.begun(1, 0).after(60)
    assert story.checked(1, 0, broken())
    assert story.resource(1, 0).status == "FAILED"
    story.order("retry", (1, 0))
    assert (story.resource(1, 0).step, story.resource(1, 0).taken) == (0, ())
