"""Stories of executions: what follows from what."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dr_core.commands import NotAllowedError
from dr_core.errors import ErrorClass
from dr_core.execution import decide
from dr_core.records import Kind, Move
from dr_core.triggers import Asked, Expire, Preflown, Vote, Wake
from tests.support.memory_table import SHA, T0, LayerPlan, ResourcePlan
from tests.support.story import DONE, Story, broken

RETRYABLE, THROTTLED, TERMINAL, AMBIGUOUS = ErrorClass.RETRYABLE, ErrorClass.THROTTLED, ErrorClass.TERMINAL, ErrorClass.AMBIGUOUS


# --- the approval ---


def test_nothing_happens_before_somebody_decides() -> None:
    """Waiting for approval, the execution holds its locks and opens no layer."""
    story = Story(1).wake()
    assert story.execution.status == "PENDING_APPROVAL"
    assert story.locks() == ["e1", "e1"]
    assert story.layer(1).status == "PENDING"


def test_approved_execution_opens_its_first_layer_and_requests_its_resources() -> None:
    """One vote, and the first layer runs; the second waits."""
    story = Story(LayerPlan(3, (ResourcePlan("db"), ResourcePlan("web"))), LayerPlan(7, (ResourcePlan("dns"),))).approve()
    assert (story.execution.status, story.execution.current_layer, story.execution.started_at) == ("RUNNING", 3, T0)
    assert (story.approval.status, story.approval.approver, story.approval.reason) == ("APPROVED", "ann", "looks right")
    assert (story.layer(3).status, story.layer(7).status) == ("RUNNING", "PENDING")
    assert story.statuses(3) == ["REQUESTED", "REQUESTED"]
    assert story.events()[1:] == [
        "Vote Recorded",
        "Approval Granted",
        "Execution Started",
        "Layer Started",
        "Resource Requested",
        "Resource Requested",
    ]
    assert story.last("Execution Started").fields == {"layersTotal": 2}
    assert story.last("Layer Started").fields == {"layer": 3, "epoch": 0, "resources": 2}


def test_rejected_execution_ends_with_the_reason_and_frees_its_locks() -> None:
    """A no is final."""
    story = Story(1)
    story.do(Vote(False, "bob", "not today", SHA))
    story.wake()
    assert (story.execution.status, story.execution.outcome_detail) == ("REJECTED", "rejected by bob: not today")
    assert story.locks() == [None, None]
    assert story.execution.due_at is None and story.approval.due_at is None


@pytest.mark.failure("Step Functions is down")
def test_execution_expires_when_nobody_decides() -> None:
    """The sweep finds the time over, also without the timer's own call."""
    story = Story(1).after(3599).wake()
    assert story.execution.status == "PENDING_APPROVAL"
    story.after(1).wake()
    assert (story.execution.status, story.approval.status) == ("EXPIRED", "EXPIRED")
    assert story.execution.outcome_detail == "nobody decided by 2031-03-01 13:00:00Z"
    assert story.locks() == [None, None]


def test_timer_of_the_approval_ends_the_execution() -> None:
    """The approval's state machine says that the time is over."""
    story = Story(1)
    story.do(Expire())
    assert story.approval.status == "EXPIRED" and story.approval.due_at is None
    assert story.wake().execution.status == "EXPIRED"


@pytest.mark.failure("Approval and expiry at once")
def test_timer_that_comes_after_the_decision_changes_nothing() -> None:
    """Approved stays approved."""
    story = Story(1)
    story.do(Vote(True, "ann", "", SHA))
    assert story.decide(Expire()) is None
    assert story.wake().execution.status == "RUNNING"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.approve(), "execution e1 is RUNNING: there is nothing to decide"),
        (lambda s: s.do(Vote(True, "ann", "", SHA)), "this request is already APPROVED by ann"),
        (lambda s: s.do(Expire()), "this request is already EXPIRED"),
        (lambda s: s.after(3600), "this request expired at 2031-03-01 13:00:00Z"),
    ],
)
def test_vote_that_comes_too_late_is_refused(change, reason) -> None:  # type: ignore[no-untyped-def]
    """Nobody decides twice, or after the time."""
    story = Story(1)
    change(story)
    with pytest.raises(NotAllowedError) as refusal:
        story.do(Vote(False, "bob", "", SHA))
    assert str(refusal.value) == reason


@pytest.mark.failure("The manifest changes after it was shown for approval")
def test_vote_on_another_manifest_is_refused() -> None:
    """A vote binds to what was shown."""
    with pytest.raises(NotAllowedError, match="the manifest is not the one that was shown"):
        Story(1).do(Vote(True, "ann", "", "other"))


