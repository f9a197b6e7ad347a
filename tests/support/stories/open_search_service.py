"""OpenSearchService."""

from dr_core.phases import Phase
from dr_modules.open_search_service import OpenSearchService
from tests.support import compute_scenes as scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, drilled, run

_SMALL = {"DomainName": scenes.DOMAIN, "DataNodeCount": 1}
_LARGE = {"DomainName": scenes.DOMAIN, "DataNodeCount": 3}


def _in_a_vpc(world: World) -> None:
    scenes.domain(world, nodes=2, VPCOptions={"SubnetIds": scenes.subnets(world, 1)})


def _replaced(world: World) -> None:
    _in_a_vpc(world)
    scenes.domain(world, nodes=2, region=PRIMARY)


def _standing_by(world: World) -> None:
    _in_a_vpc(world)
    scenes.domain(world, nodes=3, region=PRIMARY)


STORIES: Stories = {
    Phase.INSTANTIATE: [run(OpenSearchService, Phase.INSTANTIATE, _LARGE, _in_a_vpc)],
    Phase.CLEANUP: [
        run(OpenSearchService, Phase.CLEANUP, _SMALL, _replaced),
        drilled(OpenSearchService, Phase.INSTANTIATE, _LARGE, _standing_by),
    ],
}
