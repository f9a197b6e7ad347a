"""DRS, ACTIVATE: what it refuses and warns of, how it measures the lag, failbacks, and the parameters it takes."""

from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules import _drs, _drs_launch
from dr_modules.base import Progress, Severity
from dr_modules.drs import Drs
from localcloud.extension.drs import FAILBACK_CLIENT_TAG, LAG_TAG, STALLED_TAG
from tests.support import drs_scenes as scenes
from tests.support.aws import World, error

ACTIVATE = Phase.ACTIVATE
SERVERS = scenes.SERVERS
FAILBACK = {**SERVERS, "Tags": {"RecoveryType": "Failback"}}


def started(world: World, raw: object = SERVERS, mode: Mode = Mode.PLANNED) -> list[dict[str, str]]:
    """Act once; the handles."""
    module = world.module(Drs, ACTIVATE, mode)
    module.start(raw, again=True)
    return module.handles


def refused(world: World, raw: object = SERVERS, mode: Mode = Mode.PLANNED) -> ModuleError:
    """What the act raises, without having changed anything."""
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, ACTIVATE, mode).start(raw, again=True)
    assert world.changes == []
    return raised.value


@pytest.mark.parametrize(
    ("state", "planned", "unplanned"),
    [
        ("CONTINUOUS", None, None),
        ("STALLED", "NotContinuous", None),
        ("PAUSED", "NotContinuous", None),
        ("BACKLOG", "NotContinuous", None),
        ("A_STATE_TO_COME", "NotContinuous", None),
        ("INITIAL_SYNC", "NoRecoverySnapshot", "NoRecoverySnapshot"),
        ("STOPPED", "NoRecoverySnapshot", "NoRecoverySnapshot"),
        ("DISCONNECTED", "NoRecoverySnapshot", "NoRecoverySnapshot"),
    ],
)
def test_what_is_launched_from(world: World, state: str, planned: str | None, unplanned: str | None) -> None:
    world.answer("drs", "DescribeSourceServers", scenes.server_answer(state, lagDuration="PT1M"))
    world.answer("drs", "DescribeRecoveryInstances", {"items": []})
    world.answer("drs", "DescribeJobs", {"items": []})
    world.answer("drs", "StartRecovery", {"job": {"jobID": "drsjob-0123456789abcdef0"}})
    world.answer("drs", "GetLaunchConfiguration", {"launchIntoInstanceProperties": {}})
    for mode, code in ((Mode.PLANNED, planned), (Mode.DRILL, planned), (Mode.UNPLANNED, unplanned)):
        world.calls.clear()
        if code:
            raised = refused(world, {"HostNames": "web-1"}, mode)
            assert raised.code == code
            lasting = state not in ("BACKLOG", "PAUSED", "A_STATE_TO_COME")
            assert raised.error_class is (ErrorClass.TERMINAL if lasting else ErrorClass.RETRYABLE)
        else:
            assert started(world, {"HostNames": "web-1"}, mode) == [{"jobs": "drsjob-0123456789abcdef0"}]


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("PT0S", 0),
        ("P0D", 0),
        ("PT1M30S", 90),
        ("P1DT2H", 93600),
        ("PT1.5S", 1.5),
        ("P1W", 604800),
        ("", None),
        ("P", None),
        ("soon", None),
    ],
)
def test_durations(duration: str, expected: float | None) -> None:
    assert _drs.seconds(duration) == expected


def test_the_lag_is_the_largest_of_the_servers(world: World) -> None:
    ids = scenes.servers(world)
    scenes.misbehave(world, ids["web-1"], {LAG_TAG: "PT10M"})
    assert world.module(Drs, ACTIVATE).lag(SERVERS) == 600
    scenes.misbehave(world, ids["app-1"], {LAG_TAG: "very long"})
    with pytest.raises(ModuleError, match="no lag for app-1"):
        world.module(Drs, ACTIVATE).lag(SERVERS)


def test_preflight_finds_what_stands_in_the_way(world: World) -> None:
    ids = scenes.servers(world)
    module = world.module(Drs, ACTIVATE)
    assert module.obstacles(SERVERS) == []
    scenes.misbehave(world, ids["web-1"], {STALLED_TAG: "AGENT_NOT_SEEN"})
    (found,) = module.obstacles(SERVERS)
    assert (found.severity, found.code) == (Severity.ERROR, "NotContinuous")
    assert "AGENT_NOT_SEEN" in found.message
    (found,) = world.module(Drs, ACTIVATE, Mode.UNPLANNED).obstacles(SERVERS)
    assert (found.severity, found.code) == (Severity.WARNING, "NotContinuous")
    scenes.behave(world, ids["web-1"], STALLED_TAG)
    into = {"launchIntoEC2InstanceID": "i-0123456789abcdef0"}
    world.client("drs").update_launch_configuration(sourceServerID=ids["web-1"], launchIntoInstanceProperties=into)
    assert [(one.severity, one.code) for one in module.obstacles(SERVERS)] == [(Severity.WARNING, "LaunchesIntoInstance")]
    world.answer("drs", "GetLaunchConfiguration", error("ResourceNotFoundException"), status=404)
    assert [one.code for one in module.obstacles(SERVERS)] == ["NoLaunchConfiguration"] * 2


