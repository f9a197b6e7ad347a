"""DRS."""

from typing import Any

from dr_core.phases import Phase
from dr_modules.drs import Drs
from localcloud.extension.drs import FAILBACK_CLIENT_TAG, LAUNCH_FAILS_TAG
from tests.support import drs_scenes as scenes
from tests.support.aws import PRIMARY, World
from tests.support.stories import Stories, drilled, run

_SERVERS = scenes.SERVERS


def _protected(world: World) -> None:
    scenes.servers(world)


def _failed_over(world: World) -> None:
    scenes.failed_over(world)


def _a_launch_fails(world: World) -> None:
    ids = scenes.servers(world)
    scenes.misbehave(world, ids["web-1"], {LAUNCH_FAILS_TAG: "no capacity"})


def _a_client_has_copied(world: World) -> None:
    for server_id in scenes.failed_over(world, origin=None).values():
        scenes.misbehave(world, server_id, {FAILBACK_CLIENT_TAG: "paired"})
    world.time.advance(scenes.SYNC_SECONDS)


def _failed_back_and_the_source_gone(world: World) -> None:
    for server_id in scenes.failed_back(world).values():
        scenes.misbehave(world, server_id, {"localcloud:stalled": "AGENT_NOT_SEEN"})


_REINSTALL: dict[str, Any] = {**_SERVERS, "Method": "ReinstallAgent"}

STORIES: Stories = {
    Phase.ACTIVATE: [
        run(Drs, Phase.ACTIVATE, _SERVERS, _a_launch_fails),
        run(Drs, Phase.ACTIVATE, {**_SERVERS, "Tags": {"RecoveryType": "Failback"}}, _a_client_has_copied),
        run(Drs, Phase.ACTIVATE, scenes.PLAN, scenes.solution),
    ],
    Phase.CLEANUP: [
        run(Drs, Phase.CLEANUP, {**_SERVERS, "TerminateRecoveryInstances": True}, _failed_back_and_the_source_gone),
        drilled(Drs, Phase.ACTIVATE, _SERVERS, _protected),
    ],
    Phase.REPLICATE: [
        run(Drs, Phase.REPLICATE, _SERVERS, _failed_over, region=PRIMARY),
        run(Drs, Phase.REPLICATE, _REINSTALL, _failed_over, region=PRIMARY),
    ],
}
