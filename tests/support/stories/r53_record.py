"""R53Record."""

from dr_core.phases import Phase
from dr_modules.r53_record import R53Record
from tests.support import scenes
from tests.support.aws import World
from tests.support.stories import Stories


def _point_to_the_balancer(world: World) -> None:
    zone = scenes.zone(world)
    scenes.balancer(world)
    alias = {"HostedZoneId": zone, "R53RecordName": "api.example.com", "RecordType": "A", "Alias": "Yes", "RecordValue": "dr-alb"}
    world.drive(R53Record, Phase.ACTIVATE, alias)


STORIES: Stories = {Phase.ACTIVATE: [_point_to_the_balancer]}
