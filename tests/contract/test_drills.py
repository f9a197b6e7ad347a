"""What a drill promises, held for every module: production is left untouched, and what the drill did is taken back.

Told by the stories of tests/support/stories: those of each phase once more in a drill, and of CLEANUP those that are a drill's.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import boto3
import pytest

from dr_core.errors import ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import DRModule, Progress, modules
from tests.support import stories
from tests.support.aws import PRIMARY, STANDBY, Call, World, emulated

MODULES = sorted(modules().items())
STORIES = [
    pytest.param(module, phase, story, id=f"{name}-{phase}-{number}")
    for name, module in MODULES
    for phase in Phase
    if phase in module.phases()
    for number, story in enumerate(stories.of(module)[phase])
    if isinstance(story, stories.run)
]
DRILLED = [
    pytest.param(module, story, id=f"{name}-{story.phase}-{number}")
    for name, module in MODULES
    for number, story in enumerate(stories.of(module).get(Phase.CLEANUP, []))
    if isinstance(story, stories.drilled)
]
# What changes by itself while a drill runs.
_PASSING = {"lagSeconds", "latestTime"}


def reaches_beyond_its_region(call: Call) -> str:
    """Why a call changes more than the Region that it is sent to; empty where it does not.

    Derived from what AWS says of itself: services with one endpoint for all Regions, and members of requests that name something global.
    """
    if not boto3.Session().get_available_regions(call.service):
        return f"{call.service} is one for all Regions"
    named = [key for key in call.parameters if key.startswith("Global") or key in ("HostedZoneId", "AllowDataLoss")]
    return f"{call.action} names {', '.join(named)}" if named else ""


def reaches_production(calls: list[Call], target: str) -> list[str]:
    """The changing calls that leave the Region of a drill, in words."""
    changing = [call for call in calls if call.changes]
    elsewhere = [f"{call.action} in {call.region}" for call in changing if call.region != target]
    return elsewhere + [why for call in changing if (why := reaches_beyond_its_region(call))]


@pytest.mark.parametrize(("module", "phase", "story"), STORIES)
@pytest.mark.usefixtures("socket_disabled")
def test_no_call_of_a_drill_changes_production(
    module: type[DRModule[Any]], phase: Phase, story: stories.run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made in the Region that stands by, or it is not made: the phase, or this situation, is refused."""
    with emulated(monkeypatch) as world:
        with suppress(ModuleError):
            replace(story, mode=Mode.DRILL)(world)
        assert reaches_production(world.calls, story.region) == []
        if phase not in module.drills:
            assert world.changes == []


@pytest.mark.parametrize(("name", "module"), MODULES, ids=[name for name, _ in MODULES])
def test_what_a_drill_may_run_can_be_taken_back_or_says_why_not(name: str, module: type[DRModule[Any]]) -> None:
    assert module.drills <= {Phase.INSTANTIATE, Phase.ACTIVATE}
    taken_back = {parameters.values[1].phase for parameters in DRILLED if parameters.values[0] is module}  # type: ignore[union-attr]
    overridden = module.undo is not DRModule.undo, module.undo_status_check is not DRModule.undo_status_check
    if module.not_undone({}):
        assert not any(overridden) and not taken_back, "what is left needs no undo"
    else:
        assert overridden == (bool(module.drills),) * 2
        assert taken_back == module.drills, "a story of each phase, in its module's file of stories"
        assert not module.drills or Phase.CLEANUP in module.phases(), "a drill's CLEANUP has the rights of CLEANUP"


@pytest.mark.parametrize(("module", "story"), DRILLED)
@pytest.mark.usefixtures("socket_disabled")
def test_what_a_drill_did_is_taken_back_and_nothing_else(
    module: type[DRModule[Any]], story: stories.drilled, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulated(monkeypatch) as world:
        story.scene(world)
        was = _standing(world, module, story)
        before = world.drill(module, story.phase, story.raw)
        assert world.ended.progress is Progress.DONE and world.changes, "the drill has done something"
        assert _standing(world, module, story) != was
        assert reaches_production(world.calls, STANDBY) == []
        world.calls.clear()

        status = world.take_back(module, story.raw, before)

        assert status.progress is Progress.DONE, status.detail
        assert _standing(world, module, story) == was
        assert world.changes and reaches_production(world.calls, STANDBY) == []
        assert {call.region for call in world.calls} <= {STANDBY, PRIMARY}
        world.calls.clear()
        assert world.take_back(module, story.raw, before).progress is Progress.DONE
        assert world.changes == [], "done is done"


def _standing(world: World, module: type[DRModule[Any]], story: stories.drilled) -> object:
    """What the module sees of its targets in the standby Region, but for what changes by itself."""
    return _lasting(world.module(module, story.phase, Mode.DRILL).record_before(story.raw))


def _lasting(value: object) -> object:
    if isinstance(value, dict):
        return {key: _lasting(one) for key, one in value.items() if key not in _PASSING}
    return [_lasting(one) for one in value] if isinstance(value, list | tuple) else value
