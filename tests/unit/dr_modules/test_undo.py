"""The CLEANUP of a drill: what it leaves alone. That it takes back what the drill did, tests/contract/test_drills.py shows."""

from typing import Any

import pytest

from dr_core.errors import ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from dr_modules.auto_scaling import AutoScaling
from dr_modules.base import DRModule, Progress
from dr_modules.drs import Drs
from dr_modules.ec2 import Ec2
from dr_modules.ecs import Ecs
from dr_modules.open_search_service import OpenSearchService
from tests.support import compute_scenes, drs_scenes, scenes
from tests.support.aws import PRIMARY, STANDBY, World

ECS = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 3}


def refusal(world: World, module: type[DRModule[Any]], raw: object, before: dict[str, Any]) -> str:
    """The code with which nothing is taken back."""
    with pytest.raises(ModuleError) as raised:
        world.take_back(module, raw, [before])
    assert world.changes == []
    return raised.value.code


def test_what_may_be_the_live_side_by_now_is_not_made_smaller(world: World) -> None:
    """Nothing of the same name runs in the other Region."""
    scenes.service(world, 3)
    assert refusal(world, Ecs, ECS, {"desired": 0}) == "LiveSide"
    scenes.group(world, sizes=(1, 2, 4))
    before = {"workers": {"min": 0, "desired": 0, "max": 4}}
    assert refusal(world, AutoScaling, {"Autoscalinggroupnames": "workers", "DesiredCount": 2}, before) == "LiveSide"
    host = compute_scenes.host(world, "web-1", "running", STANDBY)
    assert refusal(world, Ec2, {"Orchestrator_HostNames": "web-1"}, {"web-1": {"id": host, "state": "stopped"}}) == "LiveSide"
    compute_scenes.domain(world, nodes=3)
    search = {"DomainName": compute_scenes.DOMAIN, "DataNodeCount": 3}
    former: Any = world.module(OpenSearchService, Phase.INSTANTIATE, Mode.DRILL).record_before(search)[0]
    smaller = {**former, "cluster": {**former["cluster"], "InstanceCount": 1}}
    assert refusal(world, OpenSearchService, search, smaller) == "LiveSide"
    assert world.take_back(Ecs, {**ECS, "Force": True}, [{"desired": 0}]).progress is Progress.DONE


def test_what_has_shrunk_since_is_not_raised_again(world: World) -> None:
    scenes.service(world, 1)
    assert world.take_back(Ecs, ECS, [{"desired": 2}]).progress is Progress.DONE
    scenes.group(world, sizes=(0, 1, 4))
    before = {"workers": {"min": 0, "desired": 2, "max": 4}}
    assert world.take_back(AutoScaling, {"Autoscalinggroupnames": "workers", "DesiredCount": 4}, [before]).progress is Progress.DONE
    assert world.changes == []


def test_instances_that_ran_before_the_drill_run_on(world: World) -> None:
    for region in (PRIMARY, STANDBY):
        ids = {name: compute_scenes.host(world, name, "running", region) for name in ("web-1", "db-1")}
    before = {"web-1": {"id": ids["web-1"], "state": "stopped"}, "db-1": {"id": ids["db-1"], "state": "running"}}
    assert world.take_back(Ec2, {"Orchestrator_HostNames": ["web-1", "db-1"]}, [before]).progress is Progress.DONE
    assert [call.parameters for call in world.calls if call.changes] == [{"InstanceIds": [ids["web-1"]]}]


def test_instances_of_a_cluster_that_were_there_before_or_take_writes_stay(world: World) -> None:
    scenes.lone_cluster(world, ("one", "two"))
    lone = {"DBClusterIdentifier": scenes.CLUSTER, "DBInstanceIdentifier": ["one", "two"]}
    (cluster,) = world.client("rds").describe_db_clusters()["DBClusters"]
    (writer,) = [one["DBInstanceIdentifier"] for one in cluster["DBClusterMembers"] if one["IsClusterWriter"]]
    (reader,) = {"one", "two"} - {writer}
    assert refusal(world, AuroraMySQL, lone, {"instances": {reader: "db.r6g.large"}}) == "LiveSide"
    assert world.take_back(AuroraMySQL, lone, [{"instances": {writer: "db.r6g.large"}}]).progress is Progress.DONE
    assert [call.parameters["DBInstanceIdentifier"] for call in world.calls if call.changes] == [reader]


def test_nothing_is_deleted_of_the_cluster_that_has_become_the_writer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    names = {"GlobalClusterIdentifier": scenes.GLOBAL, "TargetDbClusterIdentifier": scenes.arn(STANDBY)}
    world.client("rds", PRIMARY).switchover_global_cluster(**names)
    world.time.advance(120)
    raw = {**scenes.AURORA, "DBInstanceIdentifier": "reader-1", "Force": True}
    assert refusal(world, AuroraMySQL, raw, {"instances": {}}) == "LiveSide"


def test_only_drill_instances_that_this_application_has_launched_are_terminated(world: World) -> None:
    ids = drs_scenes.servers(world, "ours", "theirs", "real")
    drs_scenes.recover(world, ids["ours"], drill=True, tags={"dr:application": "shop"})
    drs_scenes.recover(world, ids["theirs"], drill=True, tags={"dr:application": "other"})
    drs_scenes.recover(world, ids["real"], tags={"dr:application": "shop"})
    assert world.take_back(Drs, {"HostNames": ["ours", "theirs", "real"]}, [{}]).progress is Progress.DONE
    left = {one["sourceServerID"] for one in drs_scenes.instances(world).values()}
    assert left == {ids["theirs"], ids["real"]}
    assert world.changes == ["TerminateRecoveryInstances"]
    assert len(drs_scenes.source_servers(world)) == 3


def test_a_drill_is_not_launched_into_an_instance_of_somebody_elses(world: World) -> None:
    drs_scenes.servers(world, "web-1")
    world.answer("drs", "GetLaunchConfiguration", {"launchIntoInstanceProperties": {"launchIntoEC2InstanceID": "i-0123456789abcdef0"}})
    with pytest.raises(ModuleError) as raised:
        world.drive(Drs, Phase.ACTIVATE, {"HostNames": "web-1"}, Mode.DRILL)
    assert (raised.value.code, world.changes) == ("LaunchesIntoInstance", [])