def test_two_votes_at_once_one_counts() -> None:
    """Both were decided on the same snapshot; the table takes the first."""
    story = Story(1)
    yes, no = story.decide(Vote(True, "ann", "", SHA)), story.decide(Vote(False, "bob", "", SHA))
    assert isinstance(yes, Move) and isinstance(no, Move)
    assert story.table.commit("e1", no)
    assert not story.table.commit("e1", yes)
    assert story.wake().execution.status == "REJECTED"


def test_request_for_approval_that_was_lost_is_sent_again() -> None:
    """Until it has gone out; it waits for the preflight, but not for ever."""
    story = Story(1)
    assert story.lost() == []
    assert story.after(45).lost() == ["Execution Requested"]
    assert story.after(180).lost() == ["Execution Requested", "Approval Requested"]
    story.do(Preflown(errors=1, warnings=0, calls=2))
    assert story.lost() == [] and story.events()[-2:] == ["Preflight Completed", "Approval Requested"]
    assert story.after(45).lost() == ["Approval Requested"]
    story.do(Asked())
    assert story.lost() == []
    opened, expires = story.approval.opened_at, story.approval.expires_at
    assert opened and story.approval.asked_at == story.now
    assert story.approval.due_at == opened + (expires - opened) / 4, "the first reminder"
    assert story.decide(Asked()) is None


def test_start_is_not_possible_on_an_approval_that_changed() -> None:
    """The start holds on the approval that it read."""
    story = Story(1)
    story.do(Vote(True, "ann", "", SHA))
    starts = story.decide(Wake())
    assert starts is not None
    story.table.records["e1", Kind.APPROVAL, ""] = replace(story.approval, manifest_sha256="other")
    assert not story.table.commit("e1", starts)


# --- layers ---


def test_layers_run_one_after_the_other_to_the_end() -> None:
    """The second layer opens when the first is done; the execution succeeds with the last."""
    story = Story(2, 1).approve().after(60).ends(1, 0)
    assert story.layer(2).status == "PENDING"
    story.ends(1, 1)
    assert (story.layer(1).status, story.layer(2).status, story.execution.current_layer) == ("SUCCEEDED", "RUNNING", 2)
    assert story.last("Layer Completed").fields == {"layer": 1, "epoch": 0, "outcome": "SUCCEEDED", "counts": {"SUCCEEDED": 2}}
    story.after(30).ends(2, 0)
    assert (story.execution.status, story.execution.ended_at, story.execution.due_at) == ("SUCCEEDED", story.now, None)
    assert story.last("Execution Completed").fields == {"outcome": "SUCCEEDED", "rtoSeconds": 90.0}
    assert story.locks() == [None, None]


@pytest.mark.failure("An operation is accepted and fails later", "The role in the target account is missing or denies")
def test_failed_resource_halts_the_execution_once_its_siblings_have_ended() -> None:
    """Drain: the sibling goes on, then the execution waits for a person and keeps its locks."""
    story = Story(2, 1).approve().begun(1, 1).ends(1, 0, broken())
    assert (story.execution.status, story.statuses(1)) == ("RUNNING", ["FAILED", "WAITING"])
    story.checked(1, 1, DONE)
    story.wake()
    assert (story.execution.status, story.execution.outcome_detail) == ("FAILED", "layer 1 failed: r1a")
    assert (story.layer(1).status, story.layer(2).status) == ("FAILED", "PENDING")
    assert story.last("Execution Halted").fields == {"layer": 1, "failed": ["0001-000"], "reason": "layer 1 failed: r1a"}
    assert story.locks() == ["e1", "e1"]
    assert story.table.due(story.now + timedelta(days=1)) == []


def test_best_effort_resource_may_fail() -> None:
    """The execution goes on, but says so."""
    story = Story(LayerPlan(1, (ResourcePlan("dns", best_effort=True), ResourcePlan("web"))), 1).approve()
    story.ends(1, 0, broken()).ends(1, 1)
    assert (story.layer(1).status, story.layer(2).status) == ("SUCCEEDED_WITH_FAILURES", "RUNNING")
    story.ends(2, 0)
    assert (story.layer(2).status, story.execution.status) == ("SUCCEEDED", "SUCCEEDED_WITH_FAILURES")


@pytest.mark.parametrize(
    ("most", "status", "outcome"), [(2, "SUCCEEDED_WITH_FAILURES", "SUCCEEDED_WITH_FAILURES"), (1, "FAILED", "FAILED")]
)
def test_continue_tolerates_so_many_failures(most: int, status: str, outcome: str) -> None:
    """Up to `max_failures`, best effort not counted."""
    resources = (ResourcePlan("a"), ResourcePlan("b"), ResourcePlan("c"), ResourcePlan("d", best_effort=True))
    story = Story(LayerPlan(1, resources, "continue", most)).approve()
    for index, seen in enumerate([broken(), broken(), DONE, broken()]):
        story.ends(1, index, seen)
    assert (story.layer(1).status, story.execution.status) == (status, status)


