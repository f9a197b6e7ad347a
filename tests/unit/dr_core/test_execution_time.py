"""Stories of what takes long: checks, retries, throttling, deadlines, lost messages."""

from datetime import timedelta

import pytest

from dr_core.errors import ErrorClass
from dr_core.execution import lost_wake_ups
from dr_core.moves import text
from dr_core.records import Failure
from dr_core.triggers import Checked, Outcome, Wake
from tests.support.memory_table import T0, LayerPlan, ResourcePlan
from tests.support.story import DONE, IN_PROGRESS, NOT_STARTED, Story, broken, error

RETRYABLE, THROTTLED, TERMINAL, AMBIGUOUS = ErrorClass.RETRYABLE, ErrorClass.THROTTLED, ErrorClass.TERMINAL, ErrorClass.AMBIGUOUS


@pytest.mark.parametrize("outcome", [IN_PROGRESS, NOT_STARTED, error(THROTTLED), error(RETRYABLE), error(AMBIGUOUS)])
def test_check_that_brings_no_end_leads_to_the_next(outcome: Outcome) -> None:
    """Also an observation that failed: it says nothing about the resource. No attempt is spent, and no event is worth it."""
    story = Story(1).approve().begun(1, 0)
    events = len(story.events())
    assert story.after(5).checked(1, 0, outcome)
    resource = story.resource(1, 0)
    assert (resource.status, resource.check_no, resource.attempt, resource.spent) == ("WAITING", 2, 1, 0)
    assert resource.next_at == story.now + timedelta(seconds=10)
    assert resource.due_at == story.now + timedelta(seconds=55)
    assert len(story.events()) == events


def test_failed_observation_shows_in_the_detail() -> None:
    """Who looks sees why nothing moves."""
    story = Story(1).approve().begun(1, 0)
    story.checked(1, 0, error(THROTTLED, "SlowDown"))
    assert story.resource(1, 0).detail == "SlowDown: it went wrong"


def test_check_that_may_never_work_ends_the_resource() -> None:
    """Access denied will not go away by waiting."""
    story = Story(1, max_attempts=3).approve().begun(1, 0)
    story.checked(1, 0, error(TERMINAL, "AccessDenied"))
    resource = story.resource(1, 0)
    assert (resource.status, resource.due_at, resource.next_at) == ("FAILED", None, None)
    assert resource.failure == Failure("AccessDenied", TERMINAL, "it went wrong", "req-1")
    fields = story.last("Resource Failed").fields
    assert fields["error"] == {"code": "AccessDenied", "class": "TERMINAL", "message": "it went wrong", "requestId": "req-1"}
    assert fields["willRetry"] is False


def test_done_resource_says_how_long_it_took() -> None:
    """From its claim on."""
    story = Story(1).approve().begun(1, 0).after(42)
    story.checked(1, 0, DONE)
    resource = story.resource(1, 0)
    assert (resource.status, resource.detail, resource.ended_at, resource.due_at) == ("SUCCEEDED", "there", story.now, None)
    assert story.last("Resource Succeeded").fields == {
        "layer": 1,
        "resourceId": "0001-000",
        "resourceName": "r1a",
        "module": "ECS",
        "attempt": 1,
        "durationMs": 42_000,
    }


@pytest.mark.failure("An operation is accepted and fails later")
def test_failed_attempt_is_retried_after_a_while_until_none_is_left() -> None:
    """Each attempt is a new one for the executors; the last failure stays."""
    story = Story(1, max_attempts=3).approve()
    for attempt, wait in [(1, 5), (2, 10)]:
        story.begun(1, 0)
        story.checked(1, 0, broken())
        resource = story.resource(1, 0)
        assert (resource.status, resource.attempt, resource.spent) == ("RETRY_WAIT", attempt, attempt)
        assert resource.next_at == resource.due_at == story.now + timedelta(seconds=wait)  # jitter is a half
        assert story.last("Resource Failed").fields["willRetry"] is True
        assert story.wake().resource(1, 0).status == "RETRY_WAIT"
        story.after(wait).wake()
        assert (story.resource(1, 0).status, story.resource(1, 0).attempt) == ("REQUESTED", attempt + 1)
    story.ends(1, 0, broken())
    assert (story.resource(1, 0).status, story.resource(1, 0).attempt, story.execution.status) == ("FAILED", 3, "FAILED")


