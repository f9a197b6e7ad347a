"""Stories of operators: what each command does, and when it is refused, with the reason."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dr_core.commands import NotAllowedError
from dr_core.errors import ErrorClass
from dr_core.execution import decide
from dr_core.records import ExecutionStatus, LayerStatus
from dr_core.triggers import Checked, Vote, Wake
from tests.support.memory_table import T0, LayerPlan, ResourcePlan
from tests.support.simulation import command
from tests.support.story import DONE, IN_PROGRESS, Story, broken

WHO = {"actor": "olga", "reason": "because"}


def waiting() -> Story:
    """Before the approval."""
    return Story(1)


def running() -> Story:
    """One resource waits for its check, one has failed, one is requested."""
    return Story(3, 1).approve().begun(1, 0).ends(1, 1, broken())


def paused() -> Story:
    """The same, paused."""
    story = running()
    story.order("pause")
    return story


def failed() -> Story:
    """Halted: both resources have failed."""
    return Story(2, 1).approve().ends(1, 0, broken()).ends(1, 1, broken())


def cancelling() -> Story:
    """Running, then cancelled, with one resource under way."""
    story = running()
    story.order("cancel")
    return story


def succeeded() -> Story:
    """At its end."""
    return Story(1).approve().ends(1, 0)


# --- pause and resume ---


def test_pause_stops_what_would_begin_and_resume_goes_on() -> None:
    """What is under way is followed to its end meanwhile."""
    story = running()
    story.order("pause")
    assert (story.execution.status, story.last("Execution Paused").fields) == ("PAUSED", WHO)
    assert not story.claim(1, 2)
    assert story.checked(1, 0, DONE)
    assert story.wake().statuses(1) == ["SUCCEEDED", "FAILED", "REQUESTED"]
    story.after(3600).order("resume")
    assert story.execution.status == "RUNNING"
    assert story.execution.due_at == story.now + timedelta(seconds=45)
    assert story.last("Execution Resumed").fields == WHO
    assert story.claim(1, 2)


def test_paused_execution_closes_no_layer() -> None:
    """Everything has ended, but nobody said to go on."""
    story = Story(1, 1).approve().begun(1, 0)
    story.order("pause")
    story.checked(1, 0, DONE)
    assert story.wake().layer(1).status == "RUNNING"
    story.order("resume")
    assert story.wake().layer(2).status == "RUNNING"


# --- cancel ---


def test_cancel_before_the_approval_ends_the_execution_at_once() -> None:
    """The approval is void, the locks are free."""
    story = waiting()
    story.order("cancel")
    assert (story.execution.status, story.execution.outcome_detail) == ("CANCELLED", "cancelled by olga: because")
    assert (story.approval.status, story.approval.reason, story.approval.due_at) == ("EXPIRED", "cancelled by olga: because", None)
    assert story.locks() == [None, None]
    assert story.events()[1:] == ["Approval Expired", "Execution Cancelled"]
    assert story.last("Execution Cancelled").fields == {"outcome": "CANCELLED", **WHO}


def test_cancel_while_the_approval_is_being_decided_is_refused() -> None:
    """Approved, but not yet started: one moment."""
    story = waiting()
    story.do(Vote(True, "ann", "", "5ha"))
    with pytest.raises(NotAllowedError, match="the approval has just been decided: cancel again in a moment"):
        story.order("cancel")


@pytest.mark.failure("Cancel while data fails over")
def test_cancel_begins_nothing_more_and_follows_what_is_under_way() -> None:
    """Cancelled only when the last resource has ended; nothing is aborted."""
    story = running()
    story.order("cancel")
    assert (story.execution.status, story.last("Execution Cancelling").fields) == ("CANCELLING", WHO)
    assert story.execution.due_at == story.now + timedelta(seconds=45)
    assert story.wake().statuses(1) == ["WAITING", "FAILED", "CANCELLED"]
    assert (story.resource(1, 2).due_at, story.resource(1, 2).ended_at) == (None, story.now)
    assert story.locks() == ["e1", "e1"]
    story.checked(1, 0, DONE)
    story.wake()
    assert (story.execution.status, story.layer(1).status, story.layer(2).status) == ("CANCELLED", "CANCELLED", "PENDING")
    assert story.layer(1).ended_at == story.now
    assert story.events()[-2:] == ["Layer Completed", "Execution Cancelled"]
    assert story.last("Layer Completed").fields == {
        "layer": 1,
        "epoch": 0,
        "outcome": "CANCELLED",
        "counts": {"SUCCEEDED": 1, "FAILED": 1, "CANCELLED": 1},
    }
    assert story.last("Execution Cancelled").fields == {"outcome": "CANCELLED", "reason": "cancelled by olga: because"}
    assert story.locks() == [None, None]


def test_cancel_cancels_a_retry_that_waits() -> None:
    """Also one that comes to wait only after the command."""
    story = Story(2, max_attempts=2).approve().begun(1, 0).begun(1, 1)
    story.checked(1, 0, broken())
    story.order("cancel")
    assert story.wake().statuses(1) == ["CANCELLED", "WAITING"]
    story.checked(1, 1, broken())
    assert story.wake().statuses(1) == ["CANCELLED", "CANCELLED"]
    assert story.execution.status == "CANCELLED"


def test_cancel_waits_for_a_lease_and_observes_what_its_holder_left() -> None:
    """An executor that died may have acted: the resource is observed, nobody acts again."""
    story = Story(1).approve()
    assert story.claim(1, 0)
    story.order("cancel")
    assert story.after(119).wake().statuses(1) == ["STARTING"]
    assert story.lost() == []
    assert story.after(1).wake().statuses(1) == ["WAITING"]
    assert story.last("Resource Waiting").fields["checkNo"] == 1
    assert story.checked(1, 0, DONE)
    assert story.wake().execution.status == "CANCELLED"


def test_cancelled_execution_does_not_wait_for_ever() -> None:
    """What never ends times out."""
    story = Story(1, timeout_seconds=600).approve().begun(1, 0)
    story.order("cancel")
    assert story.after(720).wake().execution.status == "CANCELLED"
    assert story.statuses(1) == ["TIMED_OUT"]


def test_cancel_of_a_halted_execution_leaves_its_failed_layer() -> None:
    """The layer has been closed already."""
    story = failed()
    story.order("cancel")
    assert story.execution.due_at == story.now + timedelta(seconds=45)
    assert story.wake().execution.status == "CANCELLED"
    assert story.layer(1).status == "FAILED"
    assert story.events().count("Layer Completed") == 1


def test_many_that_have_not_begun_are_cancelled_in_moves_that_fit() -> None:
    """A hundred."""
    story = Story(LayerPlan(1, tuple(ResourcePlan(f"r{i}") for i in range(100)))).approve()
    story.order("cancel")
    assert set(story.wake().statuses(1)) == {"CANCELLED"}


def test_many_orphans_are_observed_in_moves_that_fit() -> None:
    """A hundred executors died."""
    story = Story(LayerPlan(1, tuple(ResourcePlan(f"r{i}") for i in range(100)))).approve()
    assert all(story.claim(1, index) for index in range(100))
    story.order("cancel")
    assert set(story.after(120).wake().statuses(1)) == {"WAITING"}


# --- retry and skip ---


def test_retry_re_opens_the_layer_in_a_new_epoch() -> None:
    """All failed resources, with all their attempts; the execution runs again."""
    story = failed()
    story.after(600).order("retry")
    assert (story.execution.status, story.execution.outcome_detail) == ("RUNNING", "")
    assert story.execution.due_at == story.now + timedelta(seconds=45)
    assert (story.layer(1).status, story.layer(1).epoch, story.layer(1).ended_at) == ("RUNNING", 1, None)
    resource = story.resource(1, 0)
    assert (resource.status, resource.spent, resource.ended_at, resource.deadline_at) == ("PENDING", 0, None, None)
    assert story.events()[-4:] == ["Layer Reopened", "Execution Resumed", "Resource Retried", "Resource Retried"]
    assert story.last("Layer Reopened").fields == {"layer": 1, "epoch": 1, **WHO}
    assert story.last("Resource Retried").fields["actor"] == "olga"
    story.wake().ends(1, 0).ends(1, 1).ends(2, 0)
    assert story.execution.status == "SUCCEEDED"
    assert (story.resource(1, 0).attempt, story.last("Layer Completed").fields["layer"]) == (2, 2)


def test_retry_of_one_resource_leaves_the_others() -> None:
    """Also while the layer still runs, and also of what timed out."""
    story = Story(3, timeout_seconds=60).approve().begun(1, 0).after(60)
    story.checked(1, 0, IN_PROGRESS)
    story.ends(1, 1, broken())
    story.order("retry", (1, 0))
    assert story.statuses(1) == ["PENDING", "FAILED", "REQUESTED"]
    assert (story.execution.status, story.layer(1).epoch) == ("RUNNING", 1)
    assert story.events()[-2:] == ["Layer Reopened", "Resource Retried"]


@pytest.mark.failure("An operator's retry races with the close of the layer")
def test_close_that_was_decided_before_a_retry_is_refused() -> None:
    """The joiner read the layer before it was re-opened."""
    story = Story(1).approve().begun(1, 0)
    story.checked(1, 0, broken())
    close = story.decide(Wake())
    assert close is not None
    story.order("retry")
    assert not story.table.commit("e1", close)


def test_retry_gives_all_attempts_back() -> None:
    """One person's retry is worth as much as the first try."""
    story = Story(1, max_attempts=2).approve()
    for _ in range(2):
        story.begun(1, 0)
        story.checked(1, 0, broken())
        story.after(300).wake()
    assert story.execution.status == "FAILED"
    story.order("retry")
    story.wake().begun(1, 0)
    story.checked(1, 0, broken())
    assert story.statuses(1) == ["RETRY_WAIT"]