def test_drain_tolerates_no_failure_whatever_the_number_says() -> None:
    """`max_failures` is for `continue`."""
    story = Story(LayerPlan(1, (ResourcePlan("a"),), "drain", 5)).approve().ends(1, 0, broken())
    assert story.execution.status == "FAILED"


def test_fail_fast_starts_nothing_more_and_closes_with_what_is_held_back() -> None:
    """A retry that waits and a resource that never began stay as they are for a later retry."""
    story = Story(3, policy="failFast", max_attempts=2).approve().begun(1, 2)
    story.begun(1, 0).checked(1, 0, broken())
    assert story.wake().statuses(1) == ["RETRY_WAIT", "REQUESTED", "WAITING"]
    story.ends(1, 1, broken(TERMINAL))
    assert story.after(600).wake().statuses(1) == ["RETRY_WAIT", "FAILED", "WAITING"]
    story.checked(1, 2, DONE)
    story.wake()
    assert (story.execution.status, story.statuses(1)) == ("FAILED", ["RETRY_WAIT", "FAILED", "SUCCEEDED"])
    story.order("retry")
    assert story.wake().statuses(1) == ["REQUESTED", "REQUESTED", "SUCCEEDED"]


def test_best_effort_failure_does_not_trip_fail_fast() -> None:
    """Nobody depends on it."""
    layer = LayerPlan(1, (ResourcePlan("a", best_effort=True), ResourcePlan("b", 2)), "failFast")
    story = Story(layer).approve().ends(1, 0, broken(TERMINAL)).ends(1, 1, broken())
    assert story.after(600).wake().statuses(1) == ["FAILED", "REQUESTED"]


def test_close_that_was_decided_before_a_resource_went_on_is_refused() -> None:
    """A held-back resource is part of what a fail-fast close holds on."""
    story = Story(2, policy="failFast", max_attempts=2).approve().begun(1, 1).begun(1, 0)
    story.checked(1, 0, broken())
    early = story.after(600).decide(Wake())  # request the retry
    assert early is not None
    story.checked(1, 1, broken(TERMINAL))
    close = story.decide(Wake())
    assert close is not None and story.table.commit("e1", early)
    assert not story.table.commit("e1", close)


def test_close_of_a_big_fail_fast_layer_holds_on_everything_that_is_held_back() -> None:
    """Also on the last of ninety-nine, and it fits a transaction."""
    story = Story(LayerPlan(1, tuple(ResourcePlan(f"r{i:03d}", max_attempts=2) for i in range(100)), "failFast")).approve()
    for index in range(100):
        story.begun(1, index)
    for index in range(1, 100):
        story.checked(1, index, broken())
    story.after(600)
    state = story.table.load("e1")
    early = decide(
        replace(state, resources=(*state.resources[:1], *state.resources[-1:]), layers=(replace(state.layers[0], total=2),)),
        Wake(),
        story.now,
    )
    assert early is not None and early.changes[-1].key == "0001-099"  # its retry, and nobody else's
    story.checked(1, 0, broken(TERMINAL))
    close = story.decide(Wake())
    assert close is not None and close.events[-1].detail_type == "Execution Halted"
    twin = replace(story.table, records=dict(story.table.records), observers=[])
    assert twin.commit("e1", close), "undisturbed it holds"
    assert story.table.commit("e1", early)
    assert not story.table.commit("e1", close)
    assert story.wake().execution.status == "RUNNING"


def test_layer_that_is_not_all_there_is_not_touched() -> None:
    """A layer with fewer resources than it should have neither closes nor starts."""
    story = Story(2).approve()
    del story.table.records["e1", Kind.RESOURCE, "0001-001"]
    story.ends(1, 0)
    assert story.layer(1).status == "RUNNING"


def test_big_layer_is_requested_in_moves_that_fit_a_transaction() -> None:
    """A hundred resources, none forgotten."""
    story = Story(LayerPlan(1, tuple(ResourcePlan(f"r{i:03d}") for i in range(100)))).approve()
    assert set(story.statuses(1)) == {"REQUESTED"}


@pytest.mark.failure("Two close a layer at once")
def test_joiners_at_once_one_wins() -> None:
    """Two saw the last resource end; the layer closes once."""
    story = Story(1, 1).approve().begun(1, 0)
    story.checked(1, 0, DONE)
    one, two = story.decide(Wake()), story.decide(Wake())
    assert one is not None and two is not None
    assert story.table.commit("e1", one)
    assert not story.table.commit("e1", two)
