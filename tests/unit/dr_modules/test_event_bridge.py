"""EventBridge: rules enabled where the work moves to, disabled where it left."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Severity
from dr_modules.event_bridge import EventBridge
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error

JOBS = [{"EventRuleName": "daily"}, {"EventRuleName": "hourly", "BusName": "shop"}]
ACTIVATE, CLEANUP = Phase.ACTIVATE, Phase.CLEANUP


def states(world: World, region: str = STANDBY) -> dict[str, str]:
    events = world.client("events", region)
    return {rule["Name"]: rule["State"] for bus in ("default", "shop") for rule in events.list_rules(EventBusName=bus)["Rules"]}


def taken_over(world: World, region: str) -> None:
    """The jobs are enabled in that Region."""
    scenes.rule(world, "daily", state="ENABLED", region=region)
    scenes.rule(world, "hourly", "shop", state="ENABLED", region=region)


@pytest.mark.parametrize(("phase", "goal", "calls"), [(ACTIVATE, "ENABLED", "EnableRule"), (CLEANUP, "DISABLED", "DisableRule")])
@pytest.mark.parametrize("daily", ["ENABLED", "DISABLED"])
@pytest.mark.parametrize("hourly", ["ENABLED", "DISABLED"])
def test_every_rule_reaches_its_state(world: World, phase: Phase, goal: str, calls: str, daily: str, hourly: str) -> None:
    region = STANDBY if phase is ACTIVATE else PRIMARY
    scenes.rule(world, "daily", state=daily, region=region)
    scenes.rule(world, "hourly", "shop", state=hourly, region=region)
    if phase is CLEANUP:
        taken_over(world, STANDBY)

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
    taken_over(world, PRIMARY)
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
        (ACTIVATE, "A_STATE_TO_COME", Progress.IN_PROGRESS),
        (CLEANUP, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", Progress.NOT_STARTED),
        (CLEANUP, "A_STATE_TO_COME", Progress.IN_PROGRESS),
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


# The live side


def absent(world: World) -> None:
    """The other Region has no rule of that name."""


def no_bus(world: World) -> None:
    """The other Region has the rule of that name on another bus alone."""
    scenes.rule(world, "hourly", state="ENABLED", region=PRIMARY)


def disabled(world: World) -> None:
    scenes.rule(world, "hourly", "shop", region=PRIMARY)


@pytest.mark.parametrize("other", [absent, no_bus, disabled])
@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_is_enabled_in_no_other_region_is_not_disabled(world: World, other: Any, mode: Mode) -> None:
    """us-west-2 is live, us-east-1 is not, and the request says to clean up us-west-2."""
    scenes.rule(world, "hourly", "shop", state="ENABLED")
    other(world)
    module = world.module(EventBridge, CLEANUP, mode)
    assert [found.code for found in module.obstacles(JOBS[1])] == ["LiveSide"]
    with pytest.raises(ModuleError, match="it may be the live side; correct the Regions of the request") as raised:
        module.start(JOBS[1], again=True)
    assert (raised.value.code, raised.value.error_class) == ("LiveSide", ErrorClass.TERMINAL)
    assert "not in us-east-1" in raised.value.message
    assert world.changes == []
    assert states(world)["hourly"] == "ENABLED"


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_is_enabled_in_the_other_region_too_is_disabled(world: World, mode: Mode) -> None:
    scenes.rule(world, "hourly", "shop", state="ENABLED")
    taken_over(world, PRIMARY)
    assert world.module(EventBridge, CLEANUP, mode).obstacles(JOBS[1]) == []
    assert world.drive(EventBridge, CLEANUP, JOBS[1], mode).progress is Progress.DONE
    assert states(world, PRIMARY) == {"daily": "ENABLED", "hourly": "ENABLED"}
    assert {call.region for call in world.calls if call.changes} == {STANDBY}


@pytest.mark.parametrize("force", [True, "true", "Yes"])
def test_force_disables_and_does_not_ask_the_other_region(world: World, force: object) -> None:
    scenes.rule(world, "daily", state="ENABLED")
    assert world.drive(EventBridge, CLEANUP, {**JOBS[0], "Force": force}).progress is Progress.DONE
    assert {call.region for call in world.calls} == {STANDBY}


def test_one_rule_that_is_live_keeps_all_of_a_list(world: World) -> None:
    scenes.rule(world, "daily", state="ENABLED")
    scenes.rule(world, "hourly", state="ENABLED")
    scenes.rule(world, "daily", state="ENABLED", region=PRIMARY)
    with pytest.raises(ModuleError, match="hourly is ENABLED in us-west-2, and not in us-east-1"):
        world.module(EventBridge, CLEANUP).start({"EventRuleName": ["daily", "hourly"]}, again=True)
    assert world.changes == []


def test_a_bus_given_as_arn_is_looked_for_by_name(world: World) -> None:
    scenes.rule(world, "hourly", "shop", state="ENABLED")
    taken_over(world, PRIMARY)
    by_arn = {"EventRuleName": "hourly", "BusName": f"arn:aws:events:{STANDBY}:123456789012:event-bus/shop"}
    assert world.drive(EventBridge, CLEANUP, by_arn).progress is Progress.DONE
    assert {call.parameters["EventBusName"] for call in world.calls if call.region == PRIMARY} == {"shop"}


# Preflight


def finding(world: World, raw: object, phase: Phase = ACTIVATE) -> list[tuple[str, Severity]]:
    return [(found.code, found.severity) for found in world.module(EventBridge, phase).obstacles(raw)]


def test_a_rule_without_targets_is_told(world: World) -> None:
    events = scenes.rule(world, "hourly", "shop")
    assert finding(world, JOBS[1]) == [("NoTargets", Severity.WARNING)]
    events.put_targets(
        Rule="hourly", EventBusName="shop", Targets=[{"Id": "1", "Arn": "arn:aws:lambda:us-west-2:123456789012:function:job"}]
    )
    assert finding(world, JOBS[1]) == []
    assert world.changes == []


@pytest.mark.parametrize("phase", [ACTIVATE, CLEANUP])
def test_a_rule_that_a_service_of_aws_manages_is_found(world: World, phase: Phase) -> None:
    state = "DISABLED" if phase is ACTIVATE else "ENABLED"
    world.answer("events", "DescribeRule", {"Name": "daily", "State": state, "ManagedBy": "ecs.amazonaws.com"})
    assert finding(world, {**JOBS[0], "Force": True}, phase) == [("ManagedRuleException", Severity.ERROR)]


def test_a_rule_or_a_bus_that_is_missing_is_found(world: World) -> None:
    scenes.rule(world, "daily")
    for missing in ({"EventRuleName": "nightly"}, {"EventRuleName": "daily", "BusName": "shop"}):
        assert finding(world, missing) == [("ResourceNotFoundException", Severity.ERROR)]
