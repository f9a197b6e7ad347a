"""DRS, CLEANUP: source servers go step by step, and nothing that serves, or protects what serves, goes with them."""

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress
from dr_modules.drs import Drs
from localcloud.extension.drs import STALLED_TAG
from tests.support import drs_scenes as scenes
from tests.support.aws import PRIMARY, STANDBY, World, error

CLEANUP = Phase.CLEANUP
SERVERS = scenes.SERVERS
TERMINATE = {**SERVERS, "TerminateRecoveryInstances": True}
FORCE = {**SERVERS, "Force": True}
RETIRE = ["StopReplication", "DisconnectSourceServer", "DeleteSourceServer"]


def stalled(world: World, ids: dict[str, str]) -> None:
    """The machines are no longer there."""
    for server_id in ids.values():
        scenes.misbehave(world, server_id, {STALLED_TAG: "AGENT_NOT_SEEN"})


def refused(world: World, raw: object = SERVERS, region: str = STANDBY, mode: Mode = Mode.PLANNED) -> ModuleError:
    """What the act raises, without having changed anything."""
    with pytest.raises(ModuleError) as raised:
        world.module(Drs, CLEANUP, mode, region=region).start(raw, again=True)
    assert world.changes == []
    assert raised.value.error_class is ErrorClass.TERMINAL
    return raised.value


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_servers_whose_machines_are_gone_are_stopped_disconnected_and_deleted(world: World, mode: Mode) -> None:
    stalled(world, scenes.servers(world))
    other = scenes.servers(world, "other")
    assert world.drive(Drs, CLEANUP, SERVERS, mode).progress is Progress.DONE
    assert world.changes == [step for step in RETIRE for _ in scenes.HOSTS]
    assert {item["sourceServerID"] for item in scenes.source_servers(world).values()} == set(other.values())
    world.calls.clear()
    assert world.drive(Drs, CLEANUP, SERVERS, mode).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_cleanup_goes_on_where_another_one_has_stopped(world: World, steps: int) -> None:
    ids = scenes.servers(world, "web-1")
    stalled(world, ids)
    client = world.client("drs")
    for step in (client.stop_replication, client.disconnect_source_server, client.delete_source_server)[:steps]:
        step(sourceServerID=ids["web-1"])
    assert world.drive(Drs, CLEANUP, {"HostNames": "web-1"}).progress is Progress.DONE
    assert world.changes == RETIRE[steps:]


def test_each_step_is_seen_before_the_next(world: World) -> None:
    ids = scenes.servers(world, "web-1")
    stalled(world, ids)
    raw, seen = {"HostNames": "web-1"}, []
    for _ in range(4):
        module = world.module(Drs, CLEANUP)
        seen.append(module.observe(raw).progress)
        module.start(raw, again=True)
    assert seen == [Progress.NOT_STARTED, Progress.NEXT_STEP, Progress.NEXT_STEP, Progress.DONE]


def test_a_server_that_somebody_deletes_meanwhile_is_gone(world: World) -> None:
    stalled(world, scenes.servers(world, "web-1"))
    world.answer("drs", "StopReplication", error("ResourceNotFoundException"), status=404)
    world.module(Drs, CLEANUP).start({"HostNames": "web-1"}, again=True)


def test_a_server_that_protects_the_live_side_is_refused_unless_forced(world: World) -> None:
    """Also what happens when a request names the wrong Region: the primary serves, and the standby's servers protect it."""
    scenes.servers(world)
    raised = refused(world)
    assert raised.code == "LiveSide"
    assert "protects what runs in us-east-1" in raised.message
    (found,) = world.module(Drs, CLEANUP).obstacles(SERVERS)
    assert found.code == "LiveSide"
    assert world.drive(Drs, CLEANUP, FORCE).progress is Progress.DONE
    assert scenes.source_servers(world) == {}


@pytest.mark.parametrize("state", ["RESCAN", "BACKLOG", "PAUSED", "INITIAL_SYNC", "A_STATE_TO_COME"])
def test_every_state_that_may_protect_is_refused(world: World, state: str) -> None:
    hints = {"identificationHints": {"hostname": "web-1"}}
    server = {"sourceServerID": "s-0123456789abcdef0", "sourceProperties": hints, "dataReplicationInfo": {"dataReplicationState": state}}
    world.answer("drs", "DescribeSourceServers", {"items": [server]})
    world.answer("drs", "DescribeRecoveryInstances", {"items": []})
    world.answer("drs", "DescribeJobs", {"items": []})
    assert refused(world, {"HostNames": "web-1"}).code == "LiveSide"


