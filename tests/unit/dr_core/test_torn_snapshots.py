"""Decisions on snapshots that are torn: their parts were read one after the other, while somebody moved."""

from dataclasses import replace

import pytest

from dr_core.commands import NotAllowedError
from dr_core.execution import decide, lost_wake_ups
from dr_core.records import ApprovalStatus, Kind, LayerStatus, State
from dr_core.triggers import Asked, Expire, Preflown, TokenHeld, Trigger, Vote, Wake
from tests.support.memory_table import SHA, T0
from tests.support.simulation import command
from tests.support.story import Story

VOTE = Vote(True, "ann", "", SHA)


@pytest.mark.parametrize("trigger", [Wake(), Expire(), Asked(), TokenHeld("t")])
def test_approval_that_was_not_read_is_left_alone(trigger: Trigger) -> None:
    """The execution had left its approval behind when it was read."""
    state = replace(Story(1).table.load("e1"), approval=None)
    assert decide(state, trigger, T0) is None


@pytest.mark.parametrize("torn", ["approval missing", "execution has moved on"])
def test_vote_on_an_approval_that_is_over_is_refused(torn: str) -> None:
    """Whichever part shows it."""
    whole, started = Story(1).table.load("e1"), Story(1).approve().execution
    state = replace(whole, approval=None) if torn == "approval missing" else replace(whole, execution=started)
    with pytest.raises(NotAllowedError, match="there is nothing to decide"):
        decide(state, VOTE, T0)
    assert lost_wake_ups(replace(state, approval=None), T0) == ()


def test_cancel_without_the_approval_is_refused() -> None:
    """In a moment it will be clear what became of it."""
    state = replace(Story(1).table.load("e1"), approval=None)
    with pytest.raises(NotAllowedError, match="the approval has just been decided"):
        decide(state, command("cancel"), T0)


def test_request_for_an_approval_that_is_decided_is_not_sent_again() -> None:
    """Nor for an execution that has started since."""
    story = Story(1)
    story.do(Preflown(0, 0, 0))
    asked = story.after(60).table.load("e1")
    assert lost_wake_ups(replace(asked, execution=Story(1).approve().execution), story.now) == ()
    story.do(VOTE)
    assert story.lost() == []


def test_execution_without_layers_does_not_start() -> None:
    """There is nothing to run."""
    story = Story()
    story.do(VOTE)
    assert story.wake().execution.status == "PENDING_APPROVAL"


def _running(**layer: object) -> State:
    story = Story(2)
    story.do(VOTE)
    story.do(Wake())
    state = story.table.load("e1")
    return replace(state, layers=(replace(state.layers[0], **layer),))  # type: ignore[arg-type]


def test_layer_that_was_read_before_it_opened_is_left_alone() -> None:
    """Whoever opened it goes on with it."""
    assert decide(_running(), Wake(), T0) is not None
    assert decide(_running(status=LayerStatus.PENDING), Wake(), T0) is None
    assert decide(replace(_running(), layers=()), Wake(), T0) is None


def test_layer_of_which_resources_are_missing_is_left_alone() -> None:
    """It neither starts nor closes."""
    assert decide(_running(total=3), Wake(), T0) is None


def test_end_holds_on_the_approval_that_led_to_it() -> None:
    """A rejection that is none any more ends nothing."""
    story = Story(1)
    story.do(Vote(False, "bob", "", SHA))
    end = story.decide(Wake())
    story.table.records["e1", Kind.APPROVAL, ""] = replace(story.approval, status=ApprovalStatus.PENDING)
    assert end is not None and not story.table.commit("e1", end)