def test_wait_before_a_retry_is_at_most_five_minutes() -> None:
    """Doubled each time, spread from nothing to the whole."""
    story = Story(1, max_attempts=20).approve()
    for _ in range(12):
        story.begun(1, 0)
        story.checked(1, 0, broken())
        retry_at = story.resource(1, 0).next_at
        assert retry_at is not None
        wait = (retry_at - story.now).total_seconds()
        story.after(wait).wake()
    assert wait == 150.0
    assert retry_at is not None and story.last("Resource Failed").fields["retryAt"] == text(retry_at)


@pytest.mark.failure("The target's API throttles")
def test_throttling_spends_no_attempt() -> None:
    """However often the service asks to come back later."""
    story = Story(1, max_attempts=1, timeout_seconds=3600).approve()
    for _ in range(5):
        assert story.claim(1, 0) and story.started(1, 0, error(THROTTLED))
        assert (story.resource(1, 0).status, story.resource(1, 0).spent) == ("RETRY_WAIT", 0)
        story.after(300).wake()
    story.ends(1, 0)
    assert (story.execution.status, story.resource(1, 0).attempt) == ("SUCCEEDED", 6)


@pytest.mark.failure("The target's API hangs, or its Region is dark")
def test_resource_past_its_deadline_has_one_last_look() -> None:
    """If it is not there then, it has timed out; what was seen last stands in the reason."""
    story = Story(1, timeout_seconds=600).approve().begun(1, 0)
    assert story.after(599).checked(1, 0, IN_PROGRESS) and story.resource(1, 0).status == "WAITING"
    assert story.after(1).checked(1, 0, error(RETRYABLE))
    resource = story.resource(1, 0)
    assert (resource.status, resource.due_at) == ("TIMED_OUT", None)
    assert resource.failure is not None
    assert resource.failure.message == "r1a (ECS) had not reached its goal after 600 s; last seen: half way"
    assert story.last("Resource Timed Out").fields["willRetry"] is False
    assert story.wake().execution.status == "FAILED"


def test_resource_that_is_there_at_the_last_look_succeeds() -> None:
    """Late is not failed."""
    story = Story(1, timeout_seconds=600).approve().begun(1, 0).after(900)
    story.checked(1, 0, DONE)
    assert story.resource(1, 0).status == "SUCCEEDED"


@pytest.mark.failure("The target's API hangs, or its Region is dark")
def test_resource_that_nobody_looks_at_times_out_after_a_grace() -> None:
    """A check that never comes back must not hold a layer; a paused execution is no exception."""
    story = Story(2, timeout_seconds=600).approve().begun(1, 0).begun(1, 1)
    assert story.after(719).wake().statuses(1) == ["WAITING", "WAITING"]
    story.order("pause")
    assert story.after(1).wake().statuses(1) == ["TIMED_OUT", "TIMED_OUT"]
    assert story.execution.status == "PAUSED"
    story.order("resume")
    assert story.wake().execution.status == "FAILED"


def test_nothing_seen_is_said_so() -> None:
    """An executor died, and nobody took over in time."""
    story = Story(1, timeout_seconds=60).approve()
    assert story.claim(1, 0)
    story.after(180).wake()
    assert story.resource(1, 0).failure is not None
    assert story.last("Resource Timed Out").fields["error"]["message"].endswith("after 60 s; last seen: nothing")  # type: ignore[index]


def test_executor_with_a_lease_is_not_ended_from_outside() -> None:
    """It may still be acting: an operator's retry would act beside it."""
    story = Story(1, timeout_seconds=60).approve()
    assert story.claim(1, 0)
    story.after(150).owner = "executor-2"
    assert story.claim(1, 0)  # its lease lasts until 270 s
    assert story.after(119).wake().statuses(1) == ["STARTING"]
    assert story.after(1).wake().statuses(1) == ["TIMED_OUT"]