def test_skip_takes_a_resource_out_of_the_way() -> None:
    """The execution succeeds without it."""
    story = Story(2).approve().ends(1, 0).ends(1, 1, broken())
    story.after(60).order("skip", (1, 1))
    resource = story.resource(1, 1)
    assert (resource.status, resource.detail, resource.ended_at, resource.due_at) == (
        "SKIPPED",
        "skipped by olga: because",
        story.now,
        None,
    )
    assert story.last("Resource Skipped").fields["reason"] == "because"
    assert (story.layer(1).epoch, story.execution.status) == (1, "RUNNING")
    assert story.wake().execution.status == "SUCCEEDED"


def test_skip_of_what_has_not_begun() -> None:
    """A fail-fast layer left it behind."""
    layer = LayerPlan(1, tuple(ResourcePlan(f"r{i:02d}") for i in range(2)), "failFast")
    story = Story(layer).approve().ends(1, 0, broken()).ends(1, 1, broken())
    story.order("retry", (1, 0))
    assert story.statuses(1) == ["PENDING", "FAILED"]
    story.order("skip", (1, 0), (1, 1))
    assert story.wake().execution.status == "SUCCEEDED"


# --- force-complete ---


@pytest.mark.parametrize("begin", [running, paused, cancelling])
def test_forced_resource_has_succeeded(begin) -> None:  # type: ignore[no-untyped-def]
    """The operator knows better than the check; the event says so."""
    story = begin()
    story.order("force-complete", (1, 0))
    resource = story.resource(1, 0)
    assert (resource.status, resource.detail, resource.due_at) == ("SUCCEEDED", "forced by olga: because", None)
    fields = story.last("Resource Succeeded").fields
    assert (fields["forced"], fields["actor"], fields["resourceId"]) == (True, "olga", "0001-000")
    assert not story.checked(1, 0, broken())


