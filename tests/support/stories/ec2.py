"""EC2."""

from dr_core.phases import Phase
from dr_modules.ec2 import Ec2
from tests.support import compute_scenes as scenes
from tests.support.aws import PRIMARY, STANDBY, World
from tests.support.stories import Stories, drilled, run

_HOST = {"Orchestrator_HostNames": "web-1"}


def _stopped(world: World) -> None:
    scenes.host(world, "web-1")


def _replaced(world: World) -> None:
    scenes.host(world, "web-1", "running", PRIMARY)
    scenes.host(world, "web-1", "running", STANDBY)


def _standing_by(world: World) -> None:
    scenes.host(world, "web-1", "running", PRIMARY)
    scenes.host(world, "web-1", "stopped", STANDBY)


STORIES: Stories = {
    Phase.INSTANTIATE: [run(Ec2, Phase.INSTANTIATE, _HOST, _stopped)],
    Phase.ACTIVATE: [run(Ec2, Phase.ACTIVATE, _HOST, _stopped)],
    Phase.CLEANUP: [
        run(Ec2, Phase.CLEANUP, _HOST, _replaced, region=PRIMARY),
        drilled(Ec2, Phase.INSTANTIATE, _HOST, _standing_by),
        drilled(Ec2, Phase.ACTIVATE, _HOST, _standing_by),
    ],
}
