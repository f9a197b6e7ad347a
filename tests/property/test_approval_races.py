"""Approvals in races: whoever comes in between whom, there is one truth, and every part of the state tells the same.

Each actor reads record by record, decides, and commits on its conditions, as the product's handlers do; anything may come between two
of its steps. A thousand interleavings of each race, drawn by seed.
"""

import random
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dr_core.commands import Command, NotAllowedError
from dr_core.execution import decide
from dr_core.records import Approver, Channel, DetailType, Kind
from dr_core.triggers import Expire, Trigger, Vote, Wake
from tests.support.memory_table import SHA, T0, LayerPlan, MemoryTable, ResourcePlan, begin

ONE, OVER = "e1", T0 + timedelta(hours=1)
EARLY = OVER - timedelta(seconds=1)
PEOPLE = (Approver("ann", email="ann@x.org", slack_user_id="U0ANN"), Approver("bob", slack_user_id="U0BOB"), Approver("eve", email="e@x"))
INTERLEAVINGS = 1_000
DECISIONS = (DetailType.APPROVAL_GRANTED, DetailType.APPROVAL_REJECTED, DetailType.APPROVAL_EXPIRED)

Actor = Generator[None, None, str]


def vote(who: str, approve: bool = True, channel: Channel = "page") -> Vote:
    return Vote(approve, who, "seen", SHA, channel=channel)


def actor(table: MemoryTable, trigger: Trigger, now: datetime) -> Actor:
    """Read, decide, commit; anew when somebody was faster. What became of it, in a word."""
    while True:
        state = yield from table.load_in_steps(ONE)
        yield
        try:
            move = decide(state, trigger, now)
        except NotAllowedError:
            return "refused"
        yield
        if move is None:
            return "nothing"
        if table.commit(ONE, move):
            return "done"


def race(seed: int, quorum: int, *triggers: tuple[Trigger, datetime]) -> tuple[MemoryTable, list[str]]:
    """One interleaving of the actors, with two that wake the execution; then all that is left to do is done. What became of each."""
    table = MemoryTable()
    assert begin(table, (LayerPlan(1, (ResourcePlan("db"),)),), execution_id=ONE)
    approval = replace(table.approval(ONE), quorum=quorum, approvers=PEOPLE)
    table.records[ONE, Kind.APPROVAL, ""] = approval
    became: dict[int, str] = {}
    running = dict(enumerate([*(actor(table, *one) for one in triggers), actor(table, Wake(), EARLY), actor(table, Wake(), EARLY)]))
    chance = random.Random(seed)
    while running:
        chosen = chance.choice(list(running))
        try:
            next(running[chosen])
        except StopIteration as finished:
            became[chosen] = finished.value
            del running[chosen]
    for _ in range(5):
        move = decide(table.load(ONE), Wake(), EARLY)
        assert move is None or table.commit(ONE, move)
    return table, [became[index] for index in range(len(triggers))]


def one_truth(table: MemoryTable) -> str:
    """The approval's status, after every part of the state was held against it."""
    approval, execution = table.approval(ONE), table.execution(ONE)
    told = Counter(event.detail_type for event in table.timeline(ONE))
    assert sum(told[one] for one in DECISIONS) == (approval.status != "PENDING"), "decided once, and told once"
    assert told[DetailType.VOTE_RECORDED] == len(approval.votes), "each vote has its event"
    voters = [one.approver for one in approval.votes if one.approve]
    assert len(set(voters)) == len(voters), "nobody counts twice"
    started = told[DetailType.EXECUTION_STARTED]
    assert started == (approval.status == "APPROVED") <= 1, "it starts once, and only when approved"
    if approval.status == "APPROVED":
        assert len(voters) >= approval.quorum and execution.status in ("RUNNING", "CANCELLING", "CANCELLED")
    expected = {"PENDING": {"PENDING_APPROVAL"}, "REJECTED": {"REJECTED"}, "EXPIRED": {"EXPIRED", "CANCELLED"}}
    assert execution.status in expected.get(approval.status, {execution.status})
    freed = all(table.lock(region).owner is None for region in (execution.source_region, execution.target_region))
    assert freed == execution.status.is_terminal, "the locks are free when it has ended, and not before"
    return approval.status


