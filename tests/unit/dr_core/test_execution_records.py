"""What each step leaves behind: moments, timers, reasons, and what the events tell of them."""

from datetime import timedelta

import pytest

from dr_core.errors import ErrorClass
from dr_core.records import Failure
from dr_core.triggers import Asked, Expire, Outcome, TokenHeld, Vote, Wake
from tests.support.memory_table import SHA, T0, LayerPlan, ResourcePlan
from tests.support.story import DONE, IN_PROGRESS, NOT_STARTED, Story, broken, error

RETRYABLE, THROTTLED = ErrorClass.RETRYABLE, ErrorClass.THROTTLED
SOON = timedelta(seconds=45)


@pytest.mark.parametrize(
    ("approve", "status", "decision", "end", "why"),
    [
        (True, "APPROVED", "Approval Granted", "Execution Started", None),
        (False, "REJECTED", "Approval Rejected", "Execution Rejected", "rejected by ann: hm"),
    ],
)
def test_decision_is_recorded_and_told(approve: bool, status: str, decision: str, end: str, why: str | None) -> None:
    """Who, why, and when; then what came of it."""
    story = Story(1).after(30)
    story.do(Vote(approve, "ann", "hm", SHA))
    assert (story.approval.status, story.approval.decided_at, story.approval.due_at) == (status, story.now, None)
    assert story.last(decision).fields == {"approver": "ann", "channel": "page", "reason": "hm"}
    assert story.do(Asked()) is None
    assert story.do(TokenHeld("token")) is None
    story.wake()
    assert end in story.events()
    if why:
        assert story.last(end).fields == {"outcome": status, "reason": why}


def test_expiry_is_recorded_and_told() -> None:
    """With the moment that was set for it."""
    story = Story(1).after(10)
    story.do(Expire())
    assert (story.approval.status, story.approval.decided_at) == ("EXPIRED", story.now)
    assert story.last("Approval Expired").fields == {"expiresAt": "2031-03-01T13:00:00.000Z"}
    story.wake()
    why = "nobody decided by 2031-03-01 13:00:00Z"
    assert story.last("Execution Expired").fields == {"outcome": "EXPIRED", "reason": why}


def test_token_of_the_wait_is_kept_with_the_approval() -> None:
    """So that the decision can end the wait."""
    story = Story(1)
    story.do(TokenHeld("token-1"))
    assert story.approval.task_token == "token-1"
    story.do(TokenHeld("token-2"))
    assert story.approval.task_token == "token-2"


def test_cancel_of_a_request_is_recorded_with_its_moment() -> None:
    """The approval has been decided, by the cancel."""
    story = Story(1).after(10)
    story.order("cancel")
    assert story.approval.decided_at == story.now


def test_started_layer_and_its_requests() -> None:
    """Moments, and the timers that the sweep looks at."""
    story = Story(1, 1, timeout_seconds=600).after(30).approve()
    resource = story.resource(1, 0)
    assert (story.execution.started_at, story.execution.due_at) == (story.now, story.now + SOON)
    assert story.layer(1).started_at == story.now
    assert (resource.due_at, resource.deadline_at) == (story.now + SOON, story.now + timedelta(seconds=600))
    assert story.last("Resource Requested").fields["attempt"] == 1


def test_next_layer_and_its_event() -> None:
    """The one closes, the other opens, at the same moment."""
    story = Story(1, 2).approve().begun(1, 0).after(77)
    story.checked(1, 0, DONE)
    story.wake()
    assert (story.layer(1).ended_at, story.layer(2).started_at) == (story.now, story.now)
    assert story.execution.due_at == story.now + SOON
    assert story.last("Layer Started").fields == {"layer": 2, "epoch": 0, "resources": 2}


def test_time_to_recovery_is_told_to_the_millisecond() -> None:
    """From the approval to the end."""
    story = Story(1).approve().begun(1, 0).after(1.23456)
    story.checked(1, 0, DONE)
    story.wake()
    assert story.last("Execution Completed").fields["rtoSeconds"] == 1.235