def test_observation_that_was_decided_before_the_force_is_refused() -> None:
    """The resource has ended; it looks the same but for its status."""
    story = running()
    resource = story.resource(1, 0)
    late = story.decide(Checked(resource.id, resource.attempt, resource.check_no, IN_PROGRESS, 1.0, 0.5))
    assert late is not None
    story.order("force-complete", (1, 0))
    assert not story.table.commit("e1", late)


# --- abandon ---


@pytest.mark.parametrize("begin", [paused, failed])
def test_abandoned_execution_frees_its_locks_and_is_left_alone(begin) -> None:  # type: ignore[no-untyped-def]
    """What is under way goes on in the cloud, but nobody looks at it any more."""
    story = begin()
    story.order("abandon")
    assert (story.execution.status, story.execution.outcome_detail) == ("ABANDONED", "abandoned by olga: because")
    assert (story.execution.fence, story.execution.ended_at) == (2, story.now)
    assert story.locks() == [None, None]
    assert story.last("Execution Abandoned").fields == {"outcome": "ABANDONED", **WHO}
    story.after(86_400)
    assert story.table.due(story.now) == [] and story.lost() == []
    assert story.decide(Wake()) is None
    assert not story.checked(1, 0, DONE)


def test_check_that_was_decided_before_the_end_is_refused() -> None:
    """Otherwise its timer would outlive the execution."""
    story = paused()
    resource = story.resource(1, 0)
    late = story.decide(Checked(resource.id, resource.attempt, resource.check_no, IN_PROGRESS, 1.0, 0.5))
    assert late is not None
    story.order("abandon")
    assert story.resource(1, 0).check_no == resource.check_no + 1
    assert not story.table.commit("e1", late)


