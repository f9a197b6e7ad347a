"""R53Record."""

from dr_core.phases import Phase
from dr_modules.r53_record import R53Record
from tests.support import scenes
from tests.support.aws import World
from tests.support.stories import Stories, run


def _zone_and_balancer(world: World) -> None:
    scenes.zone(world)
    scenes.balancer(world)


def _alias(world: World) -> dict[str, str]:
    """The record, in the zone that there is."""
    zone = world.client("route53").list_hosted_zones()["HostedZones"][0]["Id"]
    return {"HostedZoneId": zone, "R53RecordName": "api.example.com", "RecordType": "A", "Alias": "Yes", "RecordValue": "dr-alb"}


STORIES: Stories = {Phase.ACTIVATE: [run(R53Record, Phase.ACTIVATE, _alias, _zone_and_balancer)]}
