"""EC2: instances start in the Region that takes over and stop in the one left behind, by host name, never the side that serves."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Severity
from dr_modules.ec2 import Ec2
from localcloud.extension import ec2, service_quotas
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World
from tests.support.compute_scenes import host, hosts, states

INSTANTIATE, ACTIVATE, CLEANUP = Phase.INSTANTIATE, Phase.ACTIVATE, Phase.CLEANUP
BOTH: dict[str, Any] = {"Orchestrator_HostNames": ["web-1", "db-1"]}
ONE: dict[str, Any] = {"Orchestrator_HostNames": "web-1"}


def running(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "running")


def stopped(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "stopped")


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED, Mode.DRILL])
@pytest.mark.parametrize("phase", [INSTANTIATE, ACTIVATE])
@pytest.mark.parametrize("db", ["running", "stopped"])
@pytest.mark.parametrize("web", ["running", "stopped"])
def test_what_is_stopped_is_started(world: World, phase: Phase, mode: Mode, web: str, db: str) -> None:
    ids = [host(world, "web-1", web), host(world, "db-1", db)]
    host(world, "other-1")
    due = [one for one, state in zip(ids, (web, db), strict=True) if state == "stopped"]

    assert world.drive(Ec2, phase, BOTH, mode).progress is Progress.DONE
    assert states(world) == {**running("web-1", "db-1"), "other-1": "stopped"}
    assert [set(call.parameters["InstanceIds"]) for call in world.calls if call.changes] == ([set(due)] if due else [])
    assert {call.region for call in world.calls} == {STANDBY}
    world.calls.clear()
    assert world.drive(Ec2, phase, BOTH, mode).progress is Progress.DONE
    assert world.changes == []


def test_running_is_not_done_until_both_checks_are_ok(world: World) -> None:
    instance = host(world, "web-1")
    module = world.module(Ec2, ACTIVATE)
    module.start(ONE, again=False)
    assert module.observe(ONE).progress is Progress.IN_PROGRESS  # pending
    world.time.advance(ec2.START_SECONDS)
    assert states(world) == running("web-1")
    status = module.observe(ONE)
    assert (status.progress, "instance status initializing" in status.detail) == (Progress.IN_PROGRESS, True)
    ec2.impair(ACCOUNT, STANDBY, instance)
    world.time.advance(600)
    assert "system status impaired" in module.observe(ONE).detail
    assert module.observe(ONE).progress is Progress.IN_PROGRESS  # EC2 may recover it
    ec2.impair(ACCOUNT, STANDBY, instance, impaired=False)
    assert module.observe(ONE).progress is Progress.DONE


@pytest.mark.parametrize(
    ("instance", "system", "done"),
    [
        ("ok", "ok", True),
        ("ok", "initializing", False),
        ("impaired", "ok", False),
        ("ok", "insufficient-data", False),
        ("new", "ok", False),
    ],
)
def test_one_check_is_not_enough(world: World, instance: str, system: str, done: bool) -> None:
    found = host(world, "web-1", "running")
    said = {"InstanceId": found, "InstanceStatus": {"Status": instance}, "SystemStatus": {"Status": system}}
    world.answer("ec2", "DescribeInstanceStatus", {"InstanceStatuses": [said]})
    status = world.module(Ec2, ACTIVATE).observe(ONE)
    assert status.progress is (Progress.DONE if done else Progress.IN_PROGRESS)


def test_a_missing_status_is_not_ok(world: World) -> None:
    host(world, "web-1", "running")
    world.answer("ec2", "DescribeInstanceStatus", {"InstanceStatuses": []})
    assert world.module(Ec2, ACTIVATE).observe(ONE).progress is Progress.IN_PROGRESS


@pytest.mark.parametrize("phase", [INSTANTIATE, ACTIVATE, CLEANUP])
@pytest.mark.parametrize(
    ("present", "code", "named"),
    [
        ([], "InstanceNotFound", "the value web-1"),
        (["terminated"], "InstanceNotFound", "the value web-1"),
        (["running", "stopped"], "AmbiguousHostName", "the value web-1"),
    ],
)
def test_each_name_is_exactly_one_instance(world: World, phase: Phase, present: list[str], code: str, named: str) -> None:
    host(world, "db-1")
    for state in present:
        host(world, "web-1", state)
    with pytest.raises(ModuleError, match=named) as raised:
        world.drive(Ec2, phase, BOTH)
    assert (raised.value.code, raised.value.error_class) == (code, ErrorClass.TERMINAL)
    assert world.changes == []


def test_a_terminated_namesake_does_not_count_and_a_filter_is_no_pattern(world: World) -> None:
    host(world, "web-1", "terminated")
    host(world, "web-*")
    wanted = host(world, "web-1")
    assert world.drive(Ec2, ACTIVATE, {"Orchestrator_HostNames": ["web-1", "web-1"]}).progress is Progress.DONE
    assert [call.parameters["InstanceIds"] for call in world.calls if call.changes] == [[wanted]]
    host(world, "app-1")
    with pytest.raises(ModuleError, match="the value app-\\*"):
        world.drive(Ec2, ACTIVATE, {"Orchestrator_HostNames": "app-*"})


def test_every_page_is_read(world: World) -> None:
    for _ in range(3):
        world.client("ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    instance = host(world, "web-1", "running")
    pages = world.client("ec2").get_paginator("describe_instances")
    assert len(list(pages.paginate(MaxResults=5))) == 1
    found = world.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
    answers = iter([{"Reservations": [], "NextToken": "more"}, {"Reservations": found}])
    module = world.module(Ec2, ACTIVATE)
    hooks = module.client("ec2").meta.events
    hooks.register_first("before-call.ec2.DescribeInstances", lambda **_: (_Http(), _complete(next(answers))), "pages")
    try:
        assert module.observe(ONE).progress is Progress.DONE
    finally:
        hooks.unregister("before-call.ec2.DescribeInstances", unique_id="pages")


class _Http:
    status_code = 200


def _complete(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}


def test_a_list_of_targets_is_started_in_one_call(world: World) -> None:
    ids = hosts(world, "web-1", "db-1", "app-1")
    many = [BOTH, {"Orchestrator_HostNames": "app-1"}]
    assert world.drive(Ec2, ACTIVATE, many).progress is Progress.DONE
    assert [set(call.parameters["InstanceIds"]) for call in world.calls if call.changes] == [set(ids)]


def test_an_instance_that_somebody_is_stopping_is_started_when_it_has_stopped(world: World) -> None:
    instance = host(world, "web-1", "running")
    world.client("ec2").stop_instances(InstanceIds=[instance])
    module = world.module(Ec2, ACTIVATE)
    assert module.observe(ONE).progress is Progress.IN_PROGRESS
    world.time.advance(ec2.STOP_SECONDS)
    assert module.observe(ONE).progress is Progress.NEXT_STEP  # no attempt is spent on it
    assert world.drive(Ec2, ACTIVATE, ONE).progress is Progress.DONE


def test_unknown_states_are_waited_for(world: World) -> None:
    instance = host(world, "web-1")
    tags = [{"Key": "Orchestrator:HostName", "Value": "web-1"}]
    answer = {"Instances": [{"InstanceId": instance, "State": {"Name": "hibernating"}, "Tags": tags}]}
    world.answer("ec2", "DescribeInstances", {"Reservations": [answer]})
    for phase in (ACTIVATE, CLEANUP):
        assert world.module(Ec2, phase).observe(ONE).progress is Progress.IN_PROGRESS


@pytest.mark.parametrize(
    ("code", "progress"),
    [
        ("Client.InternalError", Progress.FAILED),
        ("Server.InsufficientInstanceCapacity", Progress.NOT_STARTED),
        ("Client.UserInitiatedShutdown", Progress.NOT_STARTED),
    ],
)
def test_one_that_stops_again_has_failed_with_its_reason(world: World, code: str, progress: Progress) -> None:
    instance = host(world, "web-1")
    ec2.fail_starts(ACCOUNT, STANDBY, instance, code)
    module = world.module(Ec2, ACTIVATE)
    module.start(ONE, again=False)
    world.time.advance(60)
    status = module.observe(ONE)
    assert (status.progress, code in status.detail) == (progress, True)
    # The next attempt starts it again, and what failed before is no failure of it before its act.
    assert world.module(Ec2, ACTIVATE).observe(ONE).progress is Progress.NEXT_STEP
    ec2.fail_starts(ACCOUNT, STANDBY, instance, None)
    again = world.module(Ec2, ACTIVATE, handles=module.handles)
    again.start(ONE, again=True)
    world.time.advance(120)
    assert again.observe(ONE).progress is Progress.DONE


def test_one_without_capacity_does_not_keep_the_others_down(world: World) -> None:
    lacking, _ = hosts(world, "web-1", "db-1")
    ec2.refuse_starts(ACCOUNT, STANDBY, lacking)
    module = world.module(Ec2, ACTIVATE)
    with pytest.raises(ModuleError, match=r"no capacity for web-1 \(m5.large\)") as raised:
        module.start(BOTH, again=False)
    assert (raised.value.code, raised.value.error_class) == ("InsufficientInstanceCapacity", ErrorClass.RETRYABLE)
    world.time.advance(120)
    assert states(world) == {"web-1": "stopped", "db-1": "running"}
    assert lacking not in module.handles[0]

    ec2.refuse_starts(ACCOUNT, STANDBY, lacking, None)
    assert world.drive(Ec2, ACTIVATE, BOTH, handles=module.handles).progress is Progress.DONE


@pytest.mark.parametrize(
    ("code", "error_class"), [("VcpuLimitExceeded", ErrorClass.TERMINAL), ("IncorrectSpotRequestState", ErrorClass.TERMINAL)]
)
def test_what_no_retry_mends_is_terminal(world: World, code: str, error_class: ErrorClass) -> None:
    for instance in hosts(world, "web-1", "db-1"):
        ec2.refuse_starts(ACCOUNT, STANDBY, instance, code)
    with pytest.raises(ModuleError) as raised:
        world.drive(Ec2, INSTANTIATE, BOTH)
    assert (raised.value.code, raised.value.error_class) == (code, error_class)


# CLEANUP


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_the_other_region_replaces_is_stopped(world: World, mode: Mode) -> None:
    hosts(world, "web-1", "db-1", state="running", region=PRIMARY)
    hosts(world, "web-1", "db-1", state="running", region=STANDBY)
    module = world.module(Ec2, CLEANUP, mode, region=PRIMARY)
    module.start(BOTH, again=False)
    assert module.observe(BOTH).progress is Progress.IN_PROGRESS  # stopping is not stopped
    assert world.drive(Ec2, CLEANUP, BOTH, mode, region=PRIMARY).progress is Progress.DONE
    assert (states(world, PRIMARY), states(world)) == (stopped("web-1", "db-1"), running("web-1", "db-1"))
    assert world.changes == ["StopInstances"]


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
@pytest.mark.parametrize(("here", "there"), [(STANDBY, PRIMARY), (PRIMARY, STANDBY)])
@pytest.mark.parametrize("peer", [None, "stopped"])
def test_the_side_that_may_serve_is_never_stopped(world: World, mode: Mode, here: str, there: str, peer: str | None) -> None:
    hosts(world, "web-1", "db-1", state="running", region=here)
    host(world, "web-1", "running", region=there)
    if peer is not None:
        host(world, "db-1", peer, region=there)
    with pytest.raises(ModuleError, match=f"no instance called db-1 runs in {there}") as raised:
        world.drive(Ec2, CLEANUP, BOTH, mode, region=here)
    assert (raised.value.code, raised.value.error_class) == ("LiveSide", ErrorClass.TERMINAL)
    assert world.changes == []
    [found] = world.module(Ec2, CLEANUP, mode, region=here).obstacles(BOTH)
    assert (found.severity, found.code) == (Severity.ERROR, "LiveSide")
    assert world.drive(Ec2, CLEANUP, {**BOTH, "Force": "true"}, mode, region=here).progress is Progress.DONE


def test_one_refusal_of_a_list_keeps_all_of_it(world: World) -> None:
    hosts(world, "web-1", "db-1", state="running", region=PRIMARY)
    host(world, "web-1", "running")
    with pytest.raises(ModuleError, match="db-1"):
        world.drive(Ec2, CLEANUP, [ONE, {"Orchestrator_HostNames": "db-1"}], region=PRIMARY)
    assert world.changes == []


def test_what_is_stopped_already_needs_no_replacement(world: World) -> None:
    hosts(world, "web-1", "db-1")
    assert world.drive(Ec2, CLEANUP, BOTH).progress is Progress.DONE
    assert world.changes == []


def test_a_drill_stops_nothing(world: World) -> None:
    host(world, "web-1", "running", region=PRIMARY)
    host(world, "web-1", "running")
    with pytest.raises(ModuleError, match="left out of drills") as raised:
        world.drive(Ec2, CLEANUP, ONE, Mode.DRILL, region=PRIMARY)
    assert raised.value.code == "RefusedInDrill"


def test_an_instance_that_is_starting_is_stopped_when_it_runs(world: World) -> None:
    host(world, "web-1", "running")
    world.client("ec2", PRIMARY).start_instances(InstanceIds=[host(world, "web-1", region=PRIMARY)])
    assert world.module(Ec2, CLEANUP, region=PRIMARY).observe(ONE).progress is Progress.IN_PROGRESS
    assert world.drive(Ec2, CLEANUP, ONE, region=PRIMARY).progress is Progress.DONE


# Preflight


@pytest.mark.parametrize(("quota", "codes"), [(6, []), (5, ["VcpuLimitExceeded"])])
def test_the_vcpus_must_fit_the_quota(world: World, quota: int, codes: list[str]) -> None:
    hosts(world, "web-1", "db-1")  # two vCPUs each
    host(world, "other-1", "running")
    host(world, "gpu-1", "running", InstanceType="g4dn.xlarge")  # counts for another quota
    service_quotas.grant(ACCOUNT, STANDBY, "ec2", "L-1216C47A", quota)
    found = world.module(Ec2, ACTIVATE).obstacles(BOTH)
    assert [(each.severity, each.code) for each in found] == [(Severity.ERROR, code) for code in codes]
    if codes:
        assert "2 vCPUs run in us-west-2 and 4 are to be started, more than the quota L-1216C47A of 5" in found[0].message


def test_a_quota_that_cannot_be_read_is_a_warning(world: World) -> None:
    host(world, "web-1")
    world.answer("service-quotas", "GetServiceQuota", {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, 400)
    [found] = world.module(Ec2, ACTIVATE).obstacles(ONE)
    assert (found.severity, found.code) == (Severity.WARNING, "QuotaUnknown")


def test_instances_of_groups_and_spot_instances_are_warned_of(world: World) -> None:
    host(world, "web-1", tags=[{"Key": "aws:autoscaling:groupName", "Value": "workers"}], InstanceMarketOptions={"MarketType": "spot"})
    found = world.module(Ec2, ACTIVATE).obstacles(ONE)
    assert [(each.severity, each.code) for each in found] == [
        (Severity.WARNING, "AutoScalingInstance"),
        (Severity.WARNING, "SpotInstance"),
    ]


def test_what_was_before_is_known(world: World) -> None:
    instance = host(world, "web-1")
    assert world.module(Ec2, ACTIVATE).record_before(ONE) == [{"web-1": {"id": instance, "state": "stopped"}}]