def outcomes(quorum: int, *triggers: tuple[Trigger, datetime]) -> Counter[tuple[str, ...]]:
    """How often each outcome was: the approval's status and what became of each actor."""
    found: Counter[tuple[str, ...]] = Counter()
    for seed in range(INTERLEAVINGS):
        table, became = race(seed, quorum, *triggers)
        found[(one_truth(table), *became)] += 1
    return found


def test_approve_against_expire() -> None:
    found = outcomes(1, (vote("ann"), EARLY), (Expire(), OVER))
    assert set(found) == {("APPROVED", "done", "nothing"), ("EXPIRED", "refused", "done")}
    assert min(found.values()) > 50, "both really happen"


def test_approve_against_reject() -> None:
    found = outcomes(1, (vote("ann"), EARLY), (vote("U0BOB", False, "slack"), EARLY))
    assert set(found) == {("APPROVED", "done", "refused"), ("REJECTED", "refused", "done")}
    assert min(found.values()) > 50


def test_two_approvers_at_once_where_one_is_enough() -> None:
    found = outcomes(1, (vote("ann"), EARLY), (vote("U0BOB", channel="slack"), EARLY))
    assert set(found) == {("APPROVED", "done", "refused"), ("APPROVED", "refused", "done")}
    assert min(found.values()) > 50


def test_two_approvers_at_once_where_two_are_needed() -> None:
    """Neither vote is lost, and the second one decides."""
    assert set(outcomes(2, (vote("ann"), EARLY), (vote("U0BOB", channel="slack"), EARLY))) == {("APPROVED", "done", "done")}


def test_three_approvers_at_once_where_two_are_needed() -> None:
    found = outcomes(2, (vote("ann"), EARLY), (vote("U0BOB", channel="slack"), EARLY), (vote("e@x", channel="oidc"), EARLY))
    assert {one[0] for one in found} == {"APPROVED"} and {Counter(one[1:])["done"] for one in found} == {2}
    assert len(found) == 3, "any two of them"


def test_one_person_on_three_channels_at_once_counts_once() -> None:
    channels = ((vote("ann"), EARLY), (vote("U0ANN", channel="slack"), EARLY), (vote("ann@x.org", channel="oidc"), EARLY))
    found = outcomes(2, *channels)
    assert {one[0] for one in found} == {"PENDING"} and {Counter(one[1:])["done"] for one in found} == {1}
    assert len(found) == 3


@pytest.mark.parametrize("quorum", [1, 2])
def test_approve_against_cancel(quorum: int) -> None:
    """Cancelled before it is approved, or approved first: then the execution is cancelled as one that runs."""
    votes = [(vote("ann"), EARLY), (vote("U0BOB", channel="slack"), EARLY)][:quorum]
    found = outcomes(quorum, *votes, (Command("cancel", "olga", "no"), EARLY))
    assert {one[0] for one in found} == {"APPROVED", "EXPIRED"}
    for one in found:
        if one[0] == "EXPIRED":
            assert one[-1] == "done" and "refused" in one[1:-1]
        else:
            assert set(one[1:-1]) == {"done"}


def test_everything_at_once() -> None:
    everything: list[tuple[Trigger, datetime]] = [
        (vote("ann"), EARLY),
        (vote("U0BOB", channel="slack"), EARLY),
        (vote("e@x", False, "oidc"), EARLY),
        (Expire(), OVER),
        (Command("cancel", "olga", "no"), EARLY),
    ]
    assert {one[0] for one in outcomes(2, *everything)} == {"APPROVED", "REJECTED", "EXPIRED"}
