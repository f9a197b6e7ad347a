"""DRS, REPLICATE: from the recovery instances that serve back to the Region left behind, which is the phase's target."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress
from dr_modules.drs import Drs
from localcloud.extension import drs
from tests.support import drs_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error

REPLICATE = Phase.REPLICATE
SERVERS = scenes.SERVERS
REINSTALL = {**SERVERS, "Method": "ReinstallAgent"}


def refused(world: World, raw: object = SERVERS, region: str = PRIMARY, mode: Mode = Mode.PLANNED) -> ModuleError:
    """What the act raises, without having changed anything."""
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, REPLICATE, mode, region=region).start(raw, again=True)
    assert world.changes == []
    return raised.value


def test_replication_is_reversed_for_each_instance_and_done_when_continuous(world: World) -> None:
    scenes.failed_over(world)
    world.client("drs", PRIMARY).initialize_service()
    module = world.module(Drs, REPLICATE, region=PRIMARY)
    assert module.observe(SERVERS).progress is Progress.NOT_STARTED
    module.start(SERVERS, again=True)
    assert [(call.operation, call.region) for call in world.calls if call.changes] == [("ReverseReplication", STANDBY)] * 2
    assert module.observe(SERVERS).progress is Progress.IN_PROGRESS
    world.time.advance(drs.INITIATE_SECONDS)
    assert "INITIAL_SYNC" in module.observe(SERVERS).detail

    assert world.drive(Drs, REPLICATE, SERVERS, region=PRIMARY).progress is Progress.DONE
    assert {item["replicationDirection"] for item in scenes.source_servers(world, PRIMARY).values()} == {"FAILBACK"}
    world.calls.clear()
    assert world.drive(Drs, REPLICATE, SERVERS, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_only_what_is_not_yet_reversed_is_reversed(world: World) -> None:
    scenes.failed_over(world)
    first = next(iter(scenes.instances(world).values()))
    world.client("drs").reverse_replication(recoveryInstanceID=first["recoveryInstanceID"])
    assert world.drive(Drs, REPLICATE, SERVERS, region=PRIMARY).progress is Progress.DONE
    assert world.changes == ["ReverseReplication"]


def test_what_has_failed_back_is_protected_again(world: World) -> None:
    """The primary serves again; its instances replicate to the source servers of before, which looked CONTINUOUS all along."""
    ids = scenes.failed_back(world)
    module = world.module(Drs, REPLICATE)
    assert module.observe(SERVERS).progress is Progress.NOT_STARTED
    assert world.drive(Drs, REPLICATE, SERVERS).progress is Progress.DONE
    assert [(call.operation, call.region) for call in world.calls if call.changes] == [("ReverseReplication", PRIMARY)] * 2
    assert {item["sourceServerID"] for item in scenes.source_servers(world).values()} == set(ids.values())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("CONTINUOUS", Progress.DONE),
        ("RESCAN", Progress.IN_PROGRESS),
        ("STALLED", Progress.IN_PROGRESS),  # as it is for a moment before the RESCAN
        ("A_STATE_TO_COME", Progress.IN_PROGRESS),
        ("STOPPED", Progress.FAILED),
        ("DISCONNECTED", Progress.FAILED),
    ],
)
def test_what_counts_as_done(world: World, state: str, expected: Progress) -> None:
    server = {
        "sourceServerID": "s-0123456789abcdef0",
        "sourceProperties": {"identificationHints": {"hostname": "web-1", "awsInstanceID": "i-0123456789abcdef0"}},
        "dataReplicationInfo": {"dataReplicationState": state},
    }
    instance = {
        "recoveryInstanceID": "i-0123456789abcdef0",
        "ec2InstanceID": "i-0123456789abcdef0",
        "ec2InstanceState": "RUNNING",
        "sourceServerID": "s-0123456789abcdef0",
    }
    for replication, progress in (("CONTINUOUS", expected), ("NOT_STARTED", Progress.NOT_STARTED)):
        info = {"dataReplicationInfo": {"dataReplicationState": replication}}
        world.answer("drs", "DescribeSourceServers", {"items": [server]})  # in both Regions
        world.answer("drs", "DescribeRecoveryInstances", {"items": [{**instance, **info}]})
        assert world.module(Drs, REPLICATE).observe({"HostNames": "web-1"}).progress is progress


def test_machines_that_are_not_of_ec2_need_the_agent(world: World) -> None:
    scenes.failed_over(world, origin=None)
    raised = refused(world)
    assert (raised.code, raised.error_class) == ("NotOfEC2", ErrorClass.TERMINAL)
    assert "ReinstallAgent" in raised.message


def test_the_live_region_and_an_unplanned_run_are_refused(world: World) -> None:
    scenes.failed_over(world)
    assert refused(world, region=STANDBY).code == "SourceServerNotFound"  # the other Region has nothing that serves
    assert refused(world, mode=Mode.UNPLANNED).code == "SourceRegionNotCalled"
    assert refused(world, mode=Mode.DRILL).code == "RefusedInDrill"


def test_without_a_failover_there_is_nothing_to_reverse(world: World) -> None:
    scenes.servers(world)
    assert refused(world).code == "NoRecoveryInstance"
    ids = scenes.source_servers(world)
    scenes.recover(world, *(item["sourceServerID"] for item in ids.values()), drill=True)
    assert refused(world).code == "NoRecoveryInstance"


def test_an_instance_that_still_initializes_is_tried_again(world: World) -> None:
    scenes.failed_over(world)
    world.answer("drs", "ReverseReplication", error("ConflictException"), status=409)
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, REPLICATE, region=PRIMARY).start(SERVERS, again=True)
    assert raised.value.error_class is ErrorClass.RETRYABLE


def test_preflight_finds_a_region_without_drs_and_a_stopped_machine(world: World) -> None:
    scenes.recover(world, *scenes.servers(world).values())
    stopped = next(iter(scenes.instances(world).values()))["ec2InstanceID"]
    world.client("ec2").stop_instances(InstanceIds=[stopped])
    world.time.advance(60)
    found = world.module(Drs, REPLICATE, region=PRIMARY).obstacles(SERVERS)
    assert [one.code for one in found] == ["UninitializedAccountException", "NotRunning"]


def agent_registers(world: World) -> None:
    """The agents that a command has installed register with DRS in the primary Region."""
    for item in scenes.instances(world).values():
        name = item["recoveryInstanceProperties"]["identificationHints"]["hostname"]
        drs.drs_backends[ACCOUNT][PRIMARY].add(name, {}, origin_region=STANDBY, instance_id=item["ec2InstanceID"])
    world.time.advance(scenes.SYNC_SECONDS)


def test_the_agent_is_installed_in_the_live_region_and_done_is_what_it_replicates(world: World) -> None:
    scenes.failed_over(world, origin=None)
    module = world.module(Drs, REPLICATE, region=PRIMARY)
    module.start(REINSTALL, again=True)
    (command,) = world.client("ssm").list_commands()["Commands"]
    assert command["DocumentName"] == "AWSDisasterRecovery-InstallDRAgentOnInstance"
    assert command["Parameters"] == {"Region": [PRIMARY]}
    assert module.handles == [{"commands": command["CommandId"]}]
    status = module.observe(REINSTALL)  # moto's commands have succeeded at once
    assert status.progress is Progress.IN_PROGRESS
    assert "has succeeded" in status.detail
    agent_registers(world)
    world.calls.clear()
    assert world.drive(Drs, REPLICATE, REINSTALL, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_a_command_whose_record_was_lost_is_found_again(world: World) -> None:
    scenes.failed_over(world)
    world.module(Drs, REPLICATE, region=PRIMARY).start(REINSTALL, again=True)
    world.calls.clear()
    world.module(Drs, REPLICATE, region=PRIMARY).start(REINSTALL, again=True)
    assert world.changes == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"Status": "Pending"}, Progress.IN_PROGRESS),
        ({"Status": "Cancelling"}, Progress.IN_PROGRESS),
        ({"Status": "Success"}, Progress.IN_PROGRESS),
        (error("InvocationDoesNotExist"), Progress.IN_PROGRESS),
        ({"Status": "Failed", "StandardErrorContent": "no space left"}, Progress.FAILED),
        ({"Status": "TimedOut", "StatusDetails": "no space left"}, Progress.FAILED),
        ({"Status": "Cancelled", "StandardErrorContent": "no space left"}, Progress.FAILED),
    ],
)
def test_what_became_of_the_installation(world: World, answer: dict[str, Any], expected: Progress) -> None:
    scenes.failed_over(world, "web-1")
    raw = {"HostNames": "web-1", "Method": "ReinstallAgent"}
    module = world.module(Drs, REPLICATE, region=PRIMARY)
    module.start(raw, again=True)
    world.answer("ssm", "GetCommandInvocation", answer, status=400 if "Error" in answer else 200)
    status = module.observe(raw)
    assert status.progress is expected
    if expected is Progress.FAILED:
        assert "no space left" in status.detail and "web-1" in status.detail
        module.start(raw, again=True)
        assert len(world.client("ssm").list_commands()["Commands"]) == 2
