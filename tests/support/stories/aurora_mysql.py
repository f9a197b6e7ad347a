"""AuroraMySQL."""

from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World
from tests.support.stories import Stories, drilled, run

_AURORA, _INSTANCE = scenes.AURORA, "DBInstanceIdentifier"
_GROUPS = {"DBSubnetGroupName": "private", "DBClusterParameterGroupName": "shop"}
_LONE = {"DBClusterIdentifier": scenes.CLUSTER, _INSTANCE: "two"}


def _aurora(world: World) -> None:
    scenes.aurora(world, ("reader-1",))


def _in_the_west(world: World, leave: bool = False) -> None:
    """The writer is in the standby Region; the former one is a secondary, or has left the global cluster."""
    _aurora(world)
    east, names = world.client("rds", PRIMARY), {"GlobalClusterIdentifier": scenes.GLOBAL}
    east.switchover_global_cluster(**names, TargetDbClusterIdentifier=scenes.arn(STANDBY))
    world.time.advance(120)
    if leave:
        east.remove_from_global_cluster(**names, DbClusterIdentifier=scenes.arn(PRIMARY))
        world.time.advance(120)


def _gone(world: World) -> None:
    """The former writer is no more, and the groups for the one in its place are there."""
    _in_the_west(world, leave=True)
    east = world.client("rds", PRIMARY)
    for instance in ("writer-1", "writer-2"):
        east.delete_db_instance(DBInstanceIdentifier=instance, SkipFinalSnapshot=True)
    east.delete_db_cluster(DBClusterIdentifier=scenes.CLUSTER, SkipFinalSnapshot=True)
    world.time.advance(60)
    subnets = [subnet["SubnetId"] for subnet in world.client("ec2", PRIMARY).describe_subnets()["Subnets"][:2]]
    east.create_db_subnet_group(DBSubnetGroupName="private", DBSubnetGroupDescription="private", SubnetIds=subnets)
    family = {"DBParameterGroupFamily": "aurora-mysql8.0", "Description": "shop"}
    east.create_db_cluster_parameter_group(DBClusterParameterGroupName="shop", **family)


STORIES: Stories = {
    Phase.INSTANTIATE: [run(AuroraMySQL, Phase.INSTANTIATE, {**_AURORA, _INSTANCE: ["reader-2"]}, _aurora)],
    Phase.ACTIVATE: [
        run(AuroraMySQL, Phase.ACTIVATE, _AURORA, _aurora),
        run(AuroraMySQL, Phase.ACTIVATE, _AURORA, _aurora, Mode.UNPLANNED),
        run(AuroraMySQL, Phase.ACTIVATE, _LONE, lambda world: scenes.lone_cluster(world, ("one", "two"))),
    ],
    Phase.CLEANUP: [
        run(AuroraMySQL, Phase.CLEANUP, {**_AURORA, _INSTANCE: "writer-1"}, _in_the_west, region=PRIMARY),
        drilled(AuroraMySQL, Phase.INSTANTIATE, {**_AURORA, _INSTANCE: ["reader-1", "reader-2"]}, _aurora),
    ],
    Phase.REPLICATE: [
        run(
            AuroraMySQL,
            Phase.REPLICATE,
            {**_AURORA, _INSTANCE: "east-1", "Force": True},
            lambda world: _in_the_west(world, leave=True),
            region=PRIMARY,
        ),
        run(AuroraMySQL, Phase.REPLICATE, {**_AURORA, **_GROUPS}, _gone, region=PRIMARY),
    ],
}
