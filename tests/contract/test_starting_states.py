"""From whatever state a phase is started, it ends in the same one: done before, done by half, or cut off after any of its calls.

The stories of each module are told again from there; a new module gets this for nothing.
"""

import pytest

from dr_core.phases import Phase
from dr_modules.base import Progress, modules
from tests.support import stories
from tests.support.aws import emulated

PHASES = [(name, phase) for name, module in sorted(modules().items()) for phase in Phase if phase in module.phases()]
# What a new execution does again, as their docstrings say: nobody can see that a function or a plan's solution was called before;
# each execution replays the archive for itself; and only a change of its own tells that a record is in sync everywhere.
DONE_AGAIN = {"Invoke", "StartReplay", "ChangeResourceRecordSets"}

every_phase = pytest.mark.parametrize(("name", "phase"), PHASES, ids=[f"{name}-{phase}" for name, phase in PHASES])
pytestmark = pytest.mark.usefixtures("socket_disabled")


def told(name: str, phase: Phase) -> list[stories.run]:
    """The stories that can be told again."""
    return [story for story in stories.of(modules()[name])[phase] if isinstance(story, stories.run)]


@every_phase
def test_a_second_run_changes_nothing(name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0
    for story in told(name, phase):
        with emulated(monkeypatch) as world:
            story(world)
            if world.ended.progress is not Progress.DONE:
                continue
            done += 1
            first = len(world.changes)
            world.execution_id = "02EXECUTION"
            story(world)
            assert world.ended.progress is Progress.DONE
            assert set(world.changes[first:]) <= DONE_AGAIN
    assert done, "at least one story of each phase ends well"


@every_phase
def test_an_executor_that_dies_after_any_call_changes_nothing_of_the_outcome(
    name: str, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the dead one had done is found by looking: its handles are lost."""
    for story in told(name, phase):
        with emulated(monkeypatch) as world:
            story(world)
            expected, calls = world.ended, list(world.changes)
        for number in range(1, len(calls) + 1):
            with emulated(monkeypatch) as world:
                world.crash_after = number
                story(world)
                assert world.crash_after == 0, "it died"
                assert world.ended.progress is expected.progress, f"after {calls[number - 1]}: {world.ended.detail}"