def test_failed_attempt_is_recorded_and_told() -> None:
    """Why, and that it goes on; nobody holds the resource meanwhile."""
    story = Story(1, max_attempts=2, timeout_seconds=600).approve()
    assert story.claim(1, 0) and story.started(1, 0, error(RETRYABLE, "Busy"))
    resource = story.resource(1, 0)
    assert (resource.lease_owner, resource.lease_until) == (None, None)
    assert resource.failure == Failure("Busy", RETRYABLE, "it went wrong", "req-1")
    assert story.last("Resource Failed").fields["error"] == {
        "code": "Busy",
        "class": "RETRYABLE",
        "message": "it went wrong",
        "requestId": "req-1",
    }
    story.after(300).wake()
    again = story.resource(1, 0)
    assert (again.next_at, again.deadline_at) == (None, story.now + timedelta(seconds=600))


def test_retry_that_waits_when_cancelled_waits_no_more() -> None:
    """No timer is left."""
    story = Story(1, max_attempts=2).approve().begun(1, 0)
    story.checked(1, 0, broken())
    story.order("cancel")
    story.wake()
    assert (story.resource(1, 0).next_at, story.resource(1, 0).due_at) == (None, None)


def test_orphan_of_a_cancelled_execution_is_looked_at_at_once() -> None:
    """Not after a delay."""
    story = Story(1).approve()
    assert story.claim(1, 0)
    story.order("cancel")
    story.after(120).wake()
    assert story.resource(1, 0).next_at == story.now


def test_cancel_before_anything_was_requested() -> None:
    """The layer has just opened."""
    story = Story(2)
    story.do(Vote(True, "ann", "", SHA))
    story.do(Wake())
    story.order("cancel")
    assert story.wake().statuses(1) == ["CANCELLED", "CANCELLED"]


def test_retry_of_one_of_several_failures_begins_it_in_a_fail_fast_layer() -> None:
    """The other failure was known when it was ordered, and does not hold it back; it still fails the layer in the end."""
    story = Story(2, policy="failFast").approve().begun(1, 0).ends(1, 1, broken())
    story.checked(1, 0, broken())
    assert story.wake().execution.status == "FAILED"
    story.order("retry", (1, 0))
    assert story.wake().statuses(1) == ["REQUESTED", "FAILED"]
    story.ends(1, 0)
    assert (story.execution.status, story.layer(1).status, story.layer(1).epoch) == ("FAILED", "FAILED", 1)
    story.order("retry")
    assert story.wake().ends(1, 1).execution.status == "SUCCEEDED"


@pytest.mark.parametrize(("failing", "third"), [(None, "REQUESTED"), (0, "RETRY_WAIT"), (2, "RETRY_WAIT")])
def test_failure_after_a_retry_trips_a_fail_fast_layer_anew(failing: int | None, third: str) -> None:
    """Also that of the retried one itself, and that of one that was under way when the order came."""
    story = (
        Story(4, policy="failFast", max_attempts=2).approve().begun(1, 2).begun(1, 3).begun(1, 0).ends(1, 1, broken(ErrorClass.TERMINAL))
    )
    story.checked(1, 0, broken(ErrorClass.TERMINAL))
    story.checked(1, 3, broken())
    story.order("retry", (1, 0))
    assert story.wake().statuses(1) == ["REQUESTED", "FAILED", "WAITING", "RETRY_WAIT"]
    story.begun(1, 0)
    if failing is not None:
        story.checked(1, failing, broken(ErrorClass.TERMINAL))
    assert story.after(300).wake().statuses(1)[3] == third


def test_skip_does_not_lift_what_trips_a_fail_fast_layer() -> None:
    """Who skips one failure has not said that the layer may go on beside the other."""
    story = Story(3, policy="failFast", max_attempts=2).approve().begun(1, 2).begun(1, 0).ends(1, 1, broken(ErrorClass.TERMINAL))
    story.checked(1, 0, broken(ErrorClass.TERMINAL))
    story.checked(1, 2, broken())
    assert story.wake().execution.status == "FAILED"
    story.order("skip", (1, 0))
    assert story.after(600).wake().statuses(1) == ["SKIPPED", "FAILED", "RETRY_WAIT"]
    assert story.execution.status == "FAILED"
    story.order("skip", (1, 1))
    assert story.wake().statuses(1) == ["SKIPPED", "SKIPPED", "REQUESTED"]


def test_drain_goes_on_with_retries_after_a_failure() -> None:
    """Only fail-fast holds back."""
    story = Story(2, max_attempts=2).approve().begun(1, 0).ends(1, 1, broken(ErrorClass.TERMINAL))
    story.checked(1, 0, broken())
    assert story.after(300).wake().statuses(1) == ["REQUESTED", "FAILED"]


