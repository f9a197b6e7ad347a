"""Stories of preflight and dry runs: what is asked for, what ends, and what a dry run never does."""

from datetime import timedelta
from typing import Any

import pytest

from dr_core.commands import NotAllowedError
from dr_core.execution import decide, lost_wake_ups
from dr_core.moves import applied
from dr_core.records import ApprovalStatus, ExecutionStatus, Kind, Move, State
from dr_core.state import LockedError
from dr_core.triggers import Asked, Expire, Preflown, Vote, Wake
from tests.support.control_plane import HOME, ID, OTHER, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.memory_table import SHA, LayerPlan, MemoryTable, ResourcePlan, begin
from tests.support.simulation import command
from tests.support.story import Story

FOUND = Preflown(errors=1, warnings=2, calls=3, lag_seconds=0.5)
TOLD = {"errors": 1, "warnings": 2, "calls": 3, "lagSeconds": 0.5}
COMMANDS = ("pause", "resume", "cancel", "retry", "skip", "force-complete", "abandon")


def dry(**values: Any) -> State:
    """A dry run that has just been requested."""
    execution = an_execution(**{"status": ExecutionStatus.PLANNING, "dry_run": True, **values})
    return State(execution, (a_layer(),))


def lost(state: State, seconds: float) -> list[str]:
    """What the sweep would send again."""
    return [event.detail_type.value for event in lost_wake_ups(state, T0 + timedelta(seconds=seconds))]


# --- a dry run ---


def test_a_dry_run_ends_with_its_preflight() -> None:
    move = decide(dry(), FOUND, T0 + timedelta(seconds=9))
    assert move
    ended = applied(dry(), move).execution
    assert (ended.status, ended.ended_at, ended.due_at, ended.preflight_at) == (
        ExecutionStatus.SUCCEEDED,
        T0 + timedelta(seconds=9),
        None,
        T0 + timedelta(seconds=9),
    )
    assert ended.outcome_detail == "dry run: 3 calls planned, 1 errors and 2 warnings found, nothing changed"
    assert [(event.detail_type.value, event.fields) for event in move.events] == [
        ("Preflight Completed", TOLD),
        ("Execution Completed", {"outcome": "SUCCEEDED", "reason": ended.outcome_detail}),
    ]
    assert {change.kind for change in move.changes} == {Kind.EXECUTION}, "it has no lock to free"
    assert decide(applied(dry(), move), FOUND, T0) is None and decide(applied(dry(), move), Wake(), T0 + timedelta(days=1)) is None


def test_of_two_preflights_at_once_one_is_told() -> None:
    table = MemoryTable()
    assert begin(table, (LayerPlan(1, (ResourcePlan("web"),)),))
    read = table.load("e1")
    first, second = decide(read, FOUND, T0), decide(read, FOUND, T0)
    assert first and second
    assert (table.commit("e1", first), table.commit("e1", second)) == (True, False)


def test_a_dry_run_whose_preflight_never_comes_expires() -> None:
    assert decide(dry(), Wake(), T0 + timedelta(seconds=899)) is None
    move = decide(dry(), Wake(), T0 + timedelta(seconds=900))
    assert move
    ended = applied(dry(), move).execution
    assert (ended.status, ended.due_at, ended.preflight_at) == (ExecutionStatus.EXPIRED, None, None)
    assert ended.outcome_detail == "the dry run did not end within 900 s: look into the log of the preflight function"
    assert [event.detail_type.value for event in move.events] == ["Execution Expired"]
    assert decide(applied(dry(), move), FOUND, T0) is None, "what comes later is too late"
    assert lost(applied(dry(), move), 99_999) == []


def test_a_dry_run_asks_again_for_its_preflight_and_for_nothing_else() -> None:
    assert (lost(dry(), 44), lost(dry(), 45), lost(dry(), 800)) == ([], ["Execution Requested"], ["Execution Requested"])


@pytest.mark.parametrize("name", COMMANDS)
def test_nobody_steers_a_dry_run(name: str) -> None:
    with pytest.raises(NotAllowedError, match="a dry run holds nothing up" if name == "cancel" else f"{name} needs an execution"):
        decide(dry(), command(name), T0)


@pytest.mark.parametrize("trigger", [Expire(), Asked()])
def test_a_dry_run_has_no_approval(trigger: Expire | Asked) -> None:
    assert decide(dry(), trigger, T0) is None
    with pytest.raises(NotAllowedError, match="there is nothing to decide"):
        decide(dry(), Vote(True, "ann", "", SHA), T0)