def test_abandon_waits_for_an_executor() -> None:
    """It may still be acting, and who takes the lock next would act beside it."""
    story = Story(2).approve()
    assert story.claim(1, 0)
    story.after(10)
    assert story.claim(1, 1)
    story.order("pause")
    with pytest.raises(NotAllowedError, match=r"an executor may still be acting: abandon after 2031-03-01T12:02:10\.000Z"):
        story.order("abandon")
    story.after(120).order("abandon")
    assert story.execution.status == "ABANDONED"
    assert not story.started(1, 0, DONE)
    assert story.statuses(1) == ["STARTING", "STARTING"]


def test_abandon_of_a_big_layer_fits_a_transaction() -> None:
    """And nothing of what is left behind asks for attention."""
    story = Story(LayerPlan(1, tuple(ResourcePlan(f"r{i}") for i in range(100)))).approve()
    for index in range(100):
        story.begun(1, index)
    story.order("pause")
    story.order("abandon")
    assert story.after(86_400).lost() == []
    late = story.resource(1, 99)
    late_check = decide(
        replace(story.table.load("e1"), execution=replace(story.execution, status=ExecutionStatus.PAUSED)),
        Checked(late.id, late.attempt, late.check_no, IN_PROGRESS, 1.0, 0.5),
        story.now,
    )
    assert late_check is not None and story.table.due(story.now) == ["e1"]
    assert story.wake().table.due(story.now) == [], "the sweep finds what the transaction had no room for"
    assert not story.table.commit("e1", late_check)


# --- refusals ---