def test_resource_that_waits_for_its_turn_does_not_time_out() -> None:
    """Time counts from the claim on: a pause of a week costs nothing."""
    story = Story(1, timeout_seconds=60).approve()
    story.order("pause")
    story.after(600_000).wake()
    story.order("resume")
    story.wake().ends(1, 0)
    assert story.execution.status == "SUCCEEDED"


def test_many_that_time_out_fit_a_transaction() -> None:
    """All of them, in several moves."""
    layer = LayerPlan(1, tuple(ResourcePlan(f"r{i}", timeout_seconds=60) for i in range(100)))
    story = Story(layer).approve()
    for index in range(100):
        story.begun(1, index)
    assert set(story.after(180).wake().statuses(1)) == {"TIMED_OUT"}


def test_lost_messages_are_derived_from_the_state() -> None:
    """A request that nobody claimed, a lease that ended, a check that never came."""
    story = Story(3).approve().begun(1, 0)
    assert story.claim(1, 1)
    assert story.after(44).lost() == []
    assert story.after(1).lost() == ["Resource Requested 0001-002"]
    assert story.after(5).lost() == ["Resource Waiting 0001-000", "Resource Requested 0001-002"]
    assert story.after(70).lost() == ["Resource Waiting 0001-000", "Resource Requested 0001-001", "Resource Requested 0001-002"]


def test_lost_check_names_the_present_check() -> None:
    """An older number would be dropped."""
    story = Story(1).approve().begun(1, 0)
    story.checked(1, 0, IN_PROGRESS)
    (event,) = lost_wake_ups(story.table.load("e1"), story.after(60).now)
    assert (event.fields["checkNo"], event.fields["attempt"]) == (2, 1)


def test_paused_execution_sends_no_requests_but_checks_go_on() -> None:
    """A pause stops what would begin, not what is under way."""
    story = Story(2).approve().begun(1, 0)
    story.order("pause")
    assert story.after(60).lost() == ["Resource Waiting 0001-000"]
    assert story.checked(1, 0, DONE)
    assert story.lost() == []


def test_execution_at_its_end_sends_nothing() -> None:
    """Nothing is due."""
    story = Story(1).approve().ends(1, 0).after(86_400)
    assert story.lost() == [] and story.table.due(story.now) == []
    assert story.decide(Wake()) is None


def test_stale_observation_does_not_undo_the_end() -> None:
    """Decided before, committed after: the check holds on its number."""
    story = Story(1).approve().begun(1, 0)
    resource = story.resource(1, 0)
    late = story.decide(Checked(resource.id, 1, resource.check_no, broken(), 1.0, 0.5))
    assert late is not None
    story.checked(1, 0, IN_PROGRESS)
    assert not story.table.commit("e1", late)


@pytest.mark.failure("The target's API throttles")
def test_throttling_without_end_ends_at_the_deadline_of_the_first_attempt() -> None:
    """A throttled attempt costs none, and so must not buy new time either: else it would hold its layer for ever."""
    story = Story(1, timeout_seconds=600).approve().wake()
    while story.resource(1, 0).status != "TIMED_OUT":
        assert story.resource(1, 0).attempt < 10
        assert story.claim(1, 0) and story.started(1, 0, error(THROTTLED))
        story.after(300).wake()
    assert story.resource(1, 0).spent == 0
    assert 600 <= (story.now - T0).total_seconds() <= 1200


# --- what is held does not run out of time ---


def test_resource_that_no_executor_takes_times_out() -> None:
    """Every wait ends: the request is sent again and again, and nobody comes."""
    story = Story(1, timeout_seconds=600).approve()
    assert story.after(719).wake().statuses(1) == ["REQUESTED"]
    assert story.lost() == ["Resource Requested 0001-000"]
    assert story.after(1).wake().statuses(1) == ["TIMED_OUT"]
    why = "no executor has taken r1a (ECS) in time: look into the log of start_resource"
    assert story.last("Resource Timed Out").fields["error"]["message"] == why  # type: ignore[index]
    assert (story.execution.status, story.resource(1, 0).due_at) == ("FAILED", None)
    assert not story.claim(1, 0)


