"""EventBridge: rules enabled where the work moves to, disabled where it left."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Phase
from dr_modules.base import Progress
from dr_modules.event_bridge import EventBridge
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error

JOBS = [{"EventRuleName": "daily"}, {"EventRuleName": "hourly", "BusName": "shop"}]
ACTIVATE, CLEANUP = Phase.ACTIVATE, Phase.CLEANUP


def states(world: World, region: str = STANDBY) -> dict[str, str]:
    events = world.client("events", region)
    return {rule["Name"]: rule["State"] for bus in ("default", "shop") for rule in events.list_rules(EventBusName=bus)["Rules"]}


@pytest.mark.parametrize(("phase", "goal", "calls"), [(ACTIVATE, "ENABLED", "EnableRule"), (CLEANUP, "DISABLED", "DisableRule")])
@pytest.mark.parametrize("daily", ["ENABLED", "DISABLED"])
@pytest.mark.parametrize("hourly", ["ENABLED", "DISABLED"])
def test_every_rule_reaches_its_state(world: World, phase: Phase, goal: str, calls: str, daily: str, hourly: str) -> None:
    region = STANDBY if phase is ACTIVATE else PRIMARY
    scenes.rule(world, "daily", state=daily, region=region)
    scenes.rule(world, "hourly", "shop", state=hourly, region=region)

    assert world.drive(EventBridge, phase, JOBS, region=region).progress is Progress.DONE
    assert states(world, region) == {"daily": goal, "hourly": goal}
    assert world.changes == [calls] * [daily, hourly].count("DISABLED" if goal == "ENABLED" else "ENABLED")
    world.calls.clear()
    assert world.drive(EventBridge, phase, JOBS, region=region).progress is Progress.DONE
    assert world.changes == []


def test_lists_are_every_rule_on_every_bus(world: World) -> None:
    for bus in ("default", "shop"):
        scenes.rule(world, "daily", bus)
        scenes.rule(world, "hourly", bus)
    listed = {"EventRuleName": ["daily", "hourly"], "BusName": ["default", "shop"]}
    assert world.module(EventBridge, ACTIVATE).observe(listed).progress is Progress.NOT_STARTED
    assert world.drive(EventBridge, ACTIVATE, listed).progress is Progress.DONE
    assert world.changes == ["EnableRule"] * 4


@pytest.mark.parametrize(("phase", "call", "changed"), [(ACTIVATE, "EnableRule", "hourly"), (CLEANUP, "DisableRule", "daily")])
def test_a_rule_of_a_list_that_is_as_it_shall_be_is_left_alone(world: World, phase: Phase, call: str, changed: str) -> None:
    scenes.rule(world, "daily", state="ENABLED")
    scenes.rule(world, "hourly", state="DISABLED")
    assert world.drive(EventBridge, phase, {"EventRuleName": ["daily", "hourly"]}).progress is Progress.DONE
    assert [(one.operation, one.parameters["Name"]) for one in world.calls if one.changes] == [(call, changed)]


@pytest.mark.parametrize("phase", [ACTIVATE, CLEANUP])
def test_a_missing_rule_is_never_called_enabled(world: World, phase: Phase) -> None:
    scenes.rule(world, "daily")
    module = world.module(EventBridge, phase)
    with pytest.raises(ModuleError, match="there is no rule nightly on bus default in us-west-2: correct EventRuleName") as raised:
        module.start([JOBS[0], {"EventRuleName": "nightly"}], again=True)
    assert (raised.value.code, raised.value.error_class) == ("ResourceNotFoundException", ErrorClass.TERMINAL)
    assert world.changes == []


@pytest.mark.parametrize(
    ("phase", "state", "expected"),
    [
        (ACTIVATE, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", Progress.DONE),
        (ACTIVATE, "A_STATE_TO_COME", Progress.NOT_STARTED),
        (CLEANUP, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", Progress.NOT_STARTED),
        (CLEANUP, "A_STATE_TO_COME", Progress.NOT_STARTED),
    ],
)
def test_the_states_of_a_rule(world: World, phase: Phase, state: str, expected: Progress) -> None:
    world.answer("events", "DescribeRule", {"Name": "daily", "State": state})
    assert world.module(EventBridge, phase).observe(JOBS[0]).progress is expected


def test_a_rule_that_somebody_changes_back_is_seen(world: World) -> None:
    events = scenes.rule(world, "daily")
    world.drive(EventBridge, ACTIVATE, JOBS[0])
    events.disable_rule(Name="daily")
    assert world.module(EventBridge, ACTIVATE).observe(JOBS[0]).progress is Progress.NOT_STARTED


@pytest.mark.parametrize(
    ("code", "expected"),
    [("ManagedRuleException", ErrorClass.TERMINAL), ("ConcurrentModificationException", ErrorClass.RETRYABLE)],
)
def test_which_errors_a_retry_can_mend(world: World, code: str, expected: ErrorClass) -> None:
    scenes.rule(world, "daily")
    answer: dict[str, Any] = error(code)
    world.answer("events", "EnableRule", answer, status=400)
    with pytest.raises(ModuleError) as raised:
        world.module(EventBridge, ACTIVATE).start(JOBS[0], again=True)
    assert raised.value.error_class is expected


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.rule(world, "daily")
    assert world.module(EventBridge, ACTIVATE).record_before(JOBS[0]) == [{"default/daily": "DISABLED"}]
