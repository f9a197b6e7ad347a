"""For each phase of each module the shortest stories that together make every call it can make.

`tests/contract/test_modules.py` holds the actions that a module declares against them.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from botocore.response import StreamingBody

from dr_core.phases import Mode, Phase
from dr_modules.base import modules
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World

Story = Callable[[World], None]


def _run(name: str, phase: Phase, raw: object, scene: Story, mode: Mode = Mode.PLANNED, region: str = STANDBY) -> Story:
    """A story: set the scene, then do what an executor does."""

    def story(world: World) -> None:
        scene(world)
        world.drive(modules()[name], phase, raw, mode, region=region)

    return story


def _aurora(world: World) -> None:
    scenes.aurora(world, ("reader-1",))


def _aurora_in_the_west(world: World, leave: bool = False) -> None:
    """The writer is in the standby Region; the former one is a secondary, or has left the global cluster."""
    _aurora(world)
    east, names = world.client("rds", PRIMARY), {"GlobalClusterIdentifier": scenes.GLOBAL}
    east.switchover_global_cluster(**names, TargetDbClusterIdentifier=scenes.arn(STANDBY))
    world.time.advance(120)
    if leave:
        east.remove_from_global_cluster(**names, DbClusterIdentifier=scenes.arn(PRIMARY))
        world.time.advance(120)


def _dns(world: World) -> None:
    zone = scenes.zone(world)
    scenes.balancer(world)
    alias = {"HostedZoneId": zone, "R53RecordName": "api.example.com", "RecordType": "A", "Alias": "Yes", "RecordValue": "dr-alb"}
    world.drive(modules()["R53Record"], Phase.ACTIVATE, alias)


def _lambda(world: World) -> None:
    world.answer("lambda", "Invoke", {"StatusCode": 202, "Payload": StreamingBody(BytesIO(b""), 0)})


_AURORA, _INSTANCE = scenes.AURORA, "DBInstanceIdentifier"
_SERVICE = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 2, "EcsAsgMinSize": 1}
_GROUP: Mapping[str, Any] = {"Autoscalinggroupnames": "workers", "DesiredCount": 2}
_LONE = {"DBClusterIdentifier": scenes.CLUSTER, _INSTANCE: "two"}

STORIES: Mapping[tuple[str, Phase], list[Story]] = {
    ("AuroraMySQL", Phase.INSTANTIATE): [_run("AuroraMySQL", Phase.INSTANTIATE, {**_AURORA, _INSTANCE: ["reader-2"]}, _aurora)],
    ("AuroraMySQL", Phase.ACTIVATE): [
        _run("AuroraMySQL", Phase.ACTIVATE, _AURORA, _aurora),
        _run("AuroraMySQL", Phase.ACTIVATE, _AURORA, _aurora, Mode.UNPLANNED),
        _run("AuroraMySQL", Phase.ACTIVATE, _LONE, lambda world: scenes.lone_cluster(world, ("one", "two"))),
    ],
    ("AuroraMySQL", Phase.CLEANUP): [
        _run("AuroraMySQL", Phase.CLEANUP, {**_AURORA, _INSTANCE: "writer-1"}, _aurora_in_the_west, region=PRIMARY)
    ],
    ("AuroraMySQL", Phase.REPLICATE): [
        _run(
            "AuroraMySQL",
            Phase.REPLICATE,
            {**_AURORA, _INSTANCE: "east-1", "Force": True},
            lambda world: _aurora_in_the_west(world, leave=True),
            region=PRIMARY,
        )
    ],
    ("ECS", Phase.INSTANTIATE): [_run("ECS", Phase.INSTANTIATE, _SERVICE, lambda world: scenes.service(world))],
    ("ECS", Phase.CLEANUP): [_run("ECS", Phase.CLEANUP, _SERVICE, lambda world: scenes.service(world, 2, (1, 4)))],
    ("AutoScaling", Phase.INSTANTIATE): [_run("AutoScaling", Phase.INSTANTIATE, _GROUP, lambda world: scenes.group(world))],
    ("AutoScaling", Phase.CLEANUP): [_run("AutoScaling", Phase.CLEANUP, _GROUP, lambda world: scenes.group(world, sizes=(1, 2, 4)))],
    ("R53Record", Phase.ACTIVATE): [_dns],
    ("EventBridge", Phase.ACTIVATE): [_run("EventBridge", Phase.ACTIVATE, {"EventRuleName": "daily"}, lambda world: scenes.rule(world))],
    ("EventBridge", Phase.CLEANUP): [
        _run("EventBridge", Phase.CLEANUP, {"EventRuleName": "daily"}, lambda world: scenes.rule(world, state="ENABLED"))
    ],
    **{("LambdaFunction", phase): [_run("LambdaFunction", phase, {"FunctionName": "warm"}, _lambda)] for phase in Phase},
}
