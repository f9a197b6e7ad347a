"""A dry run tells the truth, for each module and phase: it sends no call that changes anything, and what it names is then called.

A new module is judged without a new test here, by the stories that it tells in tests/support/stories/.
"""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from dr_core.calls import is_reading
from dr_core.phases import Phase
from dr_modules.base import Progress, modules
from tests.support import stories
from tests.support.aws import Rehearsed, emulated

PHASES = [(name, phase) for name, module in sorted(modules().items()) for phase in Phase if phase in module.phases()]
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.\d]*")  # a call that names the present names another one each time

Told = tuple[object, object, str]


def told(call: Mapping[str, Any]) -> Told:
    """What a call says, but for when."""
    return call["action"], call["region"], _MOMENT.sub("a moment", repr(call["parameters"]))


def acts_of(name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> list[Rehearsed]:
    """Every act of every story, each with its rehearsal, and a rehearsal of what is done at the end."""
    found = []
    for story in stories.of(modules()[name])[phase]:
        with emulated(monkeypatch) as world:
            world.tell_ahead = True
            story(world)
            found += world.rehearsed
    return found


@pytest.mark.parametrize(("name", "phase"), PHASES, ids=[f"{name}-{phase}" for name, phase in PHASES])
@pytest.mark.usefixtures("socket_disabled")
def test_a_dry_run_tells_the_truth(name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    acts = acts_of(name, phase, monkeypatch)
    assert any(act.made for act in acts)
    for act in acts:
        planned, made = [told(call) for call in act.report.calls], [told(call.document()) for call in act.made]
        assert [operation for operation in act.sent if not is_reading(operation)] == [], "a rehearsal changes nothing"
        assert all(call["sent"] is False for call in act.report.calls) and all(call.sent for call in act.made)
        assert planned == made[: len(planned)] and bool(planned) == bool(made)
        if not act.report.note:
            assert planned == made, "it names every call, unless it says why not"
        named = {call["action"] for call in act.report.calls} | set(act.report.may_also_call)
        assert {call.action for call in act.made} <= named, "and those that it cannot foresee, as possible ones"
        if act.report.progress == Progress.DONE:
            assert not named and not act.report.note