def test_preflight_counts_jobs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes.servers(world)
    monkeypatch.setattr(_drs_launch, "_SERVERS_IN_JOBS", 1)
    (found,) = world.module(Drs, ACTIVATE).obstacles(SERVERS)
    assert (found.severity, found.code) == (Severity.ERROR, "JobQuota")


def test_a_failback_within_aws_launches_what_replicate_has_made(world: World) -> None:
    scenes.reversed_back(world)
    for raw in (SERVERS, FAILBACK):
        assert world.drive(Drs, ACTIVATE, raw, region="us-east-1").progress is Progress.DONE
    assert [job["initiatedBy"] for job in scenes.jobs(world, "us-east-1")] == ["START_RECOVERY"]


def test_a_failback_to_a_site_is_launched_from_its_recovery_instances(world: World) -> None:
    ids = scenes.failed_over(world, origin=None)
    raised = refused(world, FAILBACK)
    assert (raised.code, raised.error_class) == ("FailbackNotReady", ErrorClass.TERMINAL)
    for server_id in ids.values():
        scenes.misbehave(world, server_id, {FAILBACK_CLIENT_TAG: "paired"})
    assert refused(world, FAILBACK).error_class is ErrorClass.RETRYABLE  # it still copies
    with pytest.raises(ModuleError, match="no lag for web-1"):
        world.module(Drs, ACTIVATE).lag(FAILBACK)
    world.time.advance(scenes.SYNC_SECONDS)
    assert world.module(Drs, ACTIVATE).lag(FAILBACK) == 0

    assert refused(world, FAILBACK, Mode.DRILL).code == "RefusedInDrill"
    assert world.drive(Drs, ACTIVATE, FAILBACK).progress is Progress.DONE
    assert world.changes == ["StartFailbackLaunch"]
    assert world.drive(Drs, ACTIVATE, FAILBACK).progress is Progress.DONE
    assert world.changes == ["StartFailbackLaunch"]


@pytest.mark.parametrize(("launched", "code"), [(True, "WrongRegion"), (False, "NoRecoveryInstance")])
def test_a_failback_where_there_is_nothing_to_fail_back_to_is_refused(world: World, launched: bool, code: str) -> None:
    scenes.failed_over(world) if launched else scenes.servers(world)
    assert refused(world, FAILBACK).code == code


def test_targets_of_a_list_are_handled_each_for_itself(world: World) -> None:
    ids = scenes.servers(world)
    both = [{"HostNames": "web-1"}, {"HostNames": "app-1"}]
    handles = started(world, both)
    assert len({handle["jobs"] for handle in handles}) == 2
    world.time.advance(200)
    assert world.module(Drs, ACTIVATE, handles=handles).observe(both).progress is Progress.DONE
    before = world.module(Drs, ACTIVATE).record_before(both)
    assert before[0]["web-1"]["sourceServer"] == ids["web-1"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("phase", "raw", "key"),
    [
        (Phase.CLEANUP, scenes.PLAN, "Method"),
        (Phase.REPLICATE, scenes.PLAN, "Method"),
        (ACTIVATE, {**SERVERS, "Method": "ReinstallAgent"}, "Method"),
        (ACTIVATE, {**SERVERS, "TerminateRecoveryInstances": True}, "TerminateRecoveryInstances"),
    ],
)
def test_what_a_phase_does_not_take(phase: Phase, raw: dict[str, Any], key: str) -> None:
    (item,) = Drs.parse(raw)
    assert [problem[0] for problem in Drs.check_parameters(phase, item)] == [key]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"HostNames": []},
        {"HostNames": ["web-1", "WEB-1"]},
        {"HostNames": "web-1", "PlanId": "plan-1"},
        {"HostNames": "web-1", "Method": "OrchestrationSolution", "FunctionName": "f", "PlanId": "p"},
        {"Method": "OrchestrationSolution", "PlanId": "p"},
        {"HostNames": "web-1", "Tags": {"RecoveryType": "Sideways"}},
        {"HostNames": "web-1", "Method": "Magic"},
    ],
)
def test_parameters_that_say_nothing_sensible(raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Drs.parse(raw)