def test_pause_of_a_request_does_not_count() -> None:
    """A day of it, in several pauses, leaves the same ten minutes."""
    story = Story(1, timeout_seconds=600).approve()
    for _ in range(2):
        story.after(200).order("pause")
        assert story.after(43_200).wake().statuses(1) == ["REQUESTED"]
        story.order("resume")
    assert story.after(319).wake().statuses(1) == ["REQUESTED"]
    assert story.after(1).wake().statuses(1) == ["TIMED_OUT"]


@pytest.mark.parametrize("held", ["paused", "paused while it was started", "halted"])
def test_time_that_a_throttled_resource_is_held_does_not_count(held: str) -> None:
    """It keeps what was left of its time when the execution was paused, or halted by another's failure."""
    story = Story(2, policy="failFast", timeout_seconds=600).approve().begun(1, 1)
    assert story.claim(1, 0)
    if held == "paused while it was started":
        story.order("pause")
        story.after(30)
    assert story.started(1, 0, error(THROTTLED))
    deadline = T0 + timedelta(seconds=600)
    assert story.resource(1, 0).deadline_at == deadline
    if held == "halted":
        story.checked(1, 1, broken(TERMINAL))
        assert story.wake().execution.status == "FAILED"
    else:
        story.checked(1, 1, DONE)
    if held == "paused":
        story.order("pause")
    story.after(86_400).wake()
    story.order("retry" if held == "halted" else "resume")
    story.wake()
    assert story.resource(1, 0).deadline_at == deadline + timedelta(seconds=86_400)
    assert story.claim(1, 0)
    assert story.resource(1, 0).deadline_at == deadline + timedelta(seconds=86_400)


def test_pause_of_a_next_step_does_not_count() -> None:
    """All steps share one deadline, and nothing runs while the next one is held."""
    story = Story(1, timeout_seconds=600).approve().begun(1, 0)
    story.checked(1, 0, Outcome("NEXT_STEP", "one is done"))
    story.order("pause")
    story.after(86_400).order("resume")
    assert story.claim(1, 0)
    assert story.resource(1, 0).deadline_at == T0 + timedelta(seconds=87_000)


def test_pause_of_what_is_under_way_counts() -> None:
    """The service works on: a pause buys it no time."""
    story = Story(1, timeout_seconds=600).approve().begun(1, 0)
    story.order("pause")
    story.after(700).order("resume")
    story.checked(1, 0, IN_PROGRESS)
    assert story.resource(1, 0).status == "TIMED_OUT"


def test_operation_of_several_steps_says_how_long_all_of_them_took() -> None:
    """Also with a throttled attempt between them; a new try begins anew."""
    story = Story(1, max_attempts=2, timeout_seconds=6000).approve().begun(1, 0).after(10)
    story.checked(1, 0, Outcome("NEXT_STEP", "one is done"))
    assert story.after(10).claim(1, 0) and story.started(1, 0, error(THROTTLED))
    story.after(300).wake().begun(1, 0).after(10)
    assert story.resource(1, 0).claimed_at == story.now - timedelta(seconds=10)
    story.checked(1, 0, broken())
    story.after(300).wake().begun(1, 0).after(40)
    story.checked(1, 0, Outcome("NEXT_STEP", "one is done"))
    story.begun(1, 0).after(2).checked(1, 0, DONE)
    assert story.last("Resource Succeeded").fields["durationMs"] == 42_000


def test_later_step_has_its_own_time_to_show() -> None:
    """What is not there yet a second after the act of the second step is not lost."""
    story = Story(1, timeout_seconds=6000).approve().begun(1, 0).after(300)
    story.checked(1, 0, Outcome("NEXT_STEP", "one is done"))
    story.begun(1, 0).after(1).checked(1, 0, NOT_STARTED)
    assert story.resource(1, 0).status == "WAITING"
    story.after(60).checked(1, 0, NOT_STARTED)
    assert story.resource(1, 0).failure is not None and story.resource(1, 0).failure.code == "NotStarted"  # type: ignore[union-attr]
