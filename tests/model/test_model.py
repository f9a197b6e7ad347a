"""The protocol holds in small scopes, searched completely; and the search would notice if one of its protections were missing."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.model.checker import Step, check
from tests.model.variants import MUTANTS, SCOPES, search

# What each search shows of the failure matrix.
ROWS = {
    "base": "An executor dies between claim and act",
    "lossy": "Event lost: a rule disabled, an event dropped",
    "cancel": "Cancel while data fails over",
    "counter join": "Duplicate event, message delivered again",
    "no epoch fence on close": "An operator's retry races with the close of the layer",
    "claim not fenced by attempt": "Events out of order, a message of an earlier attempt",
    "claim not fenced by lease": "Duplicate event, message delivered again",
    "claim on a read after the look": "An executor dies after its act, before its record",
    "lease shorter than the time-out": "An executor stands still beyond its lease",
    "takeover acts on what failed": "An executor dies after its act, before its record",
    "no sweep on a lossy network": "Event lost: a rule disabled, an event dropped",
}


def searches(names: Iterable[str]) -> list[Any]:
    """The names, with the mark of the row that each is about."""
    return [pytest.param(name, marks=[pytest.mark.failure(ROWS[name])] if name in ROWS else []) for name in names]


@pytest.mark.parametrize("name", searches(SCOPES))
def test_protocol_is_safe_and_live(name: str, record_property: Callable[[str, object], None]) -> None:
    """No state is unsafe, and from each the execution comes to its end or to a person without anybody's help."""
    result = search(SCOPES[name])
    record_property("states", result.states)
    assert result.holds, str(result)
    assert result.states > 1_000


@pytest.mark.parametrize("name", searches(MUTANTS))
def test_missing_protection_is_noticed(name: str, record_property: Callable[[str, object], None]) -> None:
    """Without one of its protections, the protocol breaks in the way that the protection is there for."""
    variant, expected = MUTANTS[name]
    result = search(variant)
    record_property("states", result.states)
    assert expected in result.verdict
    assert result.trace


def test_checker_finds_the_shortest_way_to_what_must_not_be() -> None:
    """A counter that must not reach three."""
    result = check(0, lambda n: [Step(("one",), n + 1), Step(("two",), n + 2)], lambda n: "three" if n == 3 else "", lambda _: True)
    assert (result.violation, len(result.trace)) == ("three", 2)


def test_checker_finds_states_without_a_way_out() -> None:
    """Only what helps counts: a fault that happens to lead out of a dead end does not."""
    steps = {0: [Step(("on",), 1), Step(("fault",), 2, helps=False)], 1: [], 2: [Step(("luck",), 1, helps=False)]}
    result = check(0, lambda n: steps[n], lambda _: "", lambda n: n == 1)
    assert (result.stuck, result.trace, result.verdict) == (1, ["fault"], "stuck in 1 states")