def test_a_dry_run_neither_takes_a_lock_nor_waits_for_one(cloud: Cloud) -> None:
    table = cloud.table
    assert table.create(an_execution("01A"), [a_layer()], [a_resource()], an_approval(), T0)
    assert table.create(dry(id="01B").execution, [a_layer()], [a_resource()], None, T0)
    assert table.locked_by("shop", [HOME, OTHER]) == {HOME: "01A", OTHER: "01A"}
    with pytest.raises(LockedError):
        table.create(an_execution("01C"), [a_layer()], [a_resource()], an_approval(), T0)
    assert table.create(dry(id="01D", application="blog").execution, [a_layer()], [a_resource()], None, T0)
    assert table.locked_by("blog", [HOME, OTHER]) == {}
    assert table.create(an_execution("01E", application="blog"), [a_layer()], [a_resource()], an_approval(), T0)
    state = table.load("01D")
    assert state and state.approval is None and table.approval("01D") is None
    move = decide(state, FOUND, T0)
    assert move and table.commit(state.execution, move, T0)
    assert table.locked_by("blog", [HOME, OTHER]) == {HOME: "01E", OTHER: "01E"}, "the end of a dry run frees nobody's lock"


def test_a_dry_run_that_is_requested_twice_is_one(cloud: Cloud) -> None:
    made = dry(client_token="again").execution
    assert cloud.table.create(made, [a_layer()], [a_resource()], None, T0)
    assert not cloud.table.create(made, [a_layer()], [a_resource()], None, T0)
    assert cloud.events(ID) == ["Execution Requested"]


# --- ahead of the approval ---


def test_people_are_asked_when_the_preflight_is_through() -> None:
    story = Story(1).after(20)
    assert story.do(FOUND)
    assert story.execution.preflight_at == story.now and story.execution.status == "PENDING_APPROVAL"
    assert story.events()[-2:] == ["Preflight Completed", "Approval Requested"] and story.last("Preflight Completed").fields == TOLD
    assert story.decide(FOUND) is None


def test_a_preflight_that_comes_late_asks_nobody_twice() -> None:
    story = Story(1)
    story.do(Asked())
    assert story.after(300).do(FOUND)
    assert story.execution.preflight_at == story.now
    assert "Approval Requested" not in story.events() and story.events()[-1] == "Preflight Completed"


def test_a_preflight_after_the_vote_is_only_noted() -> None:
    story = Story(1)
    story.do(Vote(True, "ann", "", SHA))
    assert story.decide(FOUND) is not None and "Approval Requested" not in [e.detail_type for e in story.decide(FOUND).events]  # type: ignore[union-attr]
    late = story.decide(FOUND)
    assert story.wake().execution.status == "RUNNING"
    assert isinstance(late, Move) and not story.table.commit("e1", late), "nor does it move what has begun"
    assert story.decide(FOUND) is None


def test_a_vote_that_is_faster_than_the_preflight_counts() -> None:
    story = Story(1)
    asks = story.decide(FOUND)
    story.do(Vote(False, "bob", "no", SHA))
    assert asks and not story.table.commit("e1", asks), "nobody is asked about what has been decided"
    assert story.wake().execution.status == "REJECTED"


def test_a_cancel_that_is_faster_than_the_preflight_counts() -> None:
    story = Story(1)
    asks = story.decide(FOUND)
    story.order("cancel")
    assert asks and not story.table.commit("e1", asks) and story.decide(FOUND) is None
    assert story.approval.status is ApprovalStatus.EXPIRED


def test_what_was_lost_is_asked_for_again_until_it_came() -> None:
    """People are asked without a preflight that does not come within three minutes, and the sweep's pause."""
    story = Story(1)
    for seconds, expected in [
        (44, []),
        (1, ["Execution Requested"]),
        (179, ["Execution Requested"]),
        (1, ["Execution Requested", "Approval Requested"]),
    ]:
        assert story.after(seconds).lost() == expected
    story.do(Asked())
    assert story.lost() == ["Execution Requested"]
    story.do(FOUND)
    assert story.lost() == []


def test_after_the_preflight_the_request_for_approval_is_asked_for_again() -> None:
    story = Story(1).after(30)
    story.do(FOUND)
    assert story.after(44).lost() == [] and story.after(1).lost() == ["Approval Requested"]
    story.do(Vote(True, "ann", "", SHA))
    assert story.lost() == []
