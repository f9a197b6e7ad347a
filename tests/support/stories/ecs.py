"""ECS."""

from dr_core.phases import Phase
from dr_modules.ecs import Ecs
from tests.support import scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, drilled, run

_SERVICE = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 2, "EcsAsgMinSize": 1}


def _in_both(world: World) -> None:
    scenes.service(world, 2, (1, 4))
    scenes.service(world, 1, region=PRIMARY)


def _standing_by(world: World) -> None:
    scenes.service(world)
    scenes.service(world, 2, region=PRIMARY)


def _standing_by_within_limits(world: World) -> None:
    scenes.service(world, 0, (0, 1))
    scenes.service(world, 2, region=PRIMARY)


STORIES: Stories = {
    Phase.INSTANTIATE: [run(Ecs, Phase.INSTANTIATE, _SERVICE, lambda world: scenes.service(world))],
    Phase.CLEANUP: [
        run(Ecs, Phase.CLEANUP, _SERVICE, _in_both),
        drilled(Ecs, Phase.INSTANTIATE, _SERVICE, _standing_by),
        drilled(Ecs, Phase.INSTANTIATE, _SERVICE, _standing_by_within_limits),
    ],
}