CASES = [
    ("pause", waiting, "pause needs an execution that is RUNNING, this one is PENDING_APPROVAL"),
    ("pause", paused, "pause needs an execution that is RUNNING, this one is PAUSED"),
    ("pause", failed, "pause needs an execution that is RUNNING, this one is FAILED"),
    ("resume", running, "resume needs an execution that is PAUSED, this one is RUNNING"),
    ("resume", failed, "resume needs an execution that is PAUSED, this one is FAILED"),
    ("cancel", succeeded, "cancel needs an execution that is PENDING_APPROVAL or RUNNING or PAUSED or FAILED, this one is SUCCEEDED"),
    ("cancel", cancelling, "cancel needs an execution that is PENDING_APPROVAL or RUNNING or PAUSED or FAILED, this one is CANCELLING"),
    ("retry", paused, "retry needs an execution that is RUNNING or FAILED, this one is PAUSED"),
    ("retry", cancelling, "retry needs an execution that is RUNNING or FAILED, this one is CANCELLING"),
    ("skip", paused, "skip needs an execution that is RUNNING or FAILED, this one is PAUSED"),
    ("force-complete", failed, "force-complete needs an execution that is RUNNING or PAUSED or CANCELLING, this one is FAILED"),
    ("abandon", running, "abandon needs an execution that is FAILED or PAUSED, this one is RUNNING"),
    ("abandon", cancelling, "abandon needs an execution that is FAILED or PAUSED, this one is CANCELLING"),
]


@pytest.mark.parametrize(("name", "begin", "reason"), CASES, ids=[f"{name} when {begin.__name__}" for name, begin, _ in CASES])
def test_command_out_of_place_is_refused(name: str, begin, reason: str) -> None:  # type: ignore[no-untyped-def]
    """And nothing changes."""
    story = begin()
    before = dict(story.table.records)
    with pytest.raises(NotAllowedError) as refusal:
        story.order(name)
    assert str(refusal.value) == reason
    assert story.table.records == before


@pytest.mark.parametrize(
    ("name", "places", "reason"),
    [
        ("retry", [(1, 0)], "retry needs resources that are FAILED or TIMED_OUT: 0001-000 is WAITING"),
        ("retry", [(1, 1), (1, 2)], "retry needs resources that are FAILED or TIMED_OUT: 0001-002 is REQUESTED"),
        ("retry", [(2, 0)], "the current layer has no resource 0002-000; it has 0001-000, 0001-001, 0001-002"),
        ("skip", [(1, 0)], "skip needs resources that are FAILED or PENDING or TIMED_OUT: 0001-000 is WAITING"),
        ("force-complete", [(1, 2)], "force-complete needs resources that are WAITING: 0001-002 is REQUESTED"),
        ("force-complete", [], "force-complete needs resources that are WAITING: 0001-001 is FAILED"),
    ],
)
def test_command_on_the_wrong_resource_is_refused(name: str, places: list[tuple[int, int]], reason: str) -> None:
    """The text says what each one is."""
    with pytest.raises(NotAllowedError) as refusal:
        running().order(name, *places)
    assert str(refusal.value) == reason


def test_command_that_finds_nothing_to_do_says_so() -> None:
    """No failed resource, no retry."""
    with pytest.raises(NotAllowedError, match="retry needs resources that are FAILED or TIMED_OUT: there are none"):
        Story(1).approve().order("retry")


def test_retry_on_a_snapshot_that_is_torn_is_refused() -> None:
    """The layers were read just before the failed one opened."""
    state = failed().table.load("e1")
    for layers in (), (replace(state.layers[0], status=LayerStatus.PENDING), state.layers[1]):
        with pytest.raises(NotAllowedError, match="retry needs a current layer that is RUNNING or FAILED"):
            decide(replace(state, layers=layers), command("retry"), T0)


def test_command_on_too_many_resources_is_refused() -> None:
    """One transaction cannot hold them."""
    story = Story(LayerPlan(1, tuple(ResourcePlan(f"r{i}") for i in range(46)))).approve()
    for index in range(46):
        story.ends(1, index, broken(ErrorClass.TERMINAL))
    with pytest.raises(NotAllowedError, match="retry takes at most 45 resources at once: name them"):
        story.order("retry")
    with pytest.raises(NotAllowedError, match=r"^retry takes at most 45 resources at once, not 46$"):
        story.order("retry", *[(1, index) for index in range(46)])
    story.order("retry", *[(1, index) for index in range(45)])
    assert story.statuses(1).count("PENDING") == 45
