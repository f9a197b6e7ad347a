"""The rules of an approval: who counts, how often, and what ends it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dr_core.approval_rules import is_requester, person
from dr_core.commands import NotAllowedError
from dr_core.execution import decide
from dr_core.moves import applied
from dr_core.records import Approver, Channel, State
from dr_core.triggers import Expire, Preflown, TokenHeld, Vote, Wake
from tests.support.control_plane import SHA, T0, a_layer, an_approval, an_execution

ANN = Approver("ann", "ann@example.com", "U0ANN", "arn:aws:sts::111111111111:assumed-role/Operator/ann", "oidc-ann")
BOB = Approver("bob", "bob@example.com", "U0BOB")
EVE = Approver("eve", principal="arn:aws:iam::111111111111:user/eve", escalation=True)
NOW = T0 + timedelta(minutes=5)


def waiting(**approval: Any) -> State:
    """An execution that two of ann, bob and eve must approve; zoe asked for it."""
    given: dict[str, Any] = {"quorum": 2, "approvers": (ANN, BOB, EVE), "requester": "zoe", **approval}
    return State(an_execution(), (a_layer(),), (), an_approval(**given))


def vote(identity: str, channel: Channel = "page", approve: bool = True, **values: Any) -> Vote:
    return Vote(approve, identity, values.pop("reason", "seen"), SHA, channel=channel, **values)


def after(state: State, *votes: Vote) -> State:
    for one in votes:
        move = decide(state, one, NOW)
        assert move
        state = applied(state, move)
    return state


def events(state: State, one: Vote) -> list[str]:
    move = decide(state, one, NOW)
    assert move
    return [event.detail_type for event in move.events]


def refused(state: State, one: Vote) -> str:
    with pytest.raises(NotAllowedError) as caught:
        decide(state, one, NOW)
    return str(caught.value)


@pytest.mark.parametrize(
    ("channel", "identity", "name"),
    [
        ("page", "ann", "ann"),
        ("slack", "U0ANN", "ann"),
        ("iam", ANN.principal, "ann"),
        ("oidc", "oidc-ann", "ann"),
        ("oidc", "Ann@Example.com", "ann"),
        ("slack", "ann", None),
        ("page", "U0ANN", None),
        ("iam", "arn:aws:sts::111111111111:assumed-role/Operator/bob", None),
        ("oidc", "", None),
        ("slack", "", None),
    ],
)
def test_a_channel_knows_people_by_its_own_identities(channel: Channel, identity: str, name: str | None) -> None:
    assert person(an_approval(approvers=(BOB, ANN)), channel, identity) == name


def test_the_quorum_approves_and_each_vote_is_recorded() -> None:
    state = waiting()
    assert events(state, vote("ann")) == ["Vote Recorded"]
    state = after(state, vote("ann"))
    assert state.approval and (state.approval.status, state.approval.approver) == ("PENDING", None)
    assert events(state, vote("U0BOB", "slack")) == ["Vote Recorded", "Approval Granted"]
    state = after(state, vote("U0BOB", "slack", reason="go"))
    assert state.approval
    assert (state.approval.status, state.approval.approver, state.approval.reason) == ("APPROVED", "ann, bob", "ann: seen; bob: go")
    assert [(one.approver, one.channel, one.identity, one.at) for one in state.approval.votes] == [
        ("ann", "page", "ann", NOW),
        ("bob", "slack", "U0BOB", NOW),
    ]


@pytest.mark.parametrize("again", [vote("ann"), vote("U0ANN", "slack"), vote("ann@example.com", "oidc"), vote(str(ANN.principal), "iam")])
def test_nobody_counts_twice_on_whatever_channel(again: Vote) -> None:
    assert refused(after(waiting(), vote("ann")), again) == "ann has approved this already: 2 different people have to"


@pytest.mark.parametrize("first", [[], [vote("ann")]])
@pytest.mark.parametrize("who", ["ann", "bob"])
def test_one_rejection_ends_it(first: list[Vote], who: str) -> None:
    state = after(waiting(), *first, vote(who, approve=False, reason="not today"))
    assert state.approval
    assert (state.approval.status, state.approval.approver, state.approval.reason) == ("REJECTED", who, "not today")
    move = decide(state, Wake(), NOW)
    assert move and move.events[0].fields == {"outcome": "REJECTED", "reason": f"rejected by {who}: not today"}
    assert refused(state, vote("eve")) == f"this request is already REJECTED by {who}"


@pytest.mark.parametrize("requester", ["ann", "ANN@example.com", "U0ANN", ANN.principal, "oidc-ann", "arn:aws:iam::1:user/ann"])
@pytest.mark.parametrize("one", [vote("ann"), vote("U0ANN", "slack"), vote("oidc-ann", "oidc"), vote(str(ANN.principal), "iam")])
def test_who_asked_does_not_approve_under_any_identity(requester: str, one: Vote) -> None:
    state = waiting(requester=requester)
    assert refused(state, one) == "ann asked for this, and may reject it but not approve it: somebody else has to"
    assert events(state, vote("bob")) == ["Vote Recorded"]
    assert events(state, replace(one, approve=False)) == ["Vote Recorded", "Approval Rejected"]


@pytest.mark.parametrize(
    ("requester", "identity", "same"),
    [
        ("olga", "olga", True),
        ("olga", "arn:aws:sts::1:assumed-role/R/Olga", True),
        ("arn:aws:sts::1:assumed-role/R/olga", "arn:aws:sts::1:assumed-role/R/olga", True),
        ("arn:aws:sts::1:assumed-role/R/olga", "arn:aws:sts::1:assumed-role/R/ann", False),
        ("olga", "ann", False),
        ("team/ann", "ann", False),
    ],
)
def test_four_eyes_without_configured_approvers(requester: str, identity: str, same: bool) -> None:
    assert is_requester(an_approval(requester=requester), identity, identity) is same


def test_who_is_not_an_approver_is_told_who_is() -> None:
    for one in (vote("mallory"), vote("", "oidc"), vote("ann", "slack"), vote("mallory", approve=False)):
        assert refused(waiting(), one) == "you are not one of those who may decide on this: ann, bob, eve"
    assert refused(waiting(approvers=()), vote("")) == "nobody knows who you are"


def test_a_vote_binds_to_the_plan_that_was_shown() -> None:
    shown = waiting(plan_sha256="p1")
    assert refused(shown, vote("ann")).startswith("the plan is not the one that was shown")
    assert refused(shown, vote("ann", plan_sha256="p2")).startswith("the plan is not the one that was shown")
    assert events(shown, vote("ann", plan_sha256="p1")) == ["Vote Recorded"]
    assert refused(waiting(), vote("ann", plan_sha256="p1")).startswith("the plan is not the one that was shown")


def test_a_vote_holds_on_the_plan_and_the_votes_before_it() -> None:
    move = decide(waiting(plan_sha256="p1"), vote("ann", plan_sha256="p1"), NOW)
    assert move
    assert move.changes[0].expected == {"status": "PENDING", "manifest_sha256": SHA, "plan_sha256": "p1", "votes": ()}


def test_the_plan_is_fixed_when_people_are_first_shown_one() -> None:
    state = waiting()
    flown = decide(state, Preflown(0, 0, 1, plan_sha256="p1"), NOW)
    asked = decide(state, TokenHeld("t", "p0"), NOW)
    assert flown and asked
    early, late = applied(state, flown), applied(state, asked)
    assert early.approval and early.approval.plan_sha256 == "p1"
    assert late.approval and (late.approval.plan_sha256, late.approval.task_token) == ("p0", "t")
    again = decide(early, TokenHeld("t", "p0"), NOW)
    assert again and "plan_sha256" not in again.changes[0].values
    came_late = decide(late, Preflown(0, 0, 1, plan_sha256="p1"), NOW)
    assert came_late and [event.detail_type for event in came_late.events] == ["Preflight Completed"]


def test_break_glass_needs_neither_quorum_nor_four_eyes_and_is_loud() -> None:
    principal = "arn:aws:sts::111111111111:assumed-role/BreakGlass/zoe"
    one = vote(principal, "iam", reason="nobody answers", break_glass=True)
    move = decide(waiting(), one, NOW)
    assert move and [event.detail_type for event in move.events] == ["Vote Recorded", "Approval Bypassed", "Approval Granted"]
    assert move.events[1].fields == {"actor": principal, "reason": "nobody answers", "votes": 1, "quorum": 2, "requestedBy": "zoe"}
    state = applied(waiting(), move)
    assert state.approval and (state.approval.status, state.approval.approver) == ("APPROVED", principal)


@pytest.mark.parametrize(
    "one", [vote("x", "page", break_glass=True), vote("x", "iam", reason="", break_glass=True), vote("x", "iam", False, break_glass=True)]
)
def test_break_glass_is_an_approval_by_iam_with_a_reason(one: Vote) -> None:
    assert refused(waiting(), one) == "break-glass is an approval of a principal of IAM, with a reason"


def test_what_ends_an_approval_that_nobody_decided() -> None:
    state = after(waiting(), vote("ann"))
    over = T0 + timedelta(hours=1)
    expired = decide(state, Wake(), over)
    assert expired
    ended = decide(applied(state, expired), Wake(), over)
    why = "nobody decided by 2031-03-01 13:00:00Z; approved by ann alone, 2 were needed"
    assert ended and ended.events[0].fields == {"outcome": "EXPIRED", "reason": why}
    void = decide(state, Expire("the manifest was changed"), NOW)
    assert void and void.events[0].fields["reason"] == "the manifest was changed"
    ended = decide(applied(state, void), Wake(), NOW)
    assert ended and ended.events[0].fields == {"outcome": "EXPIRED", "reason": "the manifest was changed"}
