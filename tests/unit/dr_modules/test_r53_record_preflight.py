"""R53Record: what preflight finds before a record is changed."""

from typing import Any

import pytest

from dr_core.phases import Phase
from dr_modules.base import Severity
from dr_modules.r53_record import R53Record
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World

ACTIVATE = Phase.ACTIVATE


def api(zone: str, **more: Any) -> dict[str, Any]:
    named = {"HostedZoneId": zone, "R53RecordName": "api.example.com", "RecordType": "A", "RecordValue": "192.0.2.2"}
    return {**named, **more}


def alias(zone: str) -> dict[str, Any]:
    return api(zone, Alias="Yes", RecordValue="dr-alb")


ELSEWHERE = ("ControlPlaneElsewhere", Severity.WARNING)


def finding(world: World, raw: object, region: str = STANDBY) -> list[tuple[str, Severity]]:
    return [(found.code, found.severity) for found in world.module(R53Record, ACTIVATE, region=region).obstacles(raw)]


def test_what_the_change_depends_on_is_told_with_what_to_use_instead(world: World) -> None:
    zone = scenes.zone(world)
    found = world.module(R53Record, ACTIVATE).obstacles(api(zone))
    assert [(one.code, one.severity) for one in found] == [ELSEWHERE]
    for word in ("us-east-1", "routing controls", "failover records", "health check", "bestEffort"):
        assert word in found[0].message
    assert finding(world, api(zone), region=PRIMARY) == []  # whoever moves there depends on it anyway
    assert world.changes == []


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("api.example.com", True),
        ("API.Example.com.", True),
        ("a.b.example.com", True),
        ("example.com", True),
        ("*.example.com", True),
        ("api.example.org", False),
        ("badexample.com", False),
        ("com", False),
    ],
)
def test_a_name_outside_the_zone_is_found(world: World, name: str, inside: bool) -> None:
    zone = scenes.zone(world)
    expected = [] if inside else [("NameOutsideZone", Severity.ERROR)]
    assert finding(world, api(zone, R53RecordName=name)) == [*expected, ELSEWHERE]


def test_a_zone_that_is_not_there_is_found(world: World) -> None:
    assert finding(world, api("Z0NONE")) == [("NoSuchHostedZone", Severity.ERROR)]


def test_a_load_balancer_is_looked_for_in_the_target_region(world: World) -> None:
    zone = scenes.zone(world)
    scenes.balancer(world, region=PRIMARY)
    assert finding(world, alias(zone)) == [ELSEWHERE, ("LoadBalancerNotFound", Severity.ERROR)]
    scenes.balancer(world)
    assert finding(world, alias(zone)) == [ELSEWHERE]