def test_a_server_that_replicates_from_the_region_left_behind_may_go(world: World) -> None:
    scenes.servers(world, origin=STANDBY)  # from one zone of the Region to another
    assert world.drive(Drs, CLEANUP, SERVERS).progress is Progress.DONE


def test_a_recovery_instance_that_serves_is_refused_in_the_region_that_serves(world: World) -> None:
    stalled(world, scenes.failed_over(world))
    for raw in (SERVERS, TERMINATE):
        raised = refused(world, raw)
        assert raised.code == "LiveSide"
        assert "has not failed back" in raised.message
    # Force alone does not terminate.
    assert refused(world, FORCE).code == "RecoveryInstanceExists"
    assert world.drive(Drs, CLEANUP, {**TERMINATE, "Force": True}).progress is Progress.DONE
    assert scenes.instances(world) == {}


def test_a_drills_instance_is_named_and_terminated_only_if_asked(world: World) -> None:
    ids = scenes.servers(world)
    scenes.recover(world, *ids.values(), drill=True)
    stalled(world, ids)
    raised = refused(world)
    assert raised.code == "RecoveryInstanceExists"
    assert "of web-1 is in the way" in raised.message
    assert "TerminateRecoveryInstances" in raised.message

    assert world.drive(Drs, CLEANUP, TERMINATE).progress is Progress.DONE
    assert world.changes == ["TerminateRecoveryInstances", *(step for step in RETIRE for _ in scenes.HOSTS)]
    states = [one["Instances"][0]["State"]["Name"] for one in world.client("ec2").describe_instances()["Reservations"]]
    assert states == ["terminated", "terminated"]


def test_after_a_failback_the_standbys_instances_go_once_their_copies_no_longer_replicate(world: World) -> None:
    stalled(world, scenes.failed_back(world))
    assert world.drive(Drs, CLEANUP, TERMINATE).progress is Progress.DONE
    both = [(call.operation, call.region) for call in world.calls if call.changes]
    assert both[:2] == [("StopReplication", PRIMARY)] * 2
    assert [name for name, _ in both[2:5]] == ["StopFailback", "StopFailback", "TerminateRecoveryInstances"]
    assert {region for _, region in both[2:]} == {STANDBY}
    assert scenes.source_servers(world) == {}
    assert {one["ec2InstanceState"] for one in scenes.instances(world, PRIMARY).values()} == {"RUNNING"}


def test_a_replication_back_alone_is_no_failback(world: World) -> None:
    stalled(world, scenes.reversed_back(world))
    assert refused(world, TERMINATE).code == "LiveSide"


def test_a_copy_launched_for_a_drill_is_no_failback(world: World) -> None:
    stalled(world, scenes.reversed_back(world))
    copies = [item["sourceServerID"] for item in scenes.source_servers(world, PRIMARY).values()]
    scenes.recover(world, *copies, region=PRIMARY, drill=True)
    assert refused(world, TERMINATE).code == "LiveSide"


def test_instances_being_terminated_are_waited_for(world: World) -> None:
    ids = scenes.servers(world)
    scenes.recover(world, *ids.values(), drill=True)
    stalled(world, ids)
    module = world.module(Drs, CLEANUP)
    assert module.observe(TERMINATE).progress is Progress.NOT_STARTED
    module.start(TERMINATE, again=True)
    assert module.observe(TERMINATE).progress is Progress.IN_PROGRESS
    world.calls.clear()
    world.module(Drs, CLEANUP).start(TERMINATE, again=True)
    assert world.changes == []
    world.time.advance(60)
    assert module.observe(TERMINATE).progress is Progress.NEXT_STEP


def test_a_name_that_fits_two_servers_is_refused(world: World) -> None:
    stalled(world, scenes.servers(world, "web-1"))
    scenes.servers(world, "web-1")
    assert refused(world, {"HostNames": "web-1"}).code == "AmbiguousHostName"


def test_a_drill_deletes_nothing(world: World) -> None:
    stalled(world, scenes.servers(world))
    assert refused(world, mode=Mode.DRILL).code == "RefusedInDrill"


def test_a_region_without_drs_is_clean(world: World) -> None:
    assert world.drive(Drs, CLEANUP, [{"HostNames": "web-1"}, {"HostNames": "app-1"}]).progress is Progress.DONE
    assert world.changes == []
