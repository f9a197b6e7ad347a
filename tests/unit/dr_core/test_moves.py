"""The building blocks of moves."""

from collections.abc import Callable

import pytest

from dr_core.errors import ErrorClass
from dr_core.moves import applied, counts, error_fields
from dr_core.records import Failure, Kind, Move
from dr_core.triggers import Asked, Claim, Trigger, Wake
from tests.support.simulation import command, vote
from tests.support.story import Story, broken


@pytest.mark.parametrize(
    ("begin", "trigger"),
    [
        (lambda: Story(1), Asked()),
        (lambda: Story(1), vote()),
        (lambda: Story(2, 1).approve(), Claim("0001-001", 1, "me")),
        (lambda: Story(2, 1).approve(), command("pause")),
        (lambda: Story(2, 1).approve().ends(1, 0, broken()), command("retry")),
        (lambda: Story(2).approve().ends(1, 0).ends(1, 1, broken()), command("cancel")),
    ],
    ids=["asked", "vote", "claim", "pause", "retry", "cancel"],
)
def test_snapshot_after_a_move_is_what_the_table_then_holds(begin: Callable[[], Story], trigger: Trigger) -> None:
    """A handler may go on with it without reading again."""
    story = begin()
    before = story.table.load("e1")
    move = story.do(trigger)
    assert move is not None
    assert applied(before, move) == story.table.load("e1") != before


def test_snapshot_keeps_what_a_move_does_not_touch() -> None:
    """A snapshot of one resource knows neither layers nor locks: they are left out."""
    story = Story(1).approve().begun(1, 0)
    story.order("pause")
    small = story.table.load_resource("e1", "0001-000")
    move = story.decide(command("abandon"))
    assert move is not None and any(change.kind is Kind.LOCK for change in move.changes)
    assert applied(small, move).execution.status == "ABANDONED"
    assert applied(small, Move(())) == small
    start = Story(1)
    start.do(vote())
    opened = start.decide(Wake())
    assert opened is not None
    assert applied(small, opened).layers == ()


def test_failure_in_an_event_is_short() -> None:
    """The whole text stays in the table."""
    fields = error_fields(Failure("Broken", ErrorClass.TERMINAL, "x" * 600, "req-1"))
    assert fields == {"code": "Broken", "class": "TERMINAL", "message": "x" * 512, "requestId": "req-1"}


def test_resources_are_counted_by_status() -> None:
    """Only those statuses that occur."""
    story = Story(3).approve().begun(1, 0)
    assert counts(story.table.resources("e1")) == {"WAITING": 1, "REQUESTED": 2}
