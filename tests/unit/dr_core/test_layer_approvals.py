"""A layer that waits for people, and people who are reminded: when the execution waits, what each decision leads to, and how it ends."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dr_core.approval_plan import plan_digest
from dr_core.commands import Command, NotAllowedError
from dr_core.execution import decide
from dr_core.records import ApprovalStatus, Event, Kind, LayerStatus
from dr_core.takeover import LockHeld, Replica, take_over
from dr_core.triggers import Asked, Expire, Preflown, TokenHeld, Vote, Wake
from tests.support.memory_table import SHA, SOURCE, TARGET, LayerPlan, ResourcePlan
from tests.support.story import DONE, Story

HOUR = 3600


def story() -> Story:
    """Two layers, of which the second waits for people."""
    return Story(LayerPlan(1, (ResourcePlan("database"),)), LayerPlan(2, (ResourcePlan("records"),), approval=True))


def waiting() -> Story:
    """The first layer is done."""
    return story().after(60).approve().after(60).ends(1, 0)


def vote(approve: bool = True) -> Vote:
    return Vote(approve, "bob", "the database is fine", SHA)


def reminders(told: Story) -> list[Event]:
    return [event for event in told.table.timeline("e1") if event.detail_type == "Approval Reminder"]


def test_the_execution_waits_before_the_layer_with_its_locks_held() -> None:
    told = waiting()
    assert (told.execution.status, told.execution.current_layer) == ("PENDING_APPROVAL", 1)
    assert (told.layer(1).status, told.layer(2).status, told.statuses(2)) == ("SUCCEEDED", "PENDING", ["PENDING"])
    assert told.locks() == ["e1", "e1"]
    assert (told.approval.layer, told.approval.status, told.approval.expires_at) == (2, "PENDING", told.now + timedelta(seconds=HOUR))
    assert told.last("Approval Requested").fields == {"layer": 2}


def test_nobody_is_asked_before_the_layer_is_due() -> None:
    told = story().after(60).approve()
    assert told.approval.layer == 0
    with pytest.raises(NotAllowedError, match="there is nothing to decide"):
        told.do(vote())
    assert [told.do(one) for one in (Expire(), TokenHeld("token"), Asked())] == [None, None, None]
    assert told.table.approvals("e1")[1].status is ApprovalStatus.PENDING


def test_without_the_record_of_its_approval_a_layer_stays_shut() -> None:
    told = story().approve()
    assert told.begun(1, 0).checked(1, 0, DONE)
    state = told.table.load("e1")
    assert decide(replace(state, approval=None), Wake(), told.now) is None and decide(state, Wake(), told.now)


def test_approved_the_layer_opens_and_the_start_stays_the_first() -> None:
    told = waiting()
    started_at = told.execution.started_at
    told.after(30).do(vote())
    told.wake()
    assert (told.execution.status, told.execution.current_layer, told.execution.started_at) == ("RUNNING", 2, started_at)
    assert (told.layer(2).status, told.statuses(2)) == ("RUNNING", ["REQUESTED"])
    assert told.last("Approval Granted").fields["layer"] == 2 and told.events().count("Execution Started") == 1
    assert told.ends(2, 0).execution.status == "SUCCEEDED"


def test_rejected_it_ends_with_its_locks_freed_and_says_what_was_carried_out() -> None:
    told = waiting()
    told.do(vote(approve=False))
    told.wake()
    assert (told.execution.status, told.locks(), told.layer(2).status) == ("REJECTED", [None, None], "PENDING")
    why = "before layer 2: rejected by bob: the database is fine; what stands in the layers before it was carried out, and stays as it is"
    assert told.execution.outcome_detail == told.last("Execution Rejected").fields["reason"] == why


def test_undecided_it_expires_with_its_locks_freed_and_says_what_was_carried_out() -> None:
    told = waiting()
    assert told.after(HOUR - 1).wake().execution.status == "PENDING_APPROVAL"
    told.after(1).wake()
    assert (told.execution.status, told.locks()) == ("EXPIRED", [None, None])
    assert told.execution.outcome_detail.startswith("before layer 2: nobody decided by 2031-03-01 13:02:00Z; what stands in the layers")
    assert told.last("Approval Expired").fields["layer"] == 2


def test_cancelled_it_ends_at_once() -> None:
    told = waiting()
    told.order("cancel")
    assert (told.execution.status, told.locks(), told.approval.status) == ("CANCELLED", [None, None], "EXPIRED")


def test_what_was_shown_for_one_approval_decides_no_other() -> None:
    assert len({plan_digest((), ()), plan_digest((), (), 2), plan_digest((), (), 3)}) == 3


def test_before_the_first_layer_nobody_is_asked_twice() -> None:
    told = Story(LayerPlan(1, (ResourcePlan("database"),), approval=True)).after(60).approve()
    assert (told.execution.status, told.layer(1).status, len(told.table.approvals("e1"))) == ("RUNNING", "RUNNING", 1)


def test_a_preflight_that_comes_late_asks_nobody_about_a_layer() -> None:
    told = waiting()
    assert told.decide(Preflown(0, 0, 1)) is None
    told.after(400)
    assert told.lost() == ["Approval Requested"], "and the sweep sends what asks for the layer, not for a preflight"


def test_a_failed_layer_halts_and_asks_once_it_is_mended() -> None:
    told = story().approve()
    assert told.order("pause") and told.order("resume")
    told.ends(1, 0)
    assert told.execution.status == "PENDING_APPROVAL"


# --- the home Region is lost ---


def replica(told: Story) -> Replica:
    table = told.table
    held = table.lock(SOURCE)
    locks: dict[str, LockHeld | None] = {region: LockHeld(held.owner, held.fence) for region in (SOURCE, TARGET)}
    return Replica(
        table.execution("e1"), table.layers("e1"), table.resources("e1"), {one.layer: one for one in table.approvals("e1")}, locks
    )


def take(told: Story) -> None:
    move = take_over(replica(told), Command("takeover", "olga", "lost"), SOURCE, told.now)
    assert told.table.commit("e1", move)


def test_taken_over_while_it_waits_people_are_asked_from_the_new_home() -> None:
    told = waiting()
    told.do(TokenHeld("lost"))
    told.do(Asked())
    take(told.after(3000))
    assert (told.execution.status, told.execution.current_layer, told.execution.home_region) == ("PENDING_APPROVAL", 1, SOURCE)
    approval = told.approval
    assert (approval.task_token, approval.asked_at, approval.expires_at) == (None, None, told.now + timedelta(seconds=HOUR))
    assert told.last("Execution Taken Over").fields["status"] == "PENDING_APPROVAL"
    told.do(vote())
    assert told.wake().execution.current_layer == 2


def test_taken_over_from_a_replica_that_has_not_the_wait_the_layer_opens_for_nobody() -> None:
    told = waiting()
    key = ("e1", Kind.EXECUTION, "")
    told.table.records[key] = replace(told.execution, status=type(told.execution.status).RUNNING)
    take(told)
    assert (told.execution.status, told.layer(2).status) == ("PENDING_APPROVAL", "PENDING")


def test_a_decision_of_the_lost_region_counts_when_the_layer_before_is_closed_anew() -> None:
    told = waiting()
    told.do(vote())
    told.table.records["e1", Kind.LAYER, "1"] = replace(told.layer(1), status=LayerStatus.RUNNING, ended_at=None)
    take(told)
    assert told.layer(1).status is LayerStatus.RUNNING
    told.wake()
    assert (told.execution.status, told.execution.current_layer) == ("RUNNING", 2)


def test_an_approval_that_has_not_come_here_is_not_taken_as_given() -> None:
    told = waiting()
    seen = replica(told)
    with pytest.raises(NotAllowedError, match="the approvals before these layers have not come to us-east-1: 2"):
        take_over(replace(seen, approvals={0: seen.approvals[0]}), Command("takeover", "olga", "lost"), SOURCE, told.now)


# --- reminders ---


def test_people_are_reminded_at_each_share_of_the_time_once() -> None:
    told = story()
    told.do(Asked())
    assert told.approval.due_at == told.now + timedelta(seconds=HOUR / 4)
    assert told.after(HOUR / 4 - 1).wake() and reminders(told) == []
    for seconds in (1, 0, 100, HOUR / 4 - 100, HOUR / 4, 60):
        told.after(seconds).wake()
    expires = "2031-03-01T13:00:00.000Z"
    assert [event.fields for event in reminders(told)] == [
        {"share": 25, "expiresAt": expires, "escalated": False},
        {"share": 50, "expiresAt": expires, "escalated": True},
        {"share": 75, "expiresAt": expires, "escalated": True},
    ]
    assert told.approval.due_at == told.approval.expires_at
    assert told.after(HOUR).wake().execution.status == "EXPIRED"


def test_of_several_that_went_by_unseen_people_get_the_last() -> None:
    told = story()
    told.do(Asked())
    told.after(HOUR * 0.8).wake()
    assert [event.fields["share"] for event in reminders(told)] == [75]


def test_two_sweeps_at_once_remind_once() -> None:
    told = story()
    told.do(Asked())
    state, now = told.table.load("e1"), (told.after(HOUR / 4)).now
    first, second = decide(state, Wake(), now), decide(state, Wake(), now)
    assert first and second and [told.table.commit("e1", first), told.table.commit("e1", second)] == [True, False]


def test_who_is_asked_late_is_not_reminded_at_once_and_who_was_not_asked_not_at_all() -> None:
    late = story().after(HOUR * 0.6)
    assert late.wake() and reminders(late) == []
    late.do(Asked())
    assert late.wake() and reminders(late) == []
    late.after(HOUR * 0.2).wake()
    assert [event.fields["share"] for event in reminders(late)] == [75]


def test_nobody_is_reminded_of_what_is_decided() -> None:
    told = story()
    told.do(Asked())
    told.approve().after(HOUR / 2).wake()
    assert reminders(told) == []


def test_reminders_before_a_layer_are_of_its_own_time() -> None:
    told = waiting()
    told.do(Asked())
    told.after(HOUR / 2).wake()
    assert [event.fields for event in reminders(told)] == [
        {"share": 50, "expiresAt": "2031-03-01T13:02:00.000Z", "escalated": True, "layer": 2},
    ]


def test_each_reminder_that_went_out_is_told_with_its_share() -> None:
    told = waiting()
    told.do(Asked(("mail: ann",)))
    told.after(HOUR / 4).wake()
    told.do(Asked(("mail: bob",), 25))
    first, second = (event.fields for event in told.table.timeline("e1") if event.detail_type == "Approval Sent")
    assert first == {"channels": ["mail: ann"], "layer": 2}
    assert second == {"channels": ["mail: bob"], "share": 25, "layer": 2}
    told.do(vote())
    assert told.do(Asked(("mail: bob",), 50)) is None, "nothing is asked any more"