def test_reason_of_a_halt_is_not_longer_than_an_event_takes() -> None:
    """A hundred names with sixty letters each."""
    resources = tuple(ResourcePlan(f"{i:03d}{'x' * 57}") for i in range(100))
    story = Story(LayerPlan(1, resources)).approve()
    for index in range(100):
        story.begun(1, index)
        story.checked(1, index, broken(ErrorClass.TERMINAL))
    story.wake()
    assert len(story.execution.outcome_detail) == 1000
    assert story.last("Execution Halted").fields["reason"] == story.execution.outcome_detail


# --- acts that show nothing ---


def test_act_may_take_a_minute_to_show() -> None:
    """Then what has not begun was lost: the attempt has failed."""
    story = Story(1, max_attempts=2).approve().begun(1, 0)
    assert story.after(59).checked(1, 0, NOT_STARTED) and story.statuses(1) == ["WAITING"]
    assert story.after(1).checked(1, 0, NOT_STARTED) and story.statuses(1) == ["RETRY_WAIT"]
    failure = story.resource(1, 0).failure
    assert failure is not None
    assert (failure.code, failure.message) == ("NotStarted", "r1a (ECS) was acted on, but nothing has begun: ")


def test_what_was_adopted_and_came_to_nothing_is_acted_on_at_once() -> None:
    """It was somebody else's work that was waited for: no attempt of ours has failed."""
    story = Story(1, max_attempts=1).approve().adopted(1, 0)
    assert story.after(300).checked(1, 0, NOT_STARTED)
    resource = story.resource(1, 0)
    assert (resource.status, resource.attempt, resource.spent, resource.failure) == ("REQUESTED", 2, 0, None)
    assert story.events()[-1] == "Resource Requested"


def test_executor_that_took_its_time_is_not_judged_by_it() -> None:
    """The minute is for the checks."""
    story = Story(1, lease_seconds=300).approve()
    assert story.claim(1, 0)
    assert story.after(90).started(1, 0, NOT_STARTED)
    assert story.statuses(1) == ["WAITING"]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("FAILED"),
        Outcome("ERROR"),
        Outcome("IN_PROGRESS", failure=Failure("Slow", RETRYABLE, "slow")),
        Outcome("NOT_STARTED", failure=Failure("Slow", RETRYABLE, "slow")),
    ],
)
def test_failure_without_a_reason_and_a_reason_without_failure_are_none(outcome: Outcome) -> None:
    """Both together end an attempt."""
    story = Story(1).approve().begun(1, 0)
    assert story.checked(1, 0, outcome)
    assert story.statuses(1) == ["WAITING"]


# --- throttling and the deadline ---


def test_attempt_after_a_throttled_one_has_what_is_left_of_the_time() -> None:
    """And one that fails for another reason has its own again."""
    story = Story(1, max_attempts=2, timeout_seconds=600).approve()
    assert story.claim(1, 0) and story.started(1, 0, error(THROTTLED))
    deadline = T0 + timedelta(seconds=600)
    assert story.after(300).wake().resource(1, 0).deadline_at == deadline
    assert story.claim(1, 0) and story.resource(1, 0).deadline_at == deadline
    assert story.started(1, 0, error(RETRYABLE))
    story.after(300).wake()
    assert story.resource(1, 0).deadline_at == story.now + timedelta(seconds=600)


@pytest.mark.parametrize(("seconds", "status"), [(599, "RETRY_WAIT"), (600, "TIMED_OUT")])
def test_throttled_start_at_the_deadline_times_out(seconds: int, status: str) -> None:
    """There is no time left to try again."""
    story = Story(1, timeout_seconds=600, lease_seconds=900).approve()
    assert story.claim(1, 0)
    assert story.after(seconds).started(1, 0, error(THROTTLED))
    assert story.statuses(1) == [status]


def test_retry_by_a_person_gives_the_whole_time_again() -> None:
    """Also to what was throttled to its end."""
    story = Story(1, timeout_seconds=600, lease_seconds=900).approve()
    assert story.claim(1, 0) and story.after(600).started(1, 0, error(THROTTLED))
    story.wake().order("retry")
    assert story.wake().resource(1, 0).deadline_at == story.now + timedelta(seconds=600)
    assert story.resource(1, 0).failure is None
    story.begun(1, 0)
    assert story.after(599).checked(1, 0, IN_PROGRESS)
    assert story.statuses(1) == ["WAITING"]
