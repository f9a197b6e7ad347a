"""MemoryDB."""

from dr_core.phases import Mode, Phase
from dr_modules.memory_db import MemoryDB
from tests.support import memorydb_scenes as scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, run

_NAMES = {"SubnetGroupName": "default", "ParameterGroupName": "default.memorydb-redis7"}


def _standby(world: World) -> None:
    scenes.standby(world)
    scenes.configure(world, **_NAMES)


def _snapshot(world: World) -> None:
    """The cluster is gone, a snapshot of it is left."""
    memorydb = scenes.cluster(world, "us-west-2")
    memorydb.delete_cluster(ClusterName=scenes.NAME, FinalSnapshotName="last")
    world.time.advance(60)
    scenes.configure(world)


_FROM_SNAPSHOT = {key: value for key, value in scenes.parameters().items() if key not in ("BackupBucket", "Prefix")}

STORIES: Stories = {
    Phase.ACTIVATE: [
        run(MemoryDB, Phase.ACTIVATE, scenes.parameters(), _standby, Mode.UNPLANNED),
        run(MemoryDB, Phase.ACTIVATE, _FROM_SNAPSHOT, _snapshot),
    ],
    Phase.CLEANUP: [
        run(MemoryDB, Phase.CLEANUP, scenes.parameters(PRIMARY), lambda world: (scenes.failed_over(world), None)[1], region=PRIMARY)
    ],
}
