"""ElastiCache."""

from dr_core.phases import Mode, Phase
from dr_modules.elasti_cache import ElastiCache
from localcloud.extension import elasticache
from tests.support import elasticache_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, World
from tests.support.stories import Stories, run


def _once_failed(world: World) -> None:
    """The first creation of the secondary fails."""
    scenes.without_replica(world)
    elasticache.fail_next_creation(ACCOUNT, PRIMARY, scenes.EAST)


def _rebuild_in_two_attempts(world: World) -> None:
    _once_failed(world)
    named = {**scenes.IN_EAST, "CacheSubnetGroupName": "cache"}
    for _ in range(2):
        world.drive(ElastiCache, Phase.REPLICATE, named, region=PRIMARY)
        if world.only_look:
            return
        world.module(ElastiCache, Phase.REPLICATE, region=PRIMARY, attempt=2).start(named, again=True)
        world.time.advance(120)


STORIES: Stories = {
    Phase.ACTIVATE: [
        run(ElastiCache, Phase.ACTIVATE, scenes.IN_WEST, lambda world: scenes.datastore(world)),
        run(ElastiCache, Phase.ACTIVATE, scenes.IN_WEST, lambda world: scenes.datastore(world), Mode.UNPLANNED),
    ],
    Phase.CLEANUP: [
        run(ElastiCache, Phase.CLEANUP, scenes.IN_EAST, lambda world: scenes.failed_over(world), region=PRIMARY),
        run(ElastiCache, Phase.CLEANUP, scenes.IN_EAST, lambda world: scenes.cut_off(world), region=PRIMARY),
    ],
    Phase.REPLICATE: [
        run(ElastiCache, Phase.REPLICATE, {**scenes.IN_EAST, "CacheSubnetGroupName": "cache"}, scenes.without_replica, region=PRIMARY),
        _rebuild_in_two_attempts,
    ],
}
